"""A study's events as one trace: what came from what, when it began, and what it does not tell."""

from collections import Counter
from datetime import timedelta

import pytest

from gateways.traces.causes import cause
from gateways.traces.memory import Memory
from gateways.traces.spans import _DONE_BY, Span, span_id, spans
from schemas.base import StudyEvent
from schemas.envelope import encode
from schemas.events import AlertEvent, StudyTriaged
from schemas.identity import study_key, trace_id
from schemas.topics import ALERT_EVENTS, DELIVERIES
from tests.unit.gateways.watch.test_studies import FINAL, SECOND, result
from tests.unit.schemas.examples import JOURNEY
from tests.unit.streams.examples import STUDY, at

FLOW = [
    event
    for event in JOURNEY
    if isinstance(event, StudyEvent) and type(event).__name__ not in ("StudyViewed", "StepTaken")
]
TRACE = trace_id(study_key("suwon", STUDY))


def traced(*events: StudyEvent) -> list[Span]:
    memory = Memory()
    return [span for event in events for span in spans(event, memory)]


@pytest.fixture(scope="module")
def journey() -> dict[str, Span]:
    return {span.id: span for span in traced(*FLOW)}


def test_every_event_has_the_span_that_its_header_names(journey: dict[str, Span]) -> None:
    for event in FLOW:
        told = dict(encode(event).headers)["traceparent"].decode()
        span = journey[span_id(event.event_id)]
        assert told == f"00-{span.trace}-{span.id}-01"
        assert span.end == event.time
        assert span.begin <= span.end


def test_one_tree_from_the_first_image_to_the_last_act(journey: dict[str, Span]) -> None:
    assert {span.trace for span in journey.values()} == {TRACE}
    roots = [span for span in journey.values() if span.parent is None]
    assert [(root.name, root.hop) for root in roots] == [("study", "receive")]
    for span in journey.values():
        while span.parent is not None:
            span = journey[span.parent]
        assert span is roots[0]


def test_what_came_from_what(journey: dict[str, Span]) -> None:
    found = Counter((span.name, journey[span.parent].name) for span in journey.values() if span.parent)
    chain = [("receive", "study"), ("assemble", "study"), ("infer", "assemble"), ("alert", "infer"), ("page", "alert")]
    life = [("deferred", "alert"), ("delivered", "page"), ("handed on", "page"), ("escalate", "alert")]
    life += [("page", "escalate"), ("undelivered", "page"), ("seen", "alert"), ("acknowledged", "alert")]
    delivered = [("held", "infer"), ("rejected", "infer"), ("archived", "infer"), ("worklist updated", "infer")]
    assert {*chain, *life, *delivered, ("withdrawn", "alert"), ("deadline", "study")} <= set(found)


def test_the_steps_of_a_reading_are_below_its_result() -> None:
    event = result(FINAL)
    (decision,) = event.series
    assert decision.reading is not None
    timed = decision.reading.model_copy(update={"completed_at": at(60), "seconds": {"load": 1.0, "infer": 3.0}})
    event = event.model_copy(update={"series": (decision.model_copy(update={"reading": timed}),), "time": at(61)})
    own, read, load, infer = traced(FINAL, event)[1:]
    assert [one.name for one in (own, read, load, infer)] == ["infer", "read ich", "load", "infer"]
    assert (own.begin, own.end) == (at(50), at(61)), "the wait in the topic is part of it"
    assert (read.parent, load.parent, infer.parent) == (own.id, read.id, read.id)
    assert [(one.begin, one.end) for one in (read, load, infer)] == [
        (at(56), at(60)),
        (at(56), at(57)),
        (at(57), at(60)),
    ]
    assert len({own.id, read.id, load.id, infer.id}) == 4
    again = traced(FINAL.model_copy(update={"time": at(60.5)}), event)
    assert [span.name for span in again] == ["assemble", "infer"], "an answer from before was not given now"


def test_the_second_result_of_a_revision_is_the_confirming_one() -> None:
    first = result(FINAL).model_copy(update={"unconfirmed": True})
    assert [span.name for span in traced(FINAL, first, result(FINAL)) if span.parent == span_id(FINAL.event_id)] == [
        "infer",
        "confirm",
    ]


def test_a_cause_that_was_not_seen_is_named_all_the_same() -> None:
    """After a restart its time is not known: the span has no length, and its place."""
    for event in FLOW:
        if isinstance(event, AlertEvent | StudyTriaged):
            span = next(iter(traced(event)))
            came_from = cause(event)
            assert came_from is not None
            assert span.parent == span_id(came_from)
            assert span.begin == span.end


def test_the_same_events_make_the_same_spans() -> None:
    assert traced(*FLOW) == traced(*FLOW)


def test_a_clock_that_is_off_turns_no_span_around() -> None:
    early = SECOND.model_copy(update={"time": SECOND.series.first_image_at - timedelta(seconds=5)})
    for span in traced(early):
        assert span.begin <= span.end


def test_no_span_names_a_study_or_a_person(journey: dict[str, Span]) -> None:
    told = {str(value) for span in journey.values() for value in (span.name, *span.attributes.values())}
    assert not [one for one in told if one.startswith("2.25.") or "dr." in one]
    assert "first" not in told, "a recipient"


def test_every_event_of_the_flow_has_a_name_of_its_own() -> None:
    assert {*ALERT_EVENTS, *DELIVERIES.carries} <= set(_DONE_BY)
