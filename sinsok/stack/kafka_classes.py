"""Run Kafka once and keep the classes that its JVM has loaded: half the processor time of every start after that."""

import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from sinsok.stack.kafka import CLASSES, USE_CLASSES, kafka
from sinsok.stack.part import NotInstalled, NotReady, Part


def main() -> int:
    """Write :data:`sinsok.stack.kafka.CLASSES`, whole or not at all; 1 and a line where that cannot be done."""
    made = CLASSES.with_suffix(".new")
    try:
        with TemporaryDirectory() as home:
            _run(kafka(Path(home), "127.0.0.1", *_free_ports()), f"-XX:ArchiveClassesAtExit={made}")
        made.replace(CLASSES)
    except (NotInstalled, NotReady, OSError, subprocess.SubprocessError) as error:
        made.unlink(missing_ok=True)
        print(f"Kafka's classes were not kept: {error}", file=sys.stderr)
        return 1
    return 0


def _run(part: Part, keep: str) -> None:
    part.prepare()
    command = [keep if word == USE_CLASSES else word for word in (*part.command, *part.arguments())]
    broker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(part, broker)
        broker.terminate()
        broker.wait(part.grace_s)
    finally:
        broker.kill()
        broker.wait()


def _wait(part: Part, broker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + part.ready_within_s
    while True:
        try:
            part.ready()
            return
        except NotReady:
            if broker.poll() is not None or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _free_ports() -> tuple[int, int]:
    """Two that nobody listens on now."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
