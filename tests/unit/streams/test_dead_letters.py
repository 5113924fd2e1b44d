"""A dead letter tells why, and keeps what it was."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from streams.dead_letters import Obituary, read_obituary, with_obituary

OBITUARY = Obituary(
    "NotAnEvent", "no ce_type header", "infer", 3, "triage.studies", 7, 42, datetime(2026, 1, 2, tzinfo=UTC)
)


def test_original_headers_stay_in_front_and_unchanged() -> None:
    original = [("ce_type", b"x"), ("odd", None), ("ce_type", b"\xff")]
    assert with_obituary(original, OBITUARY)[:3] == original


def test_an_obituary_survives_the_wire() -> None:
    assert read_obituary(with_obituary([("a", b"b")], OBITUARY)) == OBITUARY


def test_times_are_written_in_utc() -> None:
    seoul = datetime(2026, 1, 2, 9, tzinfo=timezone(timedelta(hours=9)))
    headers = dict(with_obituary([], OBITUARY._replace(first_failure=seoul)))
    assert headers["dl_first_failure"] == b"2026-01-02T00:00:00+00:00"


def test_the_last_death_counts() -> None:
    again = OBITUARY._replace(error="ZeroDivisionError", offset=43)
    assert read_obituary(with_obituary(with_obituary([], OBITUARY), again)) == again


def test_other_messages_are_no_dead_letters() -> None:
    with pytest.raises(ValueError, match="dl_error is missing"):
        read_obituary([("ce_type", b"x")])
