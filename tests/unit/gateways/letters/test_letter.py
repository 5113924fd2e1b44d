"""What a letter says of itself, whatever somebody wrote to the topic."""

from datetime import UTC, datetime

import pytest

from gateways.kafka import Record
from gateways.letters.letter import Cause, Letter, Place, original
from schemas.audit import INSTALLATION, Origin
from streams.dead_letters import Obituary, with_obituary
from tests.letters import START, letter
from tests.unit.schemas.examples import EXAMPLES

TRIAGED = EXAMPLES["sinsok.StudyTriaged.v1"]
OBITUARY = Obituary("ValueError", "too much", "infer", 3, "triage.studies", 4, 17, datetime(2026, 1, 2, tzinfo=UTC))
AGAIN = OBITUARY._replace(error="TypeError", hop="confirm", offset=18)


def headers(*obituaries: Obituary) -> list[tuple[str, bytes]]:
    told: list[tuple[str, bytes | None]] = [("ce_type", b"x")]
    for one in obituaries:
        told = with_obituary(told, one)
    return [(name, value or b"") for name, value in told]


def test_it_says_what_the_hop_wrote() -> None:
    one = Letter.of(Record("dead.letters", 3, 12, 1_772_334_000_000, b"k", headers(OBITUARY), b"12345"))
    assert one.place == (3, 12)
    assert str(one.place) == "3/12"
    assert one.at == START
    assert one.size_bytes == 5
    assert one.cause == Cause("infer", "ValueError", "too much", "triage.studies")
    assert one.origin == Origin(topic="triage.studies", partition=4, offset=17)
    assert (one.account.attempts, one.account.first_failure) == (3, OBITUARY.first_failure)
    assert one.as_origin == Origin(topic="dead.letters", partition=3, offset=12)


def test_of_several_accounts_the_last_counts_and_each_is_a_death() -> None:
    one = Letter.of(Record("dead.letters", 0, 0, 0, None, headers(OBITUARY, AGAIN), b""))
    assert [account.cause.error for account in one.accounts] == ["ValueError", "TypeError"]
    assert one.cause.hop == "confirm"
    assert one.requeued == 1


def test_the_marker_of_a_requeue_counts() -> None:
    back = letter(headers=[("sinsok_requeued", b"2"), ("sinsok_letter", b"3/12")])
    assert Letter.of(back).requeued == 2
    assert Letter.of(back).earlier == (3, 12)
    assert Letter.of(letter()).requeued == 0
    assert Letter.of(letter()).earlier is None


@pytest.mark.parametrize("said", [b"-1", b"x", b"", b"1" * 30, b"\xff", "²".encode()])
def test_a_marker_that_says_nonsense_counts_nothing(said: bytes) -> None:
    one = Letter.of(letter(headers=[("sinsok_requeued", said), ("sinsok_letter", said)]))
    assert (one.requeued, one.earlier) == (0, None)


def test_what_is_no_letter_is_one_that_says_nothing() -> None:
    one = Letter.of(Record("dead.letters", 0, 0, 0, b"\xff", [("dl_hop", b"\xfe"), ("dl_offset", b"x")], None))
    assert one.cause == Cause("\\xfe", "?", "?", "?")
    assert one.origin is None
    bare = Letter.of(Record("dead.letters", 0, 0, 0, None, [], None))
    assert bare.accounts == ()
    assert bare.cause == Cause("?", "?", "?", "?")
    assert bare.site is None


@pytest.mark.parametrize("said", ["2026-13-01", "2026-01-01T00:00:00", "", "0001-01-01T00:00:00+23:00"])
def test_a_time_that_is_none_is_left_out(said: str) -> None:
    assert Letter.of(letter(first_failure=said)).account.first_failure is None


def test_a_partition_that_no_broker_has_is_no_origin() -> None:
    told = with_obituary([], OBITUARY._replace(partition=10**12))
    one = Letter.of(Record("dead.letters", 0, 0, 0, None, [(name, value or b"") for name, value in told], b""))
    assert one.origin is None


def test_its_site_is_that_of_the_event_else_that_of_the_headers() -> None:
    event = Letter.of(letter(TRIAGED))
    assert (event.event, event.event_site, event.site, event.act_site) == ("StudyTriaged", "suwon", "suwon", "suwon")
    noise = Letter.of(letter(b"noise", headers=[("ce_source", b"/sinsok/icheon")]))
    assert (noise.event, noise.event_site, noise.site, noise.act_site) == (None, None, "icheon", INSTALLATION)
    assert Letter.of(letter(headers=[("ce_source", b"elsewhere")])).site is None


def test_the_original_headers_are_those_without_ours() -> None:
    ours = [("sinsok_requeued", b"1"), ("sinsok_letter", b"0/0")]
    one = letter(headers=[("a", b"1"), *ours, ("a", b"2"), ("sinsok_other", b"3")])
    assert original(one.headers) == [("a", b"1"), ("a", b"2"), ("sinsok_other", b"3")]


def test_a_place_is_read_as_it_is_written() -> None:
    assert Place.of("3/12") == Place(3, 12)
    for text in ("", "3", "3/", "/12", "3/12/1", "-3/12", "3/ 12", "3/x", "\u0663/\u0661", "1/" + "9" * 19):
        with pytest.raises(ValueError, match="PARTITION/OFFSET"):
            Place.of(text)
