"""The AsyncAPI 3.0 document: every topic, what it carries, and which hop sends and receives it.

Messages follow the CloudEvents 1.0 Kafka binding (binary mode) and the AsyncAPI Kafka bindings 0.5.0.
"""

from typing import Any, Final, Literal, NamedTuple

from schemas.alarms import AlarmEvent
from schemas.audit import RecordAct
from schemas.base import Event
from schemas.envelope import EVENT_TYPES
from schemas.events import AlertEvent, DeadlinePassed
from schemas.json_schema import definitions, name_of
from schemas.steps import StepTaken
from schemas.topics import (
    ALARMS,
    AUDIT_ACTS,
    AUDIT_TRAIL,
    DEAD_LETTERS,
    DEADLINES,
    DELIVERIES,
    DICOM_SERIES,
    RESULTS,
    STEPS,
    STUDIES,
    Topic,
    alerts,
)

CONTRACT_VERSION: Final = "1.0.0"
ALERTS: Final = alerts("{site}")
"""The alert topic of every site at once: an address with a parameter."""
CHANNELS: Final = (
    DICOM_SERIES,
    DEADLINES,
    STUDIES,
    RESULTS,
    STEPS,
    DELIVERIES,
    ALERTS,
    AUDIT_ACTS,
    AUDIT_TRAIL,
    ALARMS,
    DEAD_LETTERS,
)

Action = Literal["send", "receive"]


class Operation(NamedTuple):
    """What a hop does with a topic."""

    hop: str
    action: Action
    topic: Topic

    @property
    def name(self) -> str:
        """``infer.receive.triage.studies``."""
        return f"{self.hop}.{self.action}.{_channel(self.topic)}"


OPERATIONS: Final = (
    Operation("receive", "send", DICOM_SERIES),
    Operation("assemble", "receive", DICOM_SERIES),
    Operation("assemble", "receive", DEADLINES),
    Operation("assemble", "send", DEADLINES),
    Operation("assemble", "send", STUDIES),
    Operation("assemble", "send", STEPS),
    Operation("assemble", "send", DEAD_LETTERS),
    Operation("infer", "receive", STUDIES),
    Operation("infer", "send", RESULTS),
    Operation("infer", "send", STEPS),
    Operation("infer", "send", DEAD_LETTERS),
    Operation("confirm", "receive", STUDIES),
    Operation("confirm", "send", RESULTS),
    Operation("confirm", "send", STEPS),
    Operation("confirm", "send", DEAD_LETTERS),
    Operation("alert", "receive", RESULTS),
    Operation("alert", "receive", DEADLINES),
    Operation("alert", "send", DEADLINES),
    Operation("alert", "send", ALERTS),
    Operation("alert", "send", STEPS),
    Operation("alert", "send", DEAD_LETTERS),
    Operation("escalate", "receive", ALERTS),
    Operation("escalate", "receive", DEADLINES),
    Operation("escalate", "send", DEADLINES),
    Operation("escalate", "send", ALERTS),
    Operation("escalate", "send", STEPS),
    Operation("escalate", "send", DEAD_LETTERS),
    Operation("write", "receive", RESULTS),
    Operation("write", "send", DELIVERIES),
    Operation("notify", "receive", ALERTS),
    Operation("notify", "send", ALERTS),
    Operation("console", "receive", DICOM_SERIES),
    Operation("console", "receive", STUDIES),
    Operation("console", "receive", RESULTS),
    Operation("console", "receive", ALERTS),
    Operation("console", "receive", DELIVERIES),
    Operation("console", "send", ALERTS),
    Operation("console", "send", AUDIT_ACTS),
    *(Operation("watch", "receive", topic) for topic in (DICOM_SERIES, STUDIES, RESULTS)),
    Operation("watch", "send", ALARMS),
    *(Operation("audit", "receive", topic) for topic in CHANNELS if topic is not AUDIT_TRAIL),
    Operation("audit", "send", AUDIT_TRAIL),
    *(Operation("archive", "receive", topic) for topic in CHANNELS),
    Operation("archive", "send", AUDIT_ACTS),
)

_SCHEMAS: Final = "#/components/schemas/"
_STUDY_KEY: Final = {
    "type": "string",
    "pattern": "^[0-9a-f]{64}$",
    "description": "Study key: sha256 over site, a vertical bar and StudyInstanceUID, in hex",
}
_ALERT_KEY: Final = {"type": "string", "format": "uuid", "description": "Alert id"}
_SITE_KEY: Final = {
    "type": "string",
    "pattern": "^[a-z][a-z0-9-]{0,31}$",
    "description": "The site; sinsok where it is about the whole installation",
}
_HEADERS: Final[dict[str, Any]] = {
    "type": "object",
    "description": "CloudEvents attributes and the trace of the study. Every value is UTF-8 text.",
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "format": "uuid", "description": "event_id; drop what you have seen"},
        "ce_type": {"type": "string", "enum": sorted(EVENT_TYPES)},
        "ce_source": {"type": "string", "pattern": "^/sinsok/[a-z][a-z0-9-]{0,31}$", "description": "/sinsok/<site>"},
        "ce_subject": {"anyOf": [_STUDY_KEY, _SITE_KEY]},
        "ce_time": {"type": "string", "format": "date-time"},
        "content-type": {"const": "application/json"},
        "traceparent": {
            "type": "string",
            "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-01$",
            "description": "W3C trace context: one trace a study, one span an event",
        },
    },
}
_HEADERS["required"] = list(_HEADERS["properties"])
_DEAD_LETTER_HEADERS: Final[dict[str, Any]] = {
    "type": "object",
    "description": "The headers it came with, and after them why it could not be handled. Every value is UTF-8 text.",
    "properties": {
        "dl_error": {"type": "string", "description": "Class of the failure"},
        "dl_message": {"type": "string", "description": "One line that does not quote the input"},
        "dl_hop": {"type": "string", "description": "The hop that gave up"},
        "dl_attempts": {"type": "string", "pattern": "^[0-9]+$"},
        "dl_topic": {"type": "string", "description": "Where it came from"},
        "dl_partition": {"type": "string", "pattern": "^[0-9]+$"},
        "dl_offset": {"type": "string", "pattern": "^[0-9]+$"},
        "dl_first_failure": {"type": "string", "format": "date-time"},
    },
}
_DEAD_LETTER_HEADERS["required"] = list(_DEAD_LETTER_HEADERS["properties"])
_TYPED_SETTINGS: Final = ("retention.ms", "max.message.bytes")


