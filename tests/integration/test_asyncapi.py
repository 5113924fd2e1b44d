"""The committed AsyncAPI document against the official JSON Schema of AsyncAPI 3.0.

The schema comes from the AsyncAPI initiative's npm package and is no part of this project; it is kept in ``.local``.
"""

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from schemas.documents import FOLDER
from sinsok.stack.part import INSTALLED

pytestmark = pytest.mark.integration

SPECS = "@asyncapi/specs@6.11.1"
KEPT = INSTALLED / "asyncapi" / "3.0.0.json"


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not KEPT.exists():
        _fetch(tmp_path_factory.mktemp("specs"))
    schema: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return schema


def _fetch(folder: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip(f"npm is not installed; it brings the official schema ({SPECS})")
    packed = subprocess.run(
        ["npm", "pack", SPECS], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    if packed.returncode:
        pytest.skip(f"npm cannot bring {SPECS}: {packed.stderr.strip().splitlines()[-1:]}")
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as package:
        member = package.extractfile("package/schemas/3.0.0.json")
        assert member is not None
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        KEPT.write_bytes(member.read())


@pytest.fixture
def document() -> dict[str, Any]:
    committed: dict[str, Any] = json.loads((FOLDER / "asyncapi.json").read_text(encoding="utf-8"))
    return committed


def test_the_document_is_valid_asyncapi(official: dict[str, Any], document: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(official).validate(document)


def test_the_official_schema_would_notice(official: dict[str, Any], document: dict[str, Any]) -> None:
    document["operations"]["infer.send.triage.results"]["action"] = "push"
    document["channels"]["triage.results"]["bindings"]["kafka"]["partitions"] = 0
    faults = {fault.json_path for fault in jsonschema.Draft7Validator(official).iter_errors(document)}
    assert faults == {"$.operations['infer.send.triage.results']", "$.channels['triage.results']"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """A JSON Schema does not follow the document's own references."""

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(references(one) for one in value.values()))
        return set[str]().union(*(references(one) for one in value)) if isinstance(value, list) else set()

    found = references(document)
    assert found
    for reference in found:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]
