"""`sinsok study`: a study's timeline."""

import json
from collections.abc import Iterable, Iterator

import pytest

from gateways.archive import history
from gateways.kafka import Record
from gateways.objects import FileStore
from schemas.audit import LetterRequeued
from schemas.base import StudyEvent
from schemas.envelope import EVENT_TYPES
from schemas.identity import study_key, trace_id
from schemas.steps import StepTaken
from sinsok.timeline import timelines
from sinsok.wording import details, kind, summary
from tests.unit.schemas.examples import EXAMPLES, JOURNEY
from tests.unit.sinsok.commandline import FAULT, NOT_WHOLE, dead_letter, lacking, record, sinsok

START_MS = 1_772_334_000_000
UID = "2.25.1"
STUDY_EVENTS = [event for event in JOURNEY if isinstance(event, StudyEvent) and not isinstance(event, StepTaken)]


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """What the broker has: the whole way of a study, 250 ms from event to event, read topic after topic."""
    stored = [record(event, START_MS + 250 * at, offset=at) for at, event in enumerate(STUDY_EVENTS)]

    def read(bootstrap: str, store: FileStore, topics: Iterable[str], *_: object) -> Iterator[Record]:
        yield from (one for topic in topics for one in stored if one.topic == topic)

    monkeypatch.setattr(history, "read", read)
    return stored


def test_the_whole_way_in_order(records: list[Record]) -> None:
    told = sinsok("study", UID).out.splitlines()
    assert told[0] == f"study {UID} at suwon"
    assert told[1] == f"study key {study_key('suwon', UID)}, first event 2026-03-01 03:00:00.000 UTC"
    assert told[2] == f"trace {trace_id(study_key('suwon', UID))}"
    steps = [line for line in told if " s " in line and any(kind(event) in line for event in STUDY_EVENTS)]
    assert [line.split()[4] for line in steps] == [kind(event) for event in STUDY_EVENTS]
    assert [line.split()[0] for line in steps] == [f"{0.25 * at:.3f}" for at in range(len(STUDY_EVENTS))]
    assert {line.split()[2] for line in steps[1:]} == {"+0.250"}


def test_what_was_decided_and_why(records: list[Record]) -> None:
    told = sinsok("study", UID).out
    for said in (
        "CT, 36 instances, batch 1 released, from CT1",
        "36 slices every 5 mm, without gaps",
        "revision 1 (provisional), 1 series, closed because contiguous",
        "for: 36 instances, a stack without gaps, association released",
        "for: no image for 30 s",
        "revision 1 (provisional), findings, stat: Intracranial hemorrhage, 20.0 ml",
        "to ich@1: CT of HEAD, 36 slices every 5 mm",
        "Intracranial hemorrhage: 20.0 ml, probability 0.90, around (10, 20, 30) mm",
        "most of it in instance 2.25.100",
        "assemble had waited until 03:00:30",
        "revision 2 took the finding back",
    ):
        assert said in told, said


def test_as_json(records: list[Record]) -> None:
    answer = json.loads(sinsok("study", UID, "--json").out)
    (site,) = answer["sites"]
    assert (answer["study_uid"], site["site"], site["study_key"]) == (UID, "suwon", study_key("suwon", UID))
    assert [one["type"] for one in site["events"]] == [kind(event) for event in STUDY_EVENTS]
    assert [one["event"] for one in site["events"]] == [json.loads(event.model_dump_json()) for event in STUDY_EVENTS]
    assert site["events"][2]["since_first_s"] == 0.5
    assert site["events"][2]["since_previous_s"] == 0.25
    assert {one["copies"] for one in site["events"]} == {1}


def test_an_event_that_came_again_is_one_event(records: list[Record]) -> None:
    records.append(record(STUDY_EVENTS[0], START_MS + 9000, offset=99))
    told = [line for line in sinsok("study", UID).out.splitlines() if "SeriesReceived" in line]
    assert len(told) == 1
    assert told[0].split()[0] == "0.000"
    assert told[0].endswith("(delivered 2 times)")


def test_two_sites_with_one_uid_do_not_mix(records: list[Record]) -> None:
    elsewhere = STUDY_EVENTS[0].model_copy(update={"site": "icheon"})
    records.append(record(elsewhere, START_MS + 5, offset=50))
    told = sinsok("study", UID).out
    assert told.index(f"study {UID} at icheon") < told.index(f"study {UID} at suwon")
    only = sinsok("study", UID, "--site", "icheon").out
    assert "at suwon" not in only
    assert only.count("SeriesReceived") == 1


