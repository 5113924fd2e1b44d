"""What is written today is understood by consumers that were built on any release (schemas/released)."""

import json
import re
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.asyncapi import asyncapi
from schemas.documents import FOLDER, documents
from schemas.envelope import EVENT_TYPES, encode
from schemas.json_schema import json_schema, name_of
from tests.unit.schemas.examples import JOURNEY

Schema = dict[str, Any]

RELEASES: Final = sorted((FOLDER / "released").iterdir())
FROZEN: Final = [path for release in RELEASES for path in sorted((release / "json").iterdir())]
CURRENT: Final = {f"{name_of(event)}.schema.json": json_schema(event) for event in EVENT_TYPES.values()}
every_release = pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
every_frozen = pytest.mark.parametrize("path", FROZEN, ids=lambda path: f"{path.parts[-3]}-{path.name.split('.')[0]}")

ANNOTATIONS: Final = {"$schema", "$id", "$defs", "title", "description", "examples"}
AT_LEAST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
AT_MOST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
RULES: Final = {
    *("type", "enum", "const", "pattern", "format", "anyOf", "$ref", "properties", "required", "additionalProperties"),
    *("items", "prefixItems", *AT_LEAST, *AT_MOST),
}


def differences(released: Schema, current: Schema) -> list[str]:
    """Where the current schema allows what the released one does not, or lost what it promised."""
    return list(_compare(released, current, released, current, "$"))


def _compare(old: Any, new: Any, old_root: Schema, new_root: Schema, place: str) -> Iterator[str]:
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    if unknown := (old.keys() | new.keys()) - ANNOTATIONS - RULES:
        yield f"{place}: no rule here knows {', '.join(sorted(unknown))}"
    elif "anyOf" in old or "anyOf" in new:
        for beside in sorted({*old, *new} & RULES - {"anyOf"} if "anyOf" in old and "anyOf" in new else ()):
            yield f"{place}: no rule here knows {beside} beside choices"
        for choice in new.get("anyOf", [new]):
            choices = old.get("anyOf", [old])
            if all(any(_compare(one, choice, old_root, new_root, place)) for one in choices):
                yield f"{place}: a choice that was not there"
    else:
        yield from _compare_value(old, new, place)
        yield from _compare_object(old, new, old_root, new_root, place)
        yield from _compare_array(old, new, old_root, new_root, place)


def _resolved(schema: Any, root: Schema) -> Schema:
    if isinstance(schema, bool):
        return {} if schema else {"enum": []}
    while "$ref" in schema:
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")] | beside
    found: Schema = schema
    return found


def _compare_value(old: Schema, new: Schema, place: str) -> Iterator[str]:
    narrower = (old.get("type"), new.get("type")) == ("number", "integer")
    if old.get("type") not in (None, new.get("type")) and not narrower:
        yield f"{place}: {new.get('type')} is no {old['type']}"
    if (known := _values(old)) is not None:
        values = _values(new)
        if values is None or not set(values) <= set(known):
            yield f"{place}: values beyond {known}"
    for rule in ("pattern", "format"):
        if rule in old and new.get(rule) != old[rule]:
            yield f"{place}: {rule} is no longer {old[rule]}"
    for rule in AT_LEAST:
        if rule in old and not (rule in new and new[rule] >= old[rule]):
            yield f"{place}: {rule} is less than {old[rule]}"
    for rule in AT_MOST:
        if rule in old and not (rule in new and new[rule] <= old[rule]):
            yield f"{place}: {rule} is more than {old[rule]}"


def _values(schema: Schema) -> list[Any] | None:
    values: list[Any] | None = [schema["const"]] if "const" in schema else schema.get("enum")
    return values


def _compare_object(old: Schema, new: Schema, old_root: Schema, new_root: Schema, place: str) -> Iterator[str]:
    fields, promised = new.get("properties", {}), old.get("properties", {})
    for name in sorted(promised.keys() - fields.keys()):
        yield f"{place}.{name}: is gone"
    for name in sorted(set(old.get("required", ())) - set(new.get("required", ()))):
        yield f"{place}.{name}: is no longer in every event"
    for name in sorted(promised.keys() & fields.keys()):
        yield from _compare(promised[name], fields[name], old_root, new_root, f"{place}.{name}")
    if "additionalProperties" in old:
        more = new.get("additionalProperties", True)
        yield from _compare(old["additionalProperties"], more, old_root, new_root, f"{place}.*")
        for name in sorted(fields.keys() - promised.keys()):
            yield from _compare(old["additionalProperties"], fields[name], old_root, new_root, f"{place}.{name}")


