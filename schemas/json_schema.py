"""JSON Schema (2020-12) of the events, as a consumer may rely on them.

Every field that is written is required. What may grow without a new type of event is left open: objects may get more
fields, and the lists in :data:`OPEN` more values. Our own code stays strict and refuses what it does not know.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, Literal, get_args

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from schemas.base import Event, Notice
from schemas.codes import Scheme
from schemas.deliveries import ObjectKind, Proof
from schemas.envelope import EVENT_TYPES
from schemas.events import BatchEnd, ClosingReason
from schemas.paging import PageReason

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MODE: Final[Literal["serialization"]] = "serialization"

OPEN: Final = (
    frozenset(BatchEnd),
    frozenset(ClosingReason),
    frozenset(ObjectKind),
    frozenset(PageReason),
    frozenset(Proof),
    frozenset(get_args(Scheme)),
    frozenset(get_args(Notice)),
)
"""Values that a consumer shows or stores and takes no decision by: the schema gives today's as examples.

All other lists are closed: a value that a consumer did not know of might be the urgent one.
"""


class OnTheWire(GenerateJsonSchema):
    """Writes what a consumer needs to know and no more.

    A producer leaves no field out, so all are required and defaults mean nothing. A tuple of one type is an array of
    that type with a fixed length, in keywords that every draft and every code generator understands.
    """

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """An object that may have more fields: those of a later version."""
        written = super().model_schema(schema)
        written.pop("additionalProperties", None)
        return written

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        """Its values, as examples where there may be more."""
        return _opened(super().enum_schema(schema), schema["members"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        """Its values, as examples where there may be more."""
        return _opened(super().literal_schema(schema), schema["expected"])

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        """Every field stands in every event."""
        return True

    def field_title_should_be_set(self, schema: Any) -> bool:
        """A title would only repeat the field's name."""
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """The field's schema, without its default."""
        return self.generate_inner(schema["schema"])

    def tuple_schema(self, schema: core_schema.TupleSchema) -> JsonSchemaValue:
        """An array of one type where all places have it."""
        written = super().tuple_schema(schema)
        places = written.get("prefixItems", [])
        if places and "items" not in written and all(place == places[0] for place in places):
            return {key: value for key, value in written.items() if key != "prefixItems"} | {"items": places[0]}
        return written


def _opened(written: JsonSchemaValue, values: Iterable[Any]) -> JsonSchemaValue:
    known = [value.value if isinstance(value, Enum) else value for value in values]
    if frozenset(known) not in OPEN:
        return written
    return {name: value for name, value in written.items() if name not in ("enum", "const")} | {"examples": known}


def name_of(event_type: type[Event]) -> str:
    """``StudyTriaged.v1``: the CloudEvents type without the product's name."""
    return event_type.TYPE.removeprefix("sinsok.")


def json_schema(event_type: type[Event]) -> JsonSchemaValue:
    """The schema of one event, complete in itself."""
    schema = event_type.model_json_schema(mode=MODE, schema_generator=OnTheWire)
    return {"$schema": DIALECT, "$id": f"urn:sinsok:schema:{name_of(event_type)}"} | schema


def definitions(ref_template: str, event_types: Iterable[type[Event]] = EVENT_TYPES.values()) -> dict[str, Any]:
    """The schemas of all events and of everything in them, by class name, with references as the template says."""
    models: list[tuple[type[Event], Literal["serialization"]]] = [(event, MODE) for event in event_types]
    _, schemas = models_json_schema(models, ref_template=ref_template, schema_generator=OnTheWire)
    found: dict[str, Any] = schemas["$defs"]
    return found