def test_a_dead_letter_about_it_is_part_of_its_way(records: list[Record]) -> None:
    records.append(dead_letter(records[1], START_MS + 600))
    records.append(dead_letter(records[1], START_MS + 700, offset=1))
    told = sinsok("study", UID).out
    assert told.count("DeadLetter") == 2
    assert "infer gave up after 3 attempts: ValueError: it was too much" in told
    assert "was record 17 of triage.studies, partition 4" in told


def test_what_is_no_event_is_left_out(records: list[Record]) -> None:
    noise = b'{"study_uid": "2.25.1", "site": "suwon"}'
    records.append(Record("triage.results", 0, 8, START_MS, None, [], noise))
    records.append(Record("dead.letters", 0, 8, START_MS, None, [], noise))
    assert sinsok("study", UID).out == sinsok("study", UID).out
    assert len(timelines(records, UID)["suwon"]) == len(STUDY_EVENTS)


def test_within_a_millisecond_the_order_of_the_flow() -> None:
    same = [record(event, START_MS) for event in reversed(STUDY_EVENTS[:4])]
    kinds = [kind(entry.what) for entry in timelines(same, UID)["suwon"]]
    assert kinds == ["SeriesReceived", "StudyAssembled", "StudyTriaged", "AlertRaised"]


@pytest.mark.parametrize("how", [[], ["--json"], ["--site", "suwon"]])
def test_what_the_archive_lost_is_told_and_the_rest_is_shown(
    records: list[Record], monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    whole = sinsok("study", UID, *how)
    monkeypatch.setattr(history, "read", lacking(history.read))
    answer = sinsok("study", UID, *how)
    assert (answer.code, answer.out) == (1, whole.out)
    fault, last = answer.err.splitlines()
    assert fault == FAULT
    assert last.startswith(f"error: {NOT_WHOLE}")
    fault, last = sinsok("study", "2.25.404").err.splitlines()
    assert fault == FAULT
    assert last.startswith("error: no event about study 2.25.404")
    assert NOT_WHOLE in last, "it may be in what was lost"


def test_a_site_that_there_is_not_is_said_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "read", None)
    answer = sinsok("study", UID, "--site", "busan")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: there is no site 'busan': choose one of suwon, anseong, icheon\n"


@pytest.mark.parametrize("arguments", [["2.25.404"], [UID, "--site", "anseong"], ["\udcff"], [""]])
def test_an_unknown_study(records: list[Record], arguments: list[str]) -> None:
    answer = sinsok("study", *arguments)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: no event about study ")
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize("event", EXAMPLES.values(), ids=lambda event: type(event).__name__)
def test_every_event_can_be_told(event: object) -> None:
    assert EVENT_TYPES.keys() == EXAMPLES.keys()
    assert summary(event)  # type: ignore[arg-type]
    assert all("\n" not in line for line in [summary(event), *details(event)])  # type: ignore[arg-type]


def test_the_steps_of_the_hops_are_told_where_they_are_asked_for(records: list[Record]) -> None:
    step = next(event for event in JOURNEY if isinstance(event, StepTaken))
    records.append(record(step, START_MS + 9000, offset=60))
    assert "StepTaken" not in sinsok("study", UID).out
    assert "infer, triage.studies/7/3: 1 events sent" in sinsok("study", UID, "--steps").out


def test_what_was_done_to_a_dead_letter_about_it_is_part_of_its_way(records: list[Record]) -> None:
    records.append(dead_letter(records[1], START_MS + 600, offset=4))
    requeued = next(event for event in JOURNEY if isinstance(event, LetterRequeued))
    place = requeued.letter.model_copy(update={"partition": records[-1].partition, "offset": 4})
    elsewhere = requeued.letter.model_copy(update={"offset": 5})
    for at, letter in enumerate((place, elsewhere)):
        records.append(record(requeued.model_copy(update={"letter": letter}), START_MS + 700 + at, offset=at))
    told = sinsok("study", UID).out
    assert told.count("LetterRequeued") == 1
    assert f"operator sent letter {place.partition}/4 back to triage.studies, attempt 1" in told
