import sys
import threading
from pathlib import Path

from sinsok.stack import state
from sinsok.stack.part import NotReady, Part
from sinsok.stack.supervisor import supervise
from tests.stack import wait_until

PROCESS = """
import pathlib, signal, sys, time
name, *others = sys.argv[1:]

def end(*_):
    pathlib.Path(name + ".asked").touch()
    while not all(pathlib.Path(other + ".asked").exists() for other in others):
        time.sleep(0.01)
    with open("ended", "a") as ended:
        print(name, file=ended)
    sys.exit()

signal.signal(signal.SIGTERM, end)
pathlib.Path(name + ".runs").touch()
while True:
    signal.pause()
"""


def part(folder: Path, name: str, *others: str, after: tuple[str, ...] = ()) -> Part:
    """A process that ends once the others were asked to end as well."""

    def fine() -> None:
        if not (folder / f"{name}.runs").exists():
            raise NotReady("starts")

    command = ("env", "-C", str(folder), sys.executable, "-c", PROCESS, name, *others)
    return Part(name, command, "nowhere", (), ready=fine, alive=fine, after=after, grace_s=60)


def test_processes_end_together_and_their_server_after_them(tmp_path: Path) -> None:
    stack = (
        part(tmp_path, "server"),
        part(tmp_path, "one", "other", after=("server",)),
        part(tmp_path, "other", "one", after=("server",)),
    )
    stop = threading.Event()
    supervising = threading.Thread(target=supervise, args=(tmp_path, stack, stop))
    supervising.start()
    try:

        def all_ready() -> None:
            assert {one.state for one in state.read(tmp_path).values()} == {"ready"}

        wait_until(all_ready, seconds=120)
    finally:
        stop.set()
        supervising.join()
    *first, last = (tmp_path / "ended").read_text().split()
    assert sorted(first) == ["one", "other"]
    assert last == "server"
