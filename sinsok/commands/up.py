"""``sinsok up``: start the local stack and wait until everything answers."""

import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from sinsok import settings
from sinsok.errors import UserError
from sinsok.settings import Settings
from sinsok.stack import marked, probe, state
from sinsok.stack.part import NotReady, Part
from sinsok.stack.parts import chosen, externals, parts
from sinsok.stack.state import PartState

_ENDINGS = 3
"""A part that ended so often while we wait does not come up by itself."""


@click.command(short_help="Start the local stack and wait until everything answers.")
@click.argument("part", nargs=-1)
def command(part: tuple[str, ...]) -> None:
    """Start Kafka, Triton, Orthanc and our processes, and wait until everything answers.

    With PART, start again what `sinsok down PART` stopped. What runs already is left alone. Logs are in
    SINSOK_HOME/logs.
    """
    configuration = settings.load()
    stack = parts(configuration)
    home = configuration.home
    if part:
        wanted = chosen(stack, part)
        if state.supervisor_pid(home) is None:
            raise UserError("nothing runs here: `sinsok up` starts everything")
        _let_go(home, wanted)
        _wait(home, wanted)
        return
    for external in externals(configuration):
        try:
            external.ready()
        except NotReady as reason:
            raise UserError(f"{external.name}: {reason}; it runs elsewhere, as stack.start does not name it") from None
    _let_go(home, stack)
    if state.supervisor_pid(home) is None:
        _clear(home, stack)
        _start_supervisor(configuration)
    elif all(part.state == "ready" for part in _states(home, stack)):
        click.echo("already up; `sinsok status` shows the parts")
        return
    _wait(home, stack)
    click.echo(f"up: send studies to {configuration.dicom.host}:{configuration.dicom.port}; `sinsok down` stops it")
    click.echo(f"console: {configuration.console.url}; `sinsok accounts add` lets people in")


def _let_go(home: Path, stack: Iterable[Part]) -> None:
    for part in stack:
        state.let_go(home, part.name)


def _clear(home: Path, stack: tuple[Part, ...]) -> None:
    """Make sure that the parts can bind their ports."""
    left = marked.processes(home)
    for part in reversed(stack):
        if part.name in left:
            click.echo(f"{part.name} runs without a supervisor: stopped")
            marked.stop(left[part.name], part.grace_s)
    for part in stack:
        for listener in part.listeners:
            if not probe.is_free(listener):
                address = f"{listener.host}:{listener.port}"
                raise UserError(f"{part.name}: {address} is taken by another program; {listener.setting} sets the port")


def _start_supervisor(configuration: Settings) -> None:
    logs = configuration.home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    # States of an earlier run must not be taken for the new one's.
    state.write(configuration.home, [])
    with (logs / "supervisor.log").open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "sinsok.stack.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while state.supervisor_pid(configuration.home) is None or not state.read(configuration.home):
        if supervisor.poll() is not None:
            raise UserError(f"the supervisor ended with status {supervisor.returncode}; its log: {log.name}")
        time.sleep(0.05)


def _wait(home: Path, stack: Sequence[Part]) -> None:
    began = time.monotonic()
    endings = {part.name: part.restarts for part in _states(home, stack)}
    shown: set[str] = set()
    while len(shown) < len(stack):
        time.sleep(0.1)
        if state.supervisor_pid(home) is None:
            raise UserError(f"the supervisor ended; its log: {home / 'logs' / 'supervisor.log'}")
        waited_s = time.monotonic() - began
        for part, now in zip(stack, _states(home, stack), strict=True):
            if now.state == "ready" and now.name not in shown:
                shown.add(now.name)
                click.echo(f"{now.name:<18}ready  {now.endpoint}  ({waited_s:.1f} s)")
            gave_up = now.restarts - endings[now.name] >= _ENDINGS
            # After its predecessors a part has its own time.
            late = now.state == "failed" and waited_s > 2 * part.ready_within_s
            if gave_up or late:
                log = home / "logs" / f"{now.name}.log"
                raise UserError(
                    f"{now.name} does not come up: {now.reason or 'it keeps ending'}; its log: {log}; "
                    "`sinsok down` stops the others"
                )


def _states(home: Path, stack: Iterable[Part]) -> list[PartState]:
    known = state.read(home)
    return [known.get(part.name) or PartState(part.name, "starting") for part in stack]
