"""Workers join and leave under load, a dozen times, without any crash: not one event may be missing.

This is where Faust as it comes loses events, and what streams/mending.py repairs. To see it fail, run the workers with
``--stock`` (tests/integration/hops.py), as ``SINSOK_CHURN_FLAGS=--stock pytest tests/e2e/test_churn.py`` does.
"""

import os
import random
import threading
import time
from pathlib import Path

import pytest

from tests.integration.hops import probe
from tests.integration.shell import Sender, ShellProcess, answers, eventually, make_test_topics

pytestmark = pytest.mark.e2e

WAVES = 4
GUESTS = 3
STUDIES = 40
UNHURRIED = {"heartbeat_s": 0.5, "grace_s": 120.0}
"""On a machine that is busy with other tests nobody is cut off."""
FLAGS = os.environ.get("SINSOK_CHURN_FLAGS", "").split()


class Load(threading.Thread):
    """Sends probes, some thirty a second, until told to stop."""

    def __init__(self, bootstrap: str, site: str) -> None:
        super().__init__(daemon=True)
        self._sender = Sender(bootstrap)
        self._site = site
        self._enough = threading.Event()
        self.sent: set[tuple[str, int]] = set()

    def run(self) -> None:
        number = 0
        while not self._enough.is_set():
            number += 1
            for study in (f"2.25.{n}" for n in range(STUDIES)):
                self._sender.queue(probe(self._site, study, number))
                self.sent.add((study, number))
                time.sleep(0.03)
        self._sender.flush()

    def finish(self) -> set[tuple[str, int]]:
        self._enough.set()
        self.join()
        return self.sent


@pytest.mark.parametrize(("hop", "said"), [("echo", "echo"), ("collect", "seen")])
def test_no_event_is_missing_after_workers_came_and_went(kafka: str, tmp_path: Path, hop: str, said: str) -> None:
    site = f"churn-{hop}"
    make_test_topics(kafka, site)
    rhythm = random.Random(7)
    load = Load(kafka, site)
    with ShellProcess(hop, site, kafka, tmp_path / "stays", *FLAGS, **UNHURRIED):
        load.start()
        for wave in range(WAVES):
            # Folders of their own give guests names of their own: each joins as somebody new, and is missed when gone.
            folders = [tmp_path / f"guest{wave}-{n}" for n in range(GUESTS)]
            guests = [ShellProcess(hop, site, kafka, folder, *FLAGS, **UNHURRIED) for folder in folders]
            for guest in guests:
                guest.start()
                time.sleep(rhythm.uniform(0.2, 1.0))
            for guest in guests:
                eventually(guest.joined)
                time.sleep(rhythm.uniform(0.0, 0.5))
                assert guest.stop() == 0
        sent = load.finish()

        def all_answered() -> None:
            missing = sent - set(answers(kafka, site, said))
            assert not missing, f"{len(missing)} of {len(sent)} events are missing"

        eventually(all_answered)