def _compare_array(old: Schema, new: Schema, old_root: Schema, new_root: Schema, place: str) -> Iterator[str]:
    if "prefixItems" in old and len(new.get("prefixItems", ())) < len(old["prefixItems"]):
        yield f"{place}: fewer places are described"
    for number, (one, other) in enumerate(zip(old.get("prefixItems", ()), new.get("prefixItems", ()), strict=False)):
        yield from _compare(one, other, old_root, new_root, f"{place}[{number}]")
    if "items" in old:
        yield from _compare(old["items"], new.get("items", True), old_root, new_root, f"{place}[]")


def read(path: Path) -> Schema:
    schema: Schema = json.loads(path.read_text(encoding="utf-8"))
    return schema


def version_under_way() -> tuple[str, bool]:
    """The newest version of the changelog, and whether it is released."""
    changelog = (FOLDER.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = re.search(r"^## (\S+) - (.*)$", changelog, re.MULTILINE)
    assert heading
    return heading[1], heading[2] != "unreleased"


# --- the releases --------------------------------------------------------------------------------------------------


def test_a_release_is_frozen_and_one_under_way_is_frozen_as_it_stands() -> None:
    """Until it is out: `sinsok schemas export --to schemas/released/VERSION` after each `sinsok schemas export`."""
    version, released = version_under_way()
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert version == project["version"]
    folder = FOLDER / "released" / version
    if released:
        assert folder.is_dir(), f"sinsok schemas export --to schemas/released/{version}"
    elif folder.is_dir():
        frozen = {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.json")}
        assert frozen == documents(), f"sinsok schemas export --to schemas/released/{version}"


@every_frozen
def test_an_event_of_today_is_understood_by_consumers_of_a_release(path: Path) -> None:
    assert path.name in CURRENT, "a released event is gone"
    assert differences(read(path), CURRENT[path.name]) == []


@every_frozen
def test_the_examples_of_today_fit_a_release(path: Path) -> None:
    schema = read(path)
    events = [event for event in JOURNEY if f"{name_of(type(event))}.schema.json" == path.name]
    assert events
    for event in events:
        jsonschema.Draft202012Validator(schema).validate(json.loads(encode(event).value))


@every_release
def test_topics_keys_and_headers_of_a_release_stay(release: Path) -> None:
    """The number of partitions too: with another, events of one study are no longer in order."""
    old, new = read(release / "asyncapi.json"), json.loads(json.dumps(asyncapi()))
    for name, channel in old["channels"].items():
        today = new["channels"][name]
        assert today["address"] == channel["address"]
        assert today["messages"].keys() >= channel["messages"].keys(), name
        assert today["bindings"]["kafka"]["partitions"] == channel["bindings"]["kafka"]["partitions"], name
    for name, message in old["components"]["messages"].items():
        assert new["components"]["messages"][name]["bindings"] == message["bindings"], name
    headers, today = (one["components"]["schemas"]["CloudEventHeaders"] for one in (old, new))
    assert set(headers["properties"]["ce_type"].pop("enum")) <= set(today["properties"]["ce_type"]["enum"])
    assert differences(headers, today) == []


# --- the rules -----------------------------------------------------------------------------------------------------

RELEASED: Final[Schema] = {
    "$defs": {"Level": {"type": "string", "enum": ["high", "low"]}},
    "type": "object",
    "required": ["id", "level", "at", "share"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "level": {"$ref": "#/$defs/Level"},
        "at": {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3},
        "share": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "null"}]},
        "scores": {"type": "object", "additionalProperties": {"type": "number"}},
        "kind": {"type": "string", "examples": ["report"]},
        "note": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 8},
    },
}
OR_NULL: Final = {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]}
REFUSED: Final[dict[str, tuple[str, Any, str]]] = {
    "a field is gone": ("properties.note", None, "$.note: is gone"),
    "a field may be absent": ("required", ["id", "at", "share"], "$.level: is no longer in every event"),
    "another type": ("properties.id.type", "integer", "$.id: integer is no string"),
    "another format": ("properties.id.format", "uri", "$.id: format is no longer uuid"),
    "a value more": ("$defs.Level.enum", ["high", "low", "soon"], "$.level: values beyond ['high', 'low']"),
    "any value": ("$defs.Level.enum", None, "$.level: values beyond ['high', 'low']"),
    "a longer array": ("properties.at.maxItems", 4, "$.at: maxItems is more than 3"),
    "other items": ("properties.at.items.type", "string", "$.at[]: string is no number"),
    "any items": ("properties.at.items", None, "$.at[]: None is no number"),
    "a wider range": ("properties.share.anyOf.0.minimum", -1, "$.share: a choice that was not there"),
    "a choice more": ("properties.share.anyOf.1.type", "string", "$.share: a choice that was not there"),
    "may be null": ("properties.id", OR_NULL, "$.id: a choice that was not there"),
    "other values": ("properties.scores.additionalProperties.type", "string", "$.scores.*: string is no number"),
    "another pattern": ("properties.note.pattern", "^.*$", "$.note: pattern is no longer ^[a-z]+$"),
    "no limit": ("properties.note.maxLength", None, "$.note: maxLength is more than 8"),
    "an unheard rule": ("properties.note.contentEncoding", "base64", "$.note: no rule here knows contentEncoding"),
}
ALLOWED: Final[dict[str, tuple[str, Any]]] = {
    "a field more": ("properties.retries", {"type": "integer"}),
    "a field in every event": ("required", ["id", "level", "at", "share", "note"]),
    "a value less": ("$defs.Level.enum", ["high"]),
    "one value": ("$defs.Level", {"type": "string", "const": "high"}),
    "whole numbers": ("properties.at.items.type", "integer"),
    "never null": ("properties.share", {"type": "number", "minimum": 0.5, "maximum": 1}),
    "a closer range": ("properties.share.anyOf.0.minimum", 0.5),
    "a value more in an open list": ("properties.kind.examples", ["report", "picture"]),
    "an open list closed": ("properties.kind.enum", ["report"]),
    "a shorter text": ("properties.note.maxLength", 4),
    "other words": ("properties.note.description", "Said once"),
}


