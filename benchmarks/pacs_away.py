"""Alerts while the PACS is away, and the backlog when it is back.

    python benchmarks/pacs_away.py [--minutes 10] [--every 1.0]

Starts a whole installation of its own. Two small studies, one with a bleed and one without, arrive every so many
seconds all the time: half of ``--minutes`` with the PACS there, then ``--minutes`` with it stopped, then until what was
owed to it is archived. Printed are p50 and p99, in seconds, from the last image of a bleed to its alert on the topic,
as the broker stamped it, and how long after the return of the PACS the backlog was gone while more came.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateways.delivery.ledger import OPEN, Ledger, State
from schemas.envelope import decode
from schemas.events import AlertRaised
from schemas.topics import alerts
from tests.e2e.house import SITES, House
from tests.e2e.scanner import Scanner, small_study

SITE = "anseong"


class Load:
    """Studies, two every so many seconds, and when each bleed's last image was sent."""

    def __init__(self, house: House, every_s: float) -> None:
        self._scanner = Scanner(house.settings.dicom.port, SITES[SITE], SITE)
        self._every_s = every_s
        self._number = 0
        self.sent: dict[str, float] = {}

    def one(self) -> None:
        began = time.monotonic()
        for bright in (False, True):
            self._number += 1
            study = small_study(f"away {self._number}", site=SITE, bright=bright)
            self._scanner.insist(study.datasets)
            if bright:
                self.sent[study.uid] = time.time()
        time.sleep(max(0.0, self._every_s - (time.monotonic() - began)))

    def go_on(self, seconds: float) -> set[str]:
        """Send for so long; the studies with a bleed."""
        before, until = set(self.sent), time.monotonic() + seconds
        while time.monotonic() < until:
            self.one()
        return self.sent.keys() - before


def seconds_to_alert(house: House, load: Load, studies: set[str]) -> list[float]:
    """For each study, once all have their alert."""
    for _ in range(60):
        found: dict[str, float] = {}
        for record in house.records(alerts(SITE).name):
            event = decode(record.headers, record.value)
            if isinstance(event, AlertRaised) and event.study_uid in studies:
                found.setdefault(event.study_uid, record.timestamp_ms / 1000 - load.sent[event.study_uid])
        if len(found) == len(studies):
            return list(found.values())
        time.sleep(1)
    raise SystemExit(f"{len(studies) - len(found)} of {len(studies)} alerts did not come")


def owed(house: House) -> int:
    """Results that are not in the PACS yet."""
    ledger = Ledger(house.home / "deliveries" / "ledger.sqlite")
    try:
        return len([one for one in ledger.in_states(OPEN, limit=-1) if one.state is not State.HELD])
    finally:
        ledger.close()


def drained(house: House, load: Load) -> float:
    """Seconds until no more is owed than what has just come."""
    began = time.monotonic()
    while owed(house) > 4:
        load.one()
    return time.monotonic() - began


def row(name: str, seconds: list[float]) -> None:
    low, high = np.percentile(seconds, 50), np.percentile(seconds, 99)
    print(f"| {name} | {len(seconds)} | {low:.3f} | {high:.3f} | {max(seconds):.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=1.0)
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="sinsok-pacs-"))
    house = House(scratch / "house", servers=("kafka", "triton", "orthanc"))
    try:
        house.start()
        load = Load(house, options.every)
        load.go_on(20)  # what starts at the first study is started
        there = load.go_on(options.minutes * 30)
        house["orthanc"].stop()
        away = load.go_on(options.minutes * 60)
        backlog = owed(house)
        house["orthanc"].start()
        seconds = drained(house, load)
        print("| PACS | alerts | p50 | p99 | most |\n|---|---|---|---|---|")
        row("there", seconds_to_alert(house, load, there))
        row(f"away for {options.minutes:g} min", seconds_to_alert(house, load, away))
        print(f"\n{backlog} results owed when it came back, none {seconds:.0f} s later, while more came")
    finally:
        house.kill()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