def asyncapi() -> dict[str, Any]:
    """The document, as JSON."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:sinsok:events",
        "info": {
            "title": "sinsok",
            "version": CONTRACT_VERSION,
            "description": "Streaming triage for medical images. Events are facts in the past tense, delivered at"
            " least once: what has a ce_id that was seen before is the same event. No event carries a patient's name,"
            " id, birth date or accession number. AI output is not for diagnosis without a physician.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:9092", "protocol": "kafka", "description": "The local stack"}},
        "channels": {_channel(topic): _describe_channel(topic) for topic in CHANNELS},
        "operations": {operation.name: _describe_operation(operation) for operation in OPERATIONS},
        "components": {
            "messages": {name_of(event): _describe_message(event) for event in EVENT_TYPES.values()}
            | {"DeadLetter": _dead_letter(), "AuditRecord": _audit_record()},
            "schemas": definitions(_SCHEMAS + "{model}") | {"CloudEventHeaders": _HEADERS},
        },
    }


def _channel(topic: Topic) -> str:
    return topic.name.replace(".{site}", "")


def _messages(topic: Topic) -> list[str]:
    return [name_of(event) for event in topic.carries] or (["AuditRecord"] if topic is AUDIT_TRAIL else ["DeadLetter"])


def _describe_channel(topic: Topic) -> dict[str, Any]:
    settings = {name: int(value) if name in _TYPED_SETTINGS else value for name, value in topic.settings.items()}
    kafka = {"partitions": topic.partitions, "topicConfiguration": settings, "bindingVersion": "0.5.0"}
    channel: dict[str, Any] = {
        "address": topic.name,
        "description": topic.purpose,
        "servers": [{"$ref": "#/servers/local"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages(topic)},
        "bindings": {"kafka": kafka},
    }
    if topic is ALERTS:
        site = {"description": "Name of the site", "examples": ["suwon"], "location": "$message.payload#/site"}
        channel["parameters"] = {"site": site}
    return channel


def _describe_operation(operation: Operation) -> dict[str, Any]:
    channel = f"#/channels/{_channel(operation.topic)}"
    return {
        "action": operation.action,
        "channel": {"$ref": channel},
        "summary": f"{operation.hop} {'reads' if operation.action == 'receive' else 'writes'} {operation.topic.name}",
        "tags": [{"name": operation.hop}],
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in _messages(operation.topic)],
    }


def _describe_message(event: type[Event]) -> dict[str, Any]:
    return {
        "name": event.TYPE,
        "title": event.__name__,
        "summary": (event.__doc__ or "").splitlines()[0],
        "contentType": "application/json",
        "headers": {
            "allOf": [
                {"$ref": f"{_SCHEMAS}CloudEventHeaders"},
                {"type": "object", "properties": {"ce_type": {"const": event.TYPE}}},
            ]
        },
        "payload": {"$ref": _SCHEMAS + event.__name__},
        "bindings": {"kafka": {"key": _key(event), "bindingVersion": "0.5.0"}},
    }


def _key(event: type[Event]) -> dict[str, Any]:
    if issubclass(event, DeadlinePassed):
        return {"anyOf": [_STUDY_KEY, _ALERT_KEY], "description": "Of whose deadline it is, the study's or the alert's"}
    if issubclass(event, StepTaken):
        return {"anyOf": [_STUDY_KEY, _ALERT_KEY], "description": "Of the row: the study's or the alert's"}
    if issubclass(event, RecordAct | AlarmEvent):
        return _SITE_KEY
    return _ALERT_KEY if issubclass(event, AlertEvent) else _STUDY_KEY


def _audit_record() -> dict[str, Any]:
    return {
        "name": "AuditRecord",
        "title": "AuditRecord",
        "summary": AUDIT_TRAIL.purpose,
        "contentType": "application/json",
        "payload": {
            "description": "Canonical JSON (RFC 8785); docs/audit.md says what is in it and how it is verified"
        },
        "bindings": {"kafka": {"key": {"type": "string", "description": "The chain"}, "bindingVersion": "0.5.0"}},
    }


def _dead_letter() -> dict[str, Any]:
    return {
        "name": "DeadLetter",
        "title": "DeadLetter",
        "summary": DEAD_LETTERS.purpose,
        "contentType": "application/octet-stream",
        "headers": _DEAD_LETTER_HEADERS,
        "payload": {"description": "The value as it came, byte for byte; it may be no JSON at all"},
        "bindings": {"kafka": {"key": {"description": "The key as it came"}, "bindingVersion": "0.5.0"}},
    }
