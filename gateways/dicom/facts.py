"""What the gateway notes of an instance: enough to describe its series, and nothing that identifies the patient.

Only the head of the data set is parsed; pixels are neither read nor decoded.
"""

import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydicom import dcmread
from pydicom.dataset import Dataset

from gateways.dicom.file_meta import DEFLATED, EXPLICIT_LITTLE, FileMeta, file_head, pixel_data_at
from gateways.dicom.geometry import FARTHEST_MM, Plane
from gateways.dicom.redaction import redact
from schemas.base import Record

_IDENTIFIERS: Final = (
    "PatientName",
    "PatientID",
    "AccessionNumber",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
)
_TAGS: Final = [
    *_IDENTIFIERS,
    "OtherPatientIDsSequence",
    "PatientBirthDate",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "BodyPartExamined",
    "StudyDescription",
    "SeriesDescription",
    "ImageType",
    "ConvolutionKernel",
    "SliceThickness",
    "ImagesInAcquisition",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
_LONGEST_UID: Final = 128  # as schemas.events.Uid; the standard says 64
_LONGEST_TEXT: Final = 1024  # of a description
_LONGEST_CODE: Final = 64
_MOST_VALUES: Final = 16
_LONGEST_IDENTIFIERS: Final = 8192  # all together; real ones have a tenth of it
_HEAD_LIMIT: Final = 256 * 1024 * 1024  # of a deflated data set, which may inflate a thousandfold


class NotUnderstood(ValueError):
    """Bytes that are no data set we can place: the reason, without quoting them."""


class Facts(Record):
    """One instance as its data set describes it.

    Descriptions are free of the patient's names and numbers. All text is cut to a length that fits an event.
    """

    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str
    modality: str | None = None
    body_part: str | None = None
    study_description: str | None = None
    series_description: str | None = None
    image_type: tuple[str, ...] = ()
    kernel: str | None = None
    slice_thickness_mm: float | None = None
    expected_instances: int | None = None
    planes: tuple[Plane, ...] = ()
    pixel_offset: int | None = None


def read_facts(path: Path, meta: FileMeta) -> Facts:
    """The facts of a stored DICOM file. Where the data set does not say what it is, its file meta does.

    Raises :class:`NotUnderstood` where the data set cannot be parsed, ends early, or lacks one of the UIDs that say
    where it belongs, and ``OSError`` where the file cannot be read.
    """
    with path.open("rb") as file:
        if meta.transfer_syntax in DEFLATED:
            ds, pixel_offset = _parse(_inflated(file, meta)), None
        else:
            ds = _parse(file)
            pixel_offset = _pixel_offset(file, meta.transfer_syntax)
    try:
        return _facts(ds, meta, pixel_offset)
    except NotUnderstood:
        raise
    except Exception as error:  # elements are parsed when they are first looked at: as below
        raise NotUnderstood(f"the data set cannot be parsed ({type(error).__name__})") from error


def _parse(file: BinaryIO) -> Dataset:
    try:
        return dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
    except OSError:
        raise
    except Exception as error:  # whatever a parser raises over bytes from the network says one thing
        raise NotUnderstood(f"the data set cannot be parsed ({type(error).__name__})") from error


def _inflated(file: BinaryIO, meta: FileMeta) -> BinaryIO:
    file.seek(len(file_head(meta)))
    try:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), _HEAD_LIMIT)
    except zlib.error as error:
        raise NotUnderstood("the deflated data set cannot be inflated") from error
    return BytesIO(file_head(meta._replace(transfer_syntax=EXPLICIT_LITTLE)) + data)


def _pixel_offset(file: BinaryIO, transfer_syntax: str) -> int | None:
    offset = file.tell()
    is_pixel_data, need = pixel_data_at(file, offset, transfer_syntax)
    if not is_pixel_data:
        return None
    if need is not None and file.seek(0, 2) < offset + need:
        raise NotUnderstood("the pixel data end early")
    return offset


