"""When a run of records becomes a segment."""

from dataclasses import replace

import pytest

from gateways.archive.run import Run
from gateways.archive.settings import ArchiveSettings
from schemas.audit import INSTALLATION
from tests.unit.gateways.archive.examples import record

LIMITS = ArchiveSettings(segment_records=3, segment_mb=1, segment_age_s=60)
OWN = replace(record(0), key=INSTALLATION.encode())
NOW = 1_000_000.0


def test_many_records_make_it_full() -> None:
    run = Run(7)
    for offset, full in ((7, False), (8, False), (9, True)):
        run.add(record(offset), NOW)
        assert run.full(LIMITS) is full


@pytest.mark.parametrize(
    "large", [{"value": bytes(1024 * 1024)}, {"key": bytes(1024 * 1024)}, {"headers": [("h", bytes(1024 * 1024))]}]
)
def test_large_records_make_it_full(large: dict[str, object]) -> None:
    run = Run(0)
    run.add(replace(record(0), **large), NOW)  # type: ignore[arg-type]
    assert run.full(LIMITS)


def test_an_empty_run_is_never_old() -> None:
    assert not Run(0).old(LIMITS, NOW)


def test_it_is_as_old_as_its_oldest_record() -> None:
    run = Run(0)
    run.add(record(0, at_ms=int(NOW * 1000)), NOW)
    run.add(record(1, at_ms=int(NOW * 1000) - 10_000), NOW)
    assert not run.old(LIMITS, NOW + 49.9)
    assert run.old(LIMITS, NOW + 50)


def test_a_record_from_the_future_is_as_old_as_its_arrival() -> None:
    run = Run(0)
    run.add(record(0, at_ms=int(NOW * 1000) + 3_600_000), NOW)
    assert run.old(LIMITS, NOW + 60)


def test_what_the_archiver_says_of_itself_waits_longer() -> None:
    """Else an installation at rest would archive, every hour, that it archived something an hour ago."""
    run = Run(0)
    run.add(replace(OWN, timestamp_ms=int(NOW * 1000)), NOW)
    assert not run.old(LIMITS, NOW + 239)
    assert run.old(LIMITS, NOW + 240)


def test_with_what_happens_at_a_site_it_goes_along() -> None:
    run = Run(0)
    run.add(replace(OWN, timestamp_ms=int(NOW * 1000)), NOW)
    run.add(record(1, at_ms=int(NOW * 1000)), NOW)
    assert run.old(LIMITS, NOW + 60)
