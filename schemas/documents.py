"""The contracts as files: a JSON Schema for each event and the AsyncAPI document; the same text at every export.

``sinsok schemas export`` writes them; the committed ones stand in this folder, and a test fails when they drift.
"""

import json
from pathlib import Path
from typing import Any, Final

from schemas.asyncapi import asyncapi
from schemas.envelope import EVENT_TYPES
from schemas.json_schema import json_schema, name_of

FOLDER: Final = Path(__file__).parent
"""Where the committed documents are."""


def documents() -> dict[str, str]:
    """Text of every document, by its path relative to the folder they are written to."""
    schemas = {f"json/{name_of(event)}.schema.json": json_schema(event) for event in EVENT_TYPES.values()}
    return {path: _text(document) for path, document in {**schemas, "asyncapi.json": asyncapi()}.items()}


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
