"""The process that keeps the stack running: ``python -m sinsok.stack.supervisor``, started by ``sinsok up``."""

import signal
import sys
import threading
from pathlib import Path

import structlog

from sinsok import logs, settings
from sinsok.stack import marked, state
from sinsok.stack.keeper import Keeper
from sinsok.stack.part import Part
from sinsok.stack.parts import parts

_log = structlog.get_logger()


class Board:
    """The states of all parts, written out whenever one changes."""

    def __init__(self, home: Path, names: list[str]) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._states = {name: state.PartState(name, "starting") for name in names}
        state.write(home, list(self._states.values()))

    def report(self, changed: state.PartState) -> None:
        """Take over a part's state."""
        with self._lock:
            if self._states[changed.name] != changed:
                self._states[changed.name] = changed
                state.write(self._home, list(self._states.values()))


def supervise(home: Path, stack: tuple[Part, ...], stop: threading.Event) -> None:
    """Start all parts and keep them running until ``stop`` is set, then stop them, servers last."""
    board = Board(home, [part.name for part in stack])
    ready = {part.name: threading.Event() for part in stack}
    keepers = [Keeper(part, home, ready, board.report) for part in stack]
    for keeper in keepers:
        keeper.start()
    stop.wait()
    # All at once, but no process loses the server that it finishes its work with.
    ours = [keeper for keeper, part in zip(keepers, stack, strict=True) if part.after]
    servers = [keeper for keeper in keepers if keeper not in ours]
    for ending in (ours, servers):
        for keeper in ending:
            keeper.stop()
        for keeper in ending:
            keeper.join()


def main() -> None:
    """Supervise the stack of the configuration until SIGTERM."""
    logs.configure()
    configuration = settings.load()
    home = configuration.home
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    try:
        with state.supervising(home):
            stack = parts(configuration)
            # Parts of a supervisor that was killed: nobody watches them, and they hold our ports.
            for part in reversed(stack):
                if orphans := marked.processes(home).get(part.name):
                    _log.warning("stopping a part without supervisor", part=part.name)
                    marked.stop(orphans, part.grace_s)
            supervise(home, stack, stop)
    except state.AlreadySupervised:
        _log.info("another supervisor is at work", home=str(home))
        sys.exit(0)


if __name__ == "__main__":
    main()
