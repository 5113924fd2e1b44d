"""``sinsok status``: how each part is."""

import json
from dataclasses import asdict

import click

from sinsok import settings
from sinsok.settings import Settings
from sinsok.stack import marked, state
from sinsok.stack.lag import GROUPS, consumer_lag, reads
from sinsok.stack.part import NotReady
from sinsok.stack.parts import externals, parts
from sinsok.stack.state import PartState


@click.command(short_help="Show each part: state, pid, endpoint, lag.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array: name state pid endpoint restarts reason lag.")
def command(as_json: bool) -> None:
    """Show each part: its state (ready, starting, failed, stopped), process, endpoint and consumer lag."""
    configuration = settings.load()
    states = current(configuration)
    kafka_answers = any(part.name == "kafka" and part.state == "ready" for part in states)
    groups = reads(configuration.sites)
    lag = consumer_lag(configuration.kafka.bootstrap_servers, groups) if kafka_answers else {}
    rows = [{**asdict(part), "lag": lag.get(GROUPS.get(part.name, ""))} for part in states]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo(f"{'PART':<18}{'STATE':<10}{'PID':<9}{'LAG':<7}{'RESTARTS':<10}ENDPOINT")
    for row in rows:
        pid, behind = row["pid"] or "-", "-" if row["lag"] is None else row["lag"]
        reason = f"  ({row['reason']})" if row["reason"] else ""
        click.echo(
            f"{row['name']:<18}{row['state']:<10}{pid:<9}{behind:<7}{row['restarts']:<10}{row['endpoint']}{reason}"
        )


def current(configuration: Settings) -> list[PartState]:
    """Every part and every external server as it stands now."""
    home = configuration.home
    supervised = state.supervisor_pid(home) is not None
    known = state.read(home) if supervised else {}
    left = {} if supervised else marked.processes(home)
    states = []
    for external in externals(configuration):
        try:
            external.ready()
            states.append(PartState(external.name, "ready", endpoint=external.endpoint))
        except NotReady as complaint:
            states.append(PartState(external.name, "failed", endpoint=external.endpoint, reason=str(complaint)))
    for part in parts(configuration):
        if part.name in known:
            states.append(known[part.name])
        elif part.name in left:
            reason = "runs without a supervisor; `sinsok up` starts it anew, `sinsok down` stops it"
            states.append(PartState(part.name, "failed", left[part.name][0].pid, part.endpoint, reason=reason))
        else:
            states.append(PartState(part.name, "stopped", endpoint=part.endpoint))
    return states
