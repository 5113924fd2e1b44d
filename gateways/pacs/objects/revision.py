"""One result on its way to one PACS: what all its objects have in common, and how each becomes a file."""

import io
import struct
from collections.abc import Sequence
from datetime import UTC, timedelta, timezone
from functools import cached_property
from importlib.metadata import version
from re import fullmatch
from typing import Final, NamedTuple

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence as Items

from gateways.dicom.file_meta import EXPLICIT_LITTLE, FileMeta, file_head
from gateways.imaging.volume import SliceName
from gateways.objects import FileStore
from gateways.pacs.objects.label_map import LabelMap, read_label_map
from gateways.pacs.objects.naming import SERIES_NUMBER, Names
from gateways.pacs.objects.patient import StudyIdentity
from gateways.pacs.objects.sources import SourceSeries
from gateways.pacs.objects.succession import left_standing
from gateways.pacs.settings import ObjectSettings
from schemas.deliveries import ObjectKind, WrittenObject
from schemas.events import Finding, StudyTriaged
from schemas.failures import Unreadable

MAKER: Final = "sinsok"
_VERSION: Final = version("sinsok")
_SHORT_TEXT: Final = frozenset({"CS", "DA", "LO", "LT", "SH", "ST", "TM", "UI"})
_SHORT_RAW: Final = _SHORT_TEXT | {"PN"}
_PADDING: Final = " \0"
_ITEM: Final = b"\xfe\xff\x00\xe0"
"""Tag of an item (PS3.5, 7.5)."""
_DESCRIPTION: Final = {
    ObjectKind.REPORT: "AI report",
    ObjectKind.SEGMENTATION: "AI segmentation",
    ObjectKind.KEY_IMAGE: "AI key images",
    ObjectKind.REJECTION: "AI rejection notes",
}


class Written(NamedTuple):
    """An object and the file it is."""

    object: WrittenObject
    content: bytes


class Revision:
    """A result, the objects it replaces, what the site wants, and the images it is about."""

    def __init__(
        self, result: StudyTriaged, earlier: Sequence[WrittenObject], choice: ObjectSettings, store: FileStore
    ) -> None:
        self.result = result
        self.earlier = tuple(earlier)
        self.choice = choice
        self.names = Names(result, earlier, choice)
        leading = result.findings[0] if result.findings and ObjectKind.KEY_IMAGE in choice.kinds else None
        self.series = {
            one.series_uid: SourceSeries(
                one,
                one.manifest,
                store,
                leading.key_instance_uid if leading and leading.series_uid == one.series_uid else None,
            )
            for one in result.series
            if one.manifest is not None
        }
        self._label_maps: dict[str, LabelMap | None] = {}

    @cached_property
    def head(self) -> Dataset:
        """What the leading finding's key image says, else one of a series that was read."""
        if self.result.findings:
            return self.series_of(self.result.findings[0]).head(self.result.findings[0].key_instance_uid)
        listed = sorted(self.series.values(), key=lambda one: one.reading is None)
        if not listed:
            raise Unreadable("the result names no images: patient and study are not known")
        return listed[0].any_head()

    @cached_property
    def study(self) -> StudyIdentity:
        """Patient and study."""
        return StudyIdentity(self.head, self.result.study_uid, self.choice.language)

    def replaced(self, *kinds: ObjectKind) -> tuple[WrittenObject, ...]:
        """The earlier objects of these kinds that this result takes the place of."""
        standing = left_standing(self.result, self.earlier)
        return tuple(one for one in self.earlier if one.kind in kinds and one not in standing)

    def series_of(self, finding: Finding) -> SourceSeries:
        """The series a finding is in."""
        series = self.series.get(finding.series_uid)
        if series is None:
            raise Unreadable("the series of a finding has no manifest: its images are not known")
        return series

    def label_map(self, series: SourceSeries) -> LabelMap | None:
        """What was marked in a series; None where its model marks nothing."""
        if series.uid not in self._label_maps:
            ref = series.reading.label_map if series.reading else None
            shares = self.choice.segmentation == "fractional"
            self._label_maps[series.uid] = read_label_map(series, ref, probability=shares) if ref else None
        return self._label_maps[series.uid]

    def frame_of_reference(self, series: SourceSeries) -> str:
        """Frame of Reference UID of a series (PS3.3, C.7.4.1).

        Images that have none lie in a coordinate system all the same: that of their series.
        """
        said = str(series.any_head().get("FrameOfReferenceUID") or "")
        return said or self.names.of_study("frame of reference", series.uid)

    def finish(self, ds: Dataset, kind: ObjectKind, uid: str, *, series_uid: str | None = None) -> Written:
        """Fill what every object has (Patient, Study, Series, Equipment, SOP Common; PS3.3, C.7 and C.12) and write it.

        Times are the result's, in the timezone the images name, else in UTC.
        """
        self.study.write_into(ds)
        result = self.result
        ds.SeriesInstanceUID = series_uid or self.names.series(kind)
        ds.SeriesNumber = SERIES_NUMBER[kind]
        ds.SeriesDescription = _DESCRIPTION[kind]
        ds.InstanceNumber = self.names.instance_number
        ds.SOPInstanceUID = uid
        ds.Manufacturer = ds.ManufacturerModelName = MAKER
        ds.DeviceSerialNumber = result.site
        ds.SoftwareVersions = _VERSION
        moment = result.time.astimezone(_timezone(self.study.offset))
        for what in ("InstanceCreation", "Content"):
            setattr(ds, f"{what}Date", f"{moment:%Y%m%d}")
            setattr(ds, f"{what}Time", f"{moment:%H%M%S.%f}")
        written = WrittenObject(
            kind=kind, sop_class_uid=ds.SOPClassUID, sop_instance_uid=uid, series_uid=ds.SeriesInstanceUID
        )
        return Written(written, _part_10(ds, self.study.encoding))


