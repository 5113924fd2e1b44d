"""The envelope: CloudEvents in binary mode, and what is refused."""

import json
from uuid import UUID

import pytest
from pydantic import ValidationError

from schemas.base import Event, StudyEvent
from schemas.envelope import EVENT_TYPES, Headers, NotAnEvent, decode, encode
from schemas.events import DeadlinePassed
from schemas.identity import derived_id, study_key, trace_id
from schemas.topics import alerts, topic_of
from tests.unit.schemas.examples import EXAMPLES, JOURNEY

every_event = pytest.mark.parametrize("event", EXAMPLES.values(), ids=lambda event: type(event).__name__)
SECRET = "PHANTOM^IPH"


def headers_of(event: Event) -> dict[str, str]:
    return {name: value.decode() for name, value in encode(event).headers}


@every_event
def test_an_event_comes_back_as_it_was_sent(event: Event) -> None:
    message = encode(event)
    assert decode(message.headers, message.value) == event


@every_event
def test_headers_say_what_the_event_says(event: Event) -> None:
    headers = headers_of(event)
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_id"] == str(event.event_id)
    assert EVENT_TYPES[headers["ce_type"]] is type(event)
    assert headers["ce_source"] == f"/sinsok/{event.site}"
    assert headers["content-type"] == "application/json"
    assert headers["ce_time"].endswith("Z")
    assert json.loads(encode(event).value)["time"] == headers["ce_time"]


def test_one_study_is_one_trace_and_every_event_a_span_of_it() -> None:
    about_study = [event for event in JOURNEY if isinstance(event, StudyEvent)]
    key = study_key("suwon", about_study[0].study_uid)
    parents = [headers_of(event)["traceparent"].split("-") for event in about_study]
    assert {headers_of(event)["ce_subject"] for event in about_study} == {key}
    assert {trace for _, trace, _, _ in parents} == {trace_id(key)}
    assert len({span for _, _, span, _ in parents}) == len({event.event_id for event in about_study})


def test_the_deadline_of_a_study_has_the_id_it_always_had() -> None:
    waited = EXAMPLES["sinsok.DeadlinePassed.v1"]
    assert isinstance(waited, DeadlinePassed)
    key = study_key("suwon", waited.study_uid)
    assert waited.event_id == derived_id("sinsok.DeadlinePassed.v1", key, "assemble", waited.deadline.isoformat())
    of_alert = DeadlinePassed.model_validate(waited.model_dump(exclude={"event_id"}) | {"alert_id": UUID(int=7)})
    assert of_alert.event_id != waited.event_id
    assert of_alert.key == str(UUID(int=7))


def test_alerts_are_keyed_by_the_alert_and_the_rest_by_the_study() -> None:
    for event in JOURNEY:
        key = encode(event).key.decode()
        alert_waited = isinstance(event, DeadlinePassed) and event.alert_id is not None
        if topic_of(event) == alerts("suwon").name or alert_waited:
            assert UUID(key)
        elif isinstance(event, StudyEvent):
            assert key == study_key(event.site, event.study_uid)


@every_event
def test_an_unknown_field_is_refused(event: Event) -> None:
    message = encode(event)
    value = json.dumps(json.loads(message.value) | {"patient_name": SECRET}).encode()
    with pytest.raises(NotAnEvent, match=r"\?: extra_forbidden"):
        decode(message.headers, value)
    with pytest.raises(ValidationError):
        type(event).model_validate(event.model_dump() | {"patient_name": SECRET})


@every_event
def test_events_do_not_change(event: Event) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        event.site = "icheon"


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        pytest.param([], b"{}", id="no type"),
        pytest.param([("ce_type", b"sinsok." + SECRET.encode())], b"{}", id="unknown type"),
        pytest.param([("ce_type", b"\xff" + SECRET.encode())], b"{}", id="type in no text"),
        pytest.param([("ce_type", b"sinsok.StudyTriaged.v1")], None, id="no value"),
        pytest.param([("ce_type", b"sinsok.StudyTriaged.v1")], SECRET.encode(), id="no JSON"),
        pytest.param([("ce_type", b"sinsok.StudyTriaged.v1")], b"\xff\xfe" + SECRET.encode(), id="no text"),
        pytest.param([("ce_type", b"sinsok.StudyTriaged.v1")], b'{"site": "PHANTOM^IPH"}', id="wrong value"),
        pytest.param([("ce_type", b"sinsok.StudyTriaged.v1")], b'["PHANTOM^IPH"]', id="no object"),
        pytest.param([("ce_type", b"sinsok.StudyTriaged.v1")], b"[" * 100_000, id="too deep"),
    ],
)
def test_what_is_no_event_is_said_without_quoting_it(headers: Headers, value: bytes | None) -> None:
    with pytest.raises(NotAnEvent) as refusal:
        decode(headers, value)
    assert SECRET not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert len(str(refusal.value)) < 500


def test_the_name_of_an_unknown_field_is_not_quoted() -> None:
    """A field's name is input too: somebody may have used a patient's name as a key."""
    message = encode(EXAMPLES["sinsok.StudyTriaged.v1"])
    value = json.dumps(json.loads(message.value) | {SECRET: 1}).encode()
    with pytest.raises(NotAnEvent) as refusal:
        decode(message.headers, value)
    assert SECRET not in str(refusal.value)
    assert "?: extra_forbidden" in str(refusal.value)
