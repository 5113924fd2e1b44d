"""The DICOM standard's module tables for dicom-validator, from the copy highdicom ships.

dicom-validator makes its own from the standard's documents, which it downloads. highdicom's tables hold the same
modules, attributes and types, without the conditions: what is required only under a condition (1C, 2C, modules of usage
C) is not asked for here, though a 1C attribute that is there must have a value. Which functional group macro stands in
the shared and which in the per-frame groups is the writer's choice: neither is asked for all of them.
"""

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import highdicom
import pydicom
from dicom_validator.spec_reader.condition import ConditionOperator, ConditionType
from dicom_validator.validator.dicom_info import DicomInfo
from dicom_validator.validator.error_handler import NullValidationResultHandler
from dicom_validator.validator.iod_validator import IODValidator
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset

TABLES = Path(highdicom.__file__).parent / "_standard"
VALUES = {
    "ConceptCodeSequence": ["CODE"],
    "ContinuityOfContent": ["CONTAINER"],
    "GraphicData": ["SCOORD", "SCOORD3D"],
    "GraphicType": ["SCOORD", "SCOORD3D"],
    "MeasuredValueSequence": ["NUM"],
    "ReferencedFrameOfReferenceUID": ["SCOORD3D"],
    "ReferencedSOPSequence": ["COMPOSITE", "IMAGE", "WAVEFORM"],
    "TabulatedValuesSequence": ["TABLE"],
    "TemporalRangeType": ["TCOORD"],
}
"""What a content item has, and for which Value Types alone (PS3.3, C.18); the tables have all of it for all."""
FUNCTIONAL_GROUPS = {"SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"}


def faults(file: bytes | Dataset) -> list[str]:
    """What dicom-validator finds wrong: module, attribute (with the sequences it is in) and kind, a line each."""
    ds = file if isinstance(file, Dataset) else pydicom.dcmread(io.BytesIO(file))
    result = IODValidator(ds, standard(), error_handler=NullValidationResultHandler()).validate()
    found = [
        f"{module}: {'/'.join(keyword_for_tag(tag) for tag in (*(where.parents or []), where.tag))}: {error.code.name}"
        for module, errors in result.module_errors.items()
        for where, error in errors.items()
    ]
    return found or ([] if result.errors == 0 else [f"{result.status.name}"])


@cache
def standard() -> DicomInfo:
    """Dictionary, IODs and modules as dicom-validator has them."""
    sop_classes, iods, modules = (
        json.loads((TABLES / f"{name}.json").read_text())
        for name in ("sop_class_iod_map", "iod_module_map", "module_attribute_map")
    )
    return DicomInfo(
        dictionary={},
        iods={
            uid: {
                "modules": {one["key"]: {"ref": one["key"], "use": one["usage"][0]} for one in iods[iod]},
                "group_macros": {},
            }
            for uid, iod in sop_classes.items()
        },
        modules={name: _module(rows) for name, rows in modules.items()},
    )


def _module(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows with paths to nested tables."""
    root: dict[str, dict[str, Any]] = {}
    # Repeating groups (overlays, curves) have no keyword of a single tag.
    known = [row for row in rows if all(tag_for_keyword(one) for one in (*row["path"], row["keyword"]))]
    for row in sorted(known, key=lambda row: len(row["path"])):
        table = root
        for keyword in row["path"]:
            table = table.setdefault(_tag(keyword), {"name": keyword, "type": "3"}).setdefault("items", {})
        kind = row["type"] if row["type"] in ("1", "1C", "2", "2C", "3") else "3"
        if row["path"] and row["path"][-1] in FUNCTIONAL_GROUPS:
            kind = "3"
        table.setdefault(_tag(row["keyword"]), {}).update(name=row["keyword"], type=kind)
    content = root.get(_tag("ContentSequence"))
    if content is not None and "items" in content:
        # Content items hold content items (PS3.3, C.17.3).
        content["items"][_tag("ContentSequence")] = content
        for keyword, types in VALUES.items():
            for table in (root, content["items"]):
                if attribute := table.get(_tag(keyword)):
                    attribute["type"] = f"{attribute['type'][0]}C"
                    attribute["cond"] = {
                        "type": ConditionType.MandatoryOrNotAllowed.value,
                        "tag": _tag("ValueType"),
                        "index": 0,
                        "op": ConditionOperator.EqualsValue.value,
                        "values": types,
                    }
    return root


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
