"""Keeps one part running: starts it, asks how it is, starts it again when it died or hangs, unless it is held."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from sinsok.stack import marked, state
from sinsok.stack.part import NotInstalled, NotReady, Part
from sinsok.stack.state import PartState, State

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
SETTLED_AFTER_S: Final = 60.0
"""A part that was up for so long is restarted at once again."""
HUNG_AFTER_S: Final = 30.0
"""A part that runs and does not answer for so long is killed."""
ASK_EVERY_S: Final = 2.0
LOOK_EVERY_S: Final = 0.2
LARGEST_LOG: Final = 64 * 1024 * 1024

_log = structlog.get_logger()


class Keeper(threading.Thread):
    """The thread of one part. Nobody else waits for, signals or restarts its process."""

    def __init__(
        self,
        part: Part,
        home: Path,
        ready: Mapping[str, threading.Event],
        report: Callable[[PartState], None],
    ) -> None:
        """``ready`` has an event for every part, set for good when it is ready for the first time."""
        super().__init__(name=part.name, daemon=True)
        self._part = part
        self._home = home
        self._ready = ready
        self._report = report
        self._stopping = threading.Event()
        self._pid: int | None = None
        self._restarts = 0

    def stop(self) -> None:
        """Ask the part to end; join the thread to know that it did."""
        self._stopping.set()

    def run(self) -> None:
        self._say("starting", f"waits for {', '.join(self._part.after)}" if self._part.after else "")
        for name in self._part.after:
            while name in self._ready and not self._ready[name].wait(0.1):
                if self._stopping.is_set():
                    return self._say("stopped")
        delay = FIRST_DELAY_S
        while not self._stopping.is_set():
            if self._is_held():
                self._say("stopped", f"until `sinsok up {self.name}`")
                self._stopping.wait(LOOK_EVERY_S)
                continue
            began = time.monotonic()
            try:
                reason = self._run_once()
            except Exception as error:  # noqa: BLE001 - the thread's edge: without it the part would be left alone
                _log.exception("part cannot be kept", part=self.name)
                reason = f"{type(error).__name__}: {error}"
            self._pid = None
            if self._stopping.is_set() or self._is_held():
                continue
            if time.monotonic() - began > SETTLED_AFTER_S:
                delay = FIRST_DELAY_S
            self._restarts += 1
            self._say("failed", reason)
            _log.warning("part ended", part=self.name, reason=reason, again_in_s=delay)
            self._stopping.wait(delay)
            delay = min(2 * delay, LONGEST_DELAY_S)
        self._say("stopped")
        return None

    def _run_once(self) -> str:
        """Start the process and watch it to its end; the reason of the end."""
        try:
            self._part.prepare()
        except (NotInstalled, OSError) as error:
            return str(error)
        except subprocess.CalledProcessError as error:
            return f"{error}: {(error.stderr or '').strip()[-300:]}"
        log = self._home / "logs" / f"{self.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                (*self._part.command, *self._part.arguments()),
                env={**self._part.environment, **marked.mark(self._home, self.name)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._pid = process.pid
        self._say("starting")
        _log.info("part started", part=self.name, pid=process.pid)
        try:
            return self._watch(process, log)
        finally:
            self._end(process)

    def _watch(self, process: subprocess.Popen[bytes], log: Path) -> str:
        """Ask now and then until the process ends, hangs or is to stop; the reason."""
        began = answered = time.monotonic()
        asked = -LONGEST_DELAY_S
        ready = False
        while not self._stopping.wait(LOOK_EVERY_S) and not self._is_held():
            if (code := process.poll()) is not None:
                return _ending(code)
            now = time.monotonic()
            if ready and now - asked < ASK_EVERY_S:
                continue
            asked = now
            _shorten(log)
            try:
                self._part.ready()
                if not ready:
                    self._part.once_ready()
            except NotReady as reason:
                late = ready or now - began > self._part.ready_within_s
                self._say("failed" if late else "starting", str(reason))
            else:
                ready, answered = True, now
                self._ready[self.name].set()
                self._say("ready")
                continue
            try:
                self._part.alive()
                answered = now
            except NotReady as reason:
                patience_s = HUNG_AFTER_S if ready else max(HUNG_AFTER_S, self._part.ready_within_s)
                if now - answered > patience_s:
                    process.kill()
                    return f"did not answer for {patience_s:.0f} s: {reason}"
        return "stopped"

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(self._part.grace_s)
        except subprocess.TimeoutExpired:
            _log.warning("part did not end in time", part=self.name, grace_s=self._part.grace_s)
            process.kill()
            process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it started and left behind

    def _is_held(self) -> bool:
        return state.is_held(self._home, self.name)

    def _say(self, state: State, reason: str = "") -> None:
        self._report(PartState(self.name, state, self._pid, self._part.endpoint, self._restarts, reason))


def _ending(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _shorten(log: Path) -> None:
    """Move a large log aside; the process goes on writing to the same, now empty file."""
    if log.stat().st_size > LARGEST_LOG:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)
