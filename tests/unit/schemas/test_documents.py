"""The committed JSON Schema and AsyncAPI documents say what the code does."""

import json
from datetime import datetime
from typing import Any

import jsonschema
import pytest

from schemas.asyncapi import ALERTS, CHANNELS, OPERATIONS, asyncapi
from schemas.base import Event
from schemas.documents import FOLDER, documents
from schemas.envelope import EVENT_TYPES, encode
from schemas.json_schema import name_of
from schemas.topics import alerts, all_topics
from streams.dead_letters import PREFIX, Obituary
from streams.hop import StatefulHop
from streams.pipeline import pipeline
from tests.unit.schemas.examples import EXAMPLES
from tests.unit.streams.examples import SITES, FakeInference

every_event = pytest.mark.parametrize("event", EXAMPLES.values(), ids=lambda event: type(event).__name__)

IDENTIFYING = ("patient", "name", "birth", "accession", "sex", "age", "address", "phone", "physician", "operator")
"""What no field may be called. ``name`` is meant too: nothing in an event has one."""


def committed(event: type[Event]) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((FOLDER / f"json/{name_of(event)}.schema.json").read_text(encoding="utf-8"))
    return schema


FORMATS = jsonschema.FormatChecker(formats=["uuid"])


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    """jsonschema checks times only where another package is installed."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema, format_checker=FORMATS)


def properties(schema: Any) -> set[str]:
    """Names of all fields, at every depth."""
    if isinstance(schema, dict):
        return set(schema.get("properties", ())).union(*(properties(value) for value in schema.values()))
    return set().union(*(properties(value) for value in schema)) if isinstance(schema, list) else set()


def test_the_committed_documents_are_those_of_the_code() -> None:
    """After a change of the contracts: `sinsok schemas export`, and look at the difference."""
    for path, text in documents().items():
        assert (FOLDER / path).read_text(encoding="utf-8") == text, path
    assert {f"json/{path.name}" for path in (FOLDER / "json").iterdir()} < set(documents())


def test_every_event_has_an_example() -> None:
    assert EXAMPLES.keys() == EVENT_TYPES.keys()


@every_event
def test_what_is_written_fits_the_committed_schema(event: Event) -> None:
    schema = committed(type(event))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator(schema).validate(json.loads(encode(event).value))


@every_event
@pytest.mark.parametrize("change", ["a field less", "no time zone", "no id", "another type"])
def test_what_does_not_fit_is_refused_by_the_schema(event: Event, change: str) -> None:
    value = json.loads(encode(event).value)
    match change:
        case "a field less":
            del value["event_id"]
        case "no time zone":
            value["time"] = "2026-03-01T03:00:00"
        case "no id":
            value["event_id"] = "7"
        case "another type":
            value["site"] = 7
    with pytest.raises(jsonschema.ValidationError):
        validator(committed(type(event))).validate(value)


@every_event
def test_a_schema_says_which_event_it_is_of(event: Event) -> None:
    schema = committed(type(event))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:sinsok:schema:{event.TYPE.removeprefix('sinsok.')}"
    assert schema["properties"].keys() == set(schema["required"])


def test_no_event_has_a_field_for_an_identifier() -> None:
    fields = set().union(*(properties(committed(event)) for event in EVENT_TYPES.values()))
    assert "study_uid" in fields
    assert "key_instance_uid" in fields, "fields of nested values are seen too"
    assert [field for field in sorted(fields) if any(word in field.split("_") for word in IDENTIFYING)] == []


@every_event
def test_the_headers_fit_the_asyncapi_document(event: Event) -> None:
    document = asyncapi()
    message = document["components"]["messages"][name_of(type(event))]
    schema = {**message["headers"], "components": document["components"]}
    kafka = encode(event)
    headers = {name: value.decode() for name, value in kafka.headers}
    validator(schema).validate(headers)
    validator(message["bindings"]["kafka"]["key"]).validate(kafka.key.decode())
    with pytest.raises(jsonschema.ValidationError):
        validator(schema).validate(headers | {"ce_type": "sinsok.Other.v1"})


@every_event
def test_the_payload_fits_the_asyncapi_document(event: Event) -> None:
    document = asyncapi()
    payload = document["components"]["messages"][name_of(type(event))]["payload"]
    validator({**payload, "components": document["components"]}).validate(json.loads(encode(event).value))


def test_the_channels_are_the_declared_topics() -> None:
    described = {
        channel["address"].replace("{site}", "suwon"): channel["bindings"]["kafka"]["partitions"]
        for channel in asyncapi()["channels"].values()
    }
    assert described == {topic.name: topic.partitions for topic in all_topics(["suwon"])}
    assert len(CHANNELS) == len(described)


def test_the_operations_are_those_of_the_hops() -> None:
    """What the table of hops reads is what the document says they receive, and everything is written by somebody."""
    received = {(op.hop, op.topic.name) for op in OPERATIONS if op.action == "receive"}
    hops = pipeline(SITES, FakeInference())
    sites = {alerts(site).name: ALERTS.name for site in SITES.names}
    assert received == {(hop.name, sites.get(topic.name, topic.name)) for hop in hops for topic in hop.reads}
    timed = {(hop.name, "triage.deadlines") for hop in hops if isinstance(hop, StatefulHop)}
    sent = {(op.hop, op.topic.name) for op in OPERATIONS if op.action == "send"}
    assert timed <= sent
    assert {name for _, name in sent} == {topic.name for topic in CHANNELS}


def test_dead_letters_are_described_as_they_are_written() -> None:
    headers = asyncapi()["components"]["messages"]["DeadLetter"]["headers"]
    assert headers["required"] == [PREFIX + field for field in Obituary._fields]


def test_the_documents_end_with_a_newline_and_are_sorted() -> None:
    for text in documents().values():
        assert text.endswith("}\n")
        assert json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n" == text
