"""One study's way, put together from the records of all topics."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gateways.kafka import Record
from schemas.audit import LetterDiscarded, LetterRequeued
from schemas.base import Event
from schemas.envelope import decode
from schemas.steps import StepTaken
from schemas.topics import AUDIT_ACTS, DEAD_LETTERS, DEADLINES, DELIVERIES, DICOM_SERIES, RESULTS, STUDIES
from streams.dead_letters import Obituary, read_obituary


@dataclass(frozen=True)
class Entry:
    """What stands on a topic about a study: an event, or why something about it could not be handled."""

    topic: str
    timestamp_ms: int
    what: Event | Obituary
    value: dict[str, Any]
    copies: int = 1
    """How often it was delivered; more than once is allowed and changes nothing."""


def value_of(record: Record) -> dict[str, Any] | None:
    """The JSON object a record carries; None where it carries none."""
    try:
        value = json.loads(record.value or b"")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def about(records: Iterable[Record], study_uid: str) -> Iterator[tuple[Record, dict[str, Any]]]:
    """The records about a study, at whatever site, each with its JSON object."""
    # Looking for the bytes first spares decoding all other studies.
    written = json.dumps(study_uid, ensure_ascii=False)[1:-1].encode(errors="surrogatepass")
    for record in records:
        if record.value is None or written not in record.value:
            continue
        value = value_of(record)
        if value is not None and value.get("study_uid") == study_uid:
            yield record, value


def timelines(records: Iterable[Record], study_uid: str, *, steps: bool = False) -> dict[str, list[Entry]]:
    """What happened to a study at each site that has one with this UID, in the order of the topics' timestamps.

    An event that was delivered again stands at its first place. What is no event is left to the dead letters; what
    people did to these is told with them. ``steps``: also what each hop did with each event.
    """
    found: dict[str, dict[object, Entry]] = defaultdict(dict)
    acts: list[Record] = []
    ours = list(about(_without(records, acts), study_uid))
    for record, value in sorted([*ours, *_acts_on(ours, acts)], key=lambda one: _place(one[0])):
        try:
            what = _understood(record)
        except ValueError:
            continue
        if isinstance(what, StepTaken) and not steps:
            continue
        identity = what.event_id if isinstance(what, Event) else (record.partition, record.offset)
        entries = found[str(value.get("site"))]
        known = entries.get(identity)
        entries[identity] = Entry(
            topic=record.topic,
            timestamp_ms=known.timestamp_ms if known else record.timestamp_ms,
            what=what,
            value=value,
            copies=known.copies + 1 if known else 1,
        )
    return {site: list(entries.values()) for site, entries in sorted(found.items())}


def _without(records: Iterable[Record], acts: list[Record]) -> Iterator[Record]:
    """The records, but for acts on letters, which are noted beside: they name no study."""
    kinds = {LetterRequeued.TYPE.encode(), LetterDiscarded.TYPE.encode()}
    for record in records:
        if record.topic == AUDIT_ACTS.name and dict(record.headers).get("ce_type") in kinds:
            acts.append(record)
        else:
            yield record


def _acts_on(
    records: Iterable[tuple[Record, dict[str, Any]]], acts: Iterable[Record]
) -> Iterator[tuple[Record, dict[str, Any]]]:
    """What was done to letters that are among the records, each with its JSON object at the site of the study."""
    sites = {(one.partition, one.offset): value.get("site") for one, value in records if one.topic == DEAD_LETTERS.name}
    for act in acts:
        value = value_of(act) or {}
        letter = value.get("letter") or {}
        place = (letter.get("partition"), letter.get("offset"))
        if place in sites:
            yield act, value | {"site": sites[place]}


def _place(record: Record) -> tuple[int, int]:
    """By time; within a millisecond in the order of the flow."""
    flow = [topic.name for topic in (DICOM_SERIES, DEADLINES, STUDIES, RESULTS, DELIVERIES)]
    return record.timestamp_ms, flow.index(record.topic) if record.topic in flow else len(flow)


def _understood(record: Record) -> Event | Obituary:
    if record.topic == DEAD_LETTERS.name:
        return read_obituary(record.headers)
    return decode(record.headers, record.value)