def changed(path: str, value: Any) -> Schema:
    """The released schema with a value in another way; None removes it."""
    schema = deepcopy(RELEASED)
    *steps, last = path.split(".")
    place: Any = schema
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return schema


@pytest.mark.parametrize("change", REFUSED)
def test_a_change_that_a_consumer_would_not_survive_is_named(change: str) -> None:
    path, value, said = REFUSED[change]
    (difference,) = differences(RELEASED, changed(path, value))
    assert difference.startswith(said)


@pytest.mark.parametrize("change", ALLOWED)
def test_a_change_that_a_consumer_does_not_notice_is_allowed(change: str) -> None:
    assert differences(RELEASED, changed(*ALLOWED[change])) == []


levels = st.sampled_from(["high", "low", "soon"])
values = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["ea0b3b1a-3c9a-4c2b-9d5a-1f2b3c4d5e6f", None]),
        "level": levels,
        "at": st.lists(st.floats(-1, 1) | st.integers(-1, 1) | st.just("x"), min_size=2, max_size=4),
        "share": st.floats(-1, 1) | st.none() | st.just("x"),
    },
    optional={
        "scores": st.dictionaries(levels, st.floats(0, 1) | st.just("x"), max_size=2),
        "kind": st.sampled_from(["report", "picture"]),
        "note": st.text("ab1", max_size=10),
        "retries": st.integers(),
    },
)


@given(st.sampled_from([*ALLOWED.values(), *(one[:2] for one in REFUSED.values())]), values)
def test_what_fits_an_allowed_schema_fits_the_released_one(change: tuple[str, Any], value: Schema) -> None:
    current = changed(*change)
    if not differences(RELEASED, current) and jsonschema.Draft202012Validator(current).is_valid(value):
        jsonschema.Draft202012Validator(RELEASED).validate(value)


# --- what is left open ---------------------------------------------------------------------------------------------


def objects(value: Any) -> Iterator[Schema]:
    """Every object in an event."""
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(one)


@given(st.sampled_from(JOURNEY), st.data())
def test_a_field_more_at_any_place_fits(event: Any, data: st.DataObject) -> None:
    """But not among scores and seconds: these are tables of numbers."""
    value = json.loads(encode(event).value)
    records = [one for one in objects(value) if not all(isinstance(x, float) for x in one.values())]
    place = data.draw(st.sampled_from(records))
    place["of_a_later_version"] = data.draw(st.none() | st.integers() | st.text(max_size=5))
    jsonschema.Draft202012Validator(CURRENT[f"{name_of(type(event))}.schema.json"]).validate(value)