def evidence(study_uid: str, references: Sequence[tuple[str, str, str]]) -> Items:
    """Hierarchical SOP Instance Reference macro (PS3.3, C.17.2.1) of (series, SOP class, SOP instance)."""
    by_series: dict[str, dict[str, str]] = {}
    for series_uid, sop_class, sop_uid in references:
        by_series.setdefault(series_uid, {})[sop_uid] = sop_class
    study = Dataset()
    study.StudyInstanceUID = study_uid
    study.ReferencedSeriesSequence = Items([])
    for series_uid, instances in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID = series_uid
        series.ReferencedSOPSequence = Items([sop_reference(sop_class, uid) for uid, sop_class in instances.items()])
        study.ReferencedSeriesSequence.append(series)
    return Items([study])


def sop_reference(sop_class: str, sop_uid: str, frame: int | None = None) -> Dataset:
    """Image SOP Instance Reference macro (PS3.3, 10.3)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = sop_uid
    if frame is not None:
        item.ReferencedFrameNumber = frame
    return item


def slice_reference(series: SourceSeries, name: SliceName) -> Dataset:
    """A reference to a stored slice."""
    return sop_reference(series.instance(name.sop_uid).sop_class, name.sop_uid, name.frame)


def _timezone(offset: str) -> timezone:
    match = fullmatch(r"([+-])(\d\d)(\d\d)", offset)
    if not match:
        return UTC
    away = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-away if match[1] == "-" else away)


def _part_10(ds: Dataset, encoding: str | list[str]) -> bytes:
    """A file in Explicit VR Little Endian (PS3.10)."""
    head = file_head(FileMeta(ds.SOPClassUID, ds.SOPInstanceUID, EXPLICIT_LITTLE))
    return b"".join((head, *_encoded(ds, encoding, {})))


def _encoded(ds: Dataset, encoding: str | list[str], items: dict[int, bytes]) -> list[bytes]:
    """A data set, element by element: as a whole, pydicom would decode what was copied undecoded.

    ``items`` are those of this file written so far, by identity: groups share codes and references.
    """
    parts: list[bytes] = []
    # As plain numbers: pydicom compares tags, and takes elements out one by one, slowly.
    for tag, element in sorted((int(tag), element) for tag, element in ds.items()):
        vr, value = element.VR, element.value
        if vr == "SQ" and not element.is_raw:
            contents: list[bytes] = []
            for item in value:
                if id(item) not in items:
                    items[id(item)] = b"".join(_encoded(item, encoding, items))
                content = items[id(item)]
                contents += (_ITEM, struct.pack("<L", len(content)), content)
            parts += (_long_head(tag, b"SQ", sum(len(one) for one in contents)), *contents)
        elif vr == "OB" and isinstance(value, bytes) and len(value) % 2 == 0:
            # Pixels: the largest part by far, not to be copied.
            parts += (_long_head(tag, b"OB", len(value)), value)
        else:
            parts.append(_plain(tag, vr, value) or _any(element, encoding))
    return parts


def _plain(tag: int, vr: str, value: object) -> bytes | None:
    """Undecoded or ASCII text and whole numbers, nearly all there is; None for the rest: pydicom writes it, slowly."""
    if isinstance(value, str) and value.isascii() and (vr in _SHORT_TEXT or vr == "UT"):
        content = f"{value}{_PADDING[vr == 'UI'] * (len(value) % 2)}".encode("ascii")
        if vr == "UT":
            return _long_head(tag, b"UT", len(content)) + content
    elif isinstance(value, bytes) and vr in _SHORT_RAW:
        content = value
    elif isinstance(value, int) and vr == "US":
        content = struct.pack("<H", value)
    else:
        return None
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(content)) + content


def _long_head(tag: int, vr: bytes, length: int) -> bytes:
    """What comes before a value that may be long (PS3.5, 7.1.2)."""
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, length)


def _any(element: DataElement | RawDataElement, encoding: str | list[str]) -> bytes:
    buffer = io.BytesIO()
    out = DicomFileLike(buffer)
    out.is_little_endian, out.is_implicit_VR = True, False
    write_data_element(out, element, encoding)
    return buffer.getvalue()
