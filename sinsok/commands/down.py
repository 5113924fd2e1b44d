"""``sinsok down``: stop what ``sinsok up`` started."""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import click

from sinsok import settings
from sinsok.errors import UserError
from sinsok.stack import marked, state
from sinsok.stack.part import Part
from sinsok.stack.parts import chosen, parts


@click.command(short_help="Stop what `up` started, servers last; delete nothing.")
@click.argument("part", nargs=-1)
def command(part: tuple[str, ...]) -> None:
    """Stop the stack, servers last: SIGTERM, then SIGKILL after a grace period. Deletes nothing.

    With PART, these alone; they stay stopped until `sinsok up`.
    """
    configuration = settings.load()
    home = configuration.home
    stack = parts(configuration)
    if part:
        _hold(home, chosen(stack, part))
        return
    supervisor = state.supervisor_pid(home)
    left = marked.processes(home)
    if supervisor is None and not left:
        click.echo("nothing runs")
        return
    if supervisor is not None:
        _stop_supervisor(home, supervisor, within_s=sum(part.grace_s for part in stack) + 30)
        left = marked.processes(home)
    # Parts whose supervisor was killed, and parts that a newer configuration no longer has.
    grace_s = {part.name: part.grace_s for part in reversed(stack)}
    for name in [*(name for name in grace_s if name in left), *(name for name in left if name not in grace_s)]:
        marked.stop(left[name], grace_s.get(name, 10.0))
        click.echo(f"{name:<18}stopped")
    click.echo("down")


def _hold(home: Path, ending: Iterable[Part]) -> None:
    """Stop some parts and leave the others running."""
    supervised = state.supervisor_pid(home) is not None
    for part in ending:
        if supervised:
            state.hold(home, part.name)
    for part in ending:
        deadline = time.monotonic() + part.grace_s + 10
        while supervised and state.read(home)[part.name].state != "stopped":
            if time.monotonic() > deadline:
                raise UserError(f"{part.name} does not end; its log: {home / 'logs' / f'{part.name}.log'}")
            time.sleep(0.1)
        if left := marked.processes(home).get(part.name):  # its supervisor was killed
            marked.stop(left, part.grace_s)
        click.echo(f"{part.name:<18}stopped")


def _stop_supervisor(home: Path, pid: int, *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    shown: set[str] = set()
    os.kill(pid, signal.SIGTERM)
    while state.supervisor_pid(home) == pid:
        if time.monotonic() > deadline:
            click.echo("the supervisor does not end: killed", err=True)
            os.kill(pid, signal.SIGKILL)
            return
        _show(home, shown)
        time.sleep(0.1)
    _show(home, shown)


def _show(home: Path, shown: set[str]) -> None:
    for part in reversed(state.read(home).values()):
        if part.state == "stopped" and part.name not in shown:
            shown.add(part.name)
            click.echo(f"{part.name:<18}stopped")