def _facts(ds: Dataset, meta: FileMeta, pixel_offset: int | None) -> Facts:
    uids = {
        "SOPClassUID": _text(ds, "SOPClassUID") or meta.sop_class,
        "SOPInstanceUID": _text(ds, "SOPInstanceUID") or meta.sop_uid,
        "StudyInstanceUID": _text(ds, "StudyInstanceUID") or "",
        "SeriesInstanceUID": _text(ds, "SeriesInstanceUID") or "",
    }
    if absent := [keyword for keyword, uid in uids.items() if not uid]:
        raise NotUnderstood(f"the data set has no {', '.join(absent)}")
    if long := [keyword for keyword, uid in uids.items() if len(uid) > _LONGEST_UID]:
        raise NotUnderstood(f"{', '.join(long)} is longer than {_LONGEST_UID} characters")
    identifiers = [text for keyword in _IDENTIFIERS for text in _texts(ds, keyword)]
    identifiers += [text for item in ds.get("OtherPatientIDsSequence") or () for text in _texts(item, "PatientID")]
    birth_dates = _texts(ds, "PatientBirthDate")

    def free_text(keyword: str) -> str | None:
        text = _text(ds, keyword)
        if not text or sum(map(len, identifiers)) > _LONGEST_IDENTIFIERS:  # too much to look for
            return None
        return redact(text, identifiers, birth_dates)[:_LONGEST_TEXT]  # cut after, lest half a name stays

    shared = _first(ds, "SharedFunctionalGroupsSequence")
    thickness = _numbers(_first(shared, "PixelMeasuresSequence") or ds, "SliceThickness")
    expected = _numbers(ds, "ImagesInAcquisition")
    return Facts(
        sop_class=uids["SOPClassUID"],
        sop_uid=uids["SOPInstanceUID"],
        study_uid=uids["StudyInstanceUID"],
        series_uid=uids["SeriesInstanceUID"],
        # Coded values are not free text, and routing lives on them: a patient called Head must not lose a head CT.
        modality=_code(ds, "Modality"),
        body_part=_code(ds, "BodyPartExamined"),
        study_description=free_text("StudyDescription"),
        series_description=free_text("SeriesDescription"),
        image_type=tuple(value[:_LONGEST_CODE] for value in _texts(ds, "ImageType")[:_MOST_VALUES]),
        kernel=_code(ds, "ConvolutionKernel"),
        slice_thickness_mm=thickness[0] if thickness else None,
        expected_instances=int(expected[0]) if expected and expected[0] > 0 else None,
        planes=tuple(_planes(ds, shared)),
        pixel_offset=pixel_offset,
    )


def _planes(ds: Dataset, shared: Dataset | None) -> Iterator[Plane]:
    """The planes of an image: its own, or those of its frames (PS3.3, C.7.6.16, functional groups)."""
    rows, columns = _numbers(ds, "Rows"), _numbers(ds, "Columns")
    if not rows or not columns:
        return
    frames: Iterable[Dataset | None] = ds.get("PerFrameFunctionalGroupsSequence") or [None]
    for frame in frames:
        position, orientation, spacing = (
            _numbers(_macro((frame, shared), macro) or ds, keyword)
            for macro, keyword in (
                ("PlanePositionSequence", "ImagePositionPatient"),
                ("PlaneOrientationSequence", "ImageOrientationPatient"),
                ("PixelMeasuresSequence", "PixelSpacing"),
            )
        )
        if len(position) == 3 and len(orientation) == 6 and len(spacing) == 2:
            yield Plane.model_validate(
                {
                    "position_mm": position,
                    "orientation": orientation,
                    "rows": int(rows[0]),
                    "columns": int(columns[0]),
                    "pixel_spacing_mm": spacing,
                }
            )


def _macro(groups: Iterable[Dataset | None], keyword: str) -> Dataset | None:
    return next((item for group in groups if (item := _first(group, keyword)) is not None), None)


def _first(ds: Dataset | None, keyword: str) -> Dataset | None:
    items = ds.get(keyword) if ds is not None else None
    return items[0] if items else None


def _texts(ds: Dataset, keyword: str) -> list[str]:
    value: Any = ds.get(keyword)
    if value is None:
        return []
    values = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
    return [text for item in values if (text := str(item).replace("\0", "").strip())]


def _text(ds: Dataset, keyword: str) -> str | None:
    texts = _texts(ds, keyword)
    return "\\".join(texts) or None


def _code(ds: Dataset, keyword: str) -> str | None:
    text = _text(ds, keyword)
    return text[:_LONGEST_CODE] if text else None


def _numbers(ds: Dataset, keyword: str) -> list[float]:
    """The numbers of an element; none where one of them is not a number, or larger than any that is measured."""
    try:
        numbers = [float(text) for text in _texts(ds, keyword)]
    except (ValueError, TypeError, OverflowError):
        return []
    return numbers if all(abs(number) <= FARTHEST_MM for number in numbers) else []
