"""Patient and study stay as the scanner wrote them, whatever their character set, and our own text fits in beside."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from gateways.objects import FileStore
from gateways.pacs.objects import objects_of
from gateways.pacs.objects.patient import StudyIdentity
from gateways.pacs.objects.words import KOREAN
from gateways.pacs.settings import ObjectSettings
from schemas.deliveries import ObjectKind
from tests.unit.gateways.imaging.ct import COLUMNS, ROWS, part_10, series
from tests.unit.gateways.pacs.objects.examples import decision, of_kind, result_of, store_in, store_series

HANGUL = "팬텀^가나"
REPORT = ObjectSettings(kinds=(ObjectKind.REPORT,), language="ko")


@pytest.fixture
def store(tmp_path) -> FileStore:
    return store_in(tmp_path)


def stored_as(charset: str | list[str] | None, name: bytes) -> list[Dataset]:
    """A series whose name is these very bytes."""

    def bend(ds: Dataset, z: int) -> None:
        if charset is not None:
            ds.SpecificCharacterSet = "ISO_IR 192" if charset == "ISO_IR 149" else charset
        ds.StudyInstanceUID, ds.PatientID, ds.StudyDescription = "1.2", "PHANTOM-1", "PHANTOM CT"
        ds.PatientName = "X" * len(name)

    return series(6, bend)


def files(datasets: list[Dataset], charset: str | list[str] | None, name: bytes) -> list[tuple[str, bytes]]:
    contents = [part_10(ds).replace(b"X" * len(name), name) for ds in datasets]
    if charset == "ISO_IR 149":  # pydicom would not write it
        contents = [content.replace(b"ISO_IR 192", b"ISO_IR 149") for content in contents]
    return [(str(ds.SOPInstanceUID), content) for ds, content in zip(datasets, contents, strict=True)]


def report(store: FileStore, charset: str | list[str] | None, name: bytes, choice: ObjectSettings = REPORT) -> bytes:
    labels = np.zeros((6, ROWS, COLUMNS), np.uint8)
    labels[2:4, 10:30, 10:30] = 1
    reference = store_series(store, files(stored_as(charset, name), charset, name), "1.2", "1.2.3")
    (only,) = objects_of(result_of(decision(store, reference, labels)), (), choice, store)
    return only.content


def texts(ds: Dataset) -> list[str]:
    statements = ds.ContentSequence[-1].ContentSequence
    return [str(item.TextValue) for item in statements]


def even(name: bytes) -> bytes:
    return name + b" " * (len(name) % 2)


@pytest.mark.parametrize(
    ("charset", "name", "reads", "written_in"),
    [
        ("ISO_IR 192", HANGUL.encode(), HANGUL, "ISO_IR 192"),
        (
            ["", "ISO 2022 IR 149"],
            b"PHANTOM^KIM=\x1b$)C" + "팬텀".encode("euc_kr") + b"^\x1b$)C" + "가나".encode("euc_kr"),
            "PHANTOM^KIM=팬텀^가나",
            ["", "ISO 2022 IR 149"],
        ),
        ("ISO_IR 100", "PHANTOM^MÜLLER".encode("latin-1"), "PHANTOM^MÜLLER", "ISO_IR 192"),
        (None, b"PHANTOM^KIM", "PHANTOM^KIM", "ISO_IR 192"),
    ],
)
def test_a_korean_report_reads_back_with_its_name(store, charset, name, reads, written_in):
    ds = pydicom.dcmread(io.BytesIO(report(store, charset, even(name))))
    assert ds.SpecificCharacterSet == written_in
    assert str(ds.PatientName) == reads
    assert KOREAN.notice in texts(ds)
    assert ds.PatientID == "PHANTOM-1"


UNDECLARED = [
    (None, HANGUL.encode("euc_kr")),
    ("ISO_IR 149", HANGUL.encode("euc_kr")),
    ("ISO_IR 13", HANGUL.encode("euc_kr")),
]
"""What scanners send: Korean bytes with no character set, with one that does not exist, with a wrong one."""


@pytest.mark.filterwarnings("ignore:Unknown encoding:UserWarning")
@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", HANGUL.encode()),
        (["", "ISO 2022 IR 149"], b"PHANTOM^KIM=\x1b$)C" + "팬텀".encode("euc_kr")),
        ("ISO_IR 100", "PHANTOM^MÜLLER".encode("latin-1")),
        *UNDECLARED,
    ],
)
def test_beside_english_a_name_stays_byte_for_byte(store, charset, name):
    content = report(store, charset, even(name), REPORT.model_copy(update={"language": "en"}))
    assert even(name) in content
    assert charset is None or (charset if isinstance(charset, str) else charset[1]).encode() in content


@pytest.mark.filterwarnings("ignore:Unknown encoding:UserWarning")
@pytest.mark.parametrize(("charset", "name"), UNDECLARED)
def test_bytes_nobody_can_read_are_not_transcoded_for_korean(store, charset, name):
    content = report(store, charset, even(name))
    assert even(name) in content
    assert b"AI output. Not for diagnosis without a physician." in content
    assert KOREAN.notice.encode() not in content
    assert KOREAN.notice.encode("euc_kr") not in content


def test_what_is_missing_is_empty_and_what_is_invalid_stays(store):
    """No study date, no birth date, a study UID that is none."""

    def bend(ds: Dataset, z: int) -> None:
        ds.StudyInstanceUID = "ID_abc"
        ds.PatientSex = "unknown, or so"

    datasets = series(6, bend)
    labels = np.zeros((6, ROWS, COLUMNS), np.uint8)
    labels[2:4, 10:30, 10:30] = 1
    reference = store_series(store, [(str(ds.SOPInstanceUID), part_10(ds)) for ds in datasets], "ID_abc", "ID_def")
    result = result_of(decision(store, reference, labels), study_uid="ID_abc")
    pydicom.config.settings.reading_validation_mode = pydicom.config.WARN
    objects = objects_of(result, (), ObjectSettings(), store)
    assert len(objects) == 3
    for one in objects:
        ds = pydicom.dcmread(io.BytesIO(one.content))
        assert ds.StudyInstanceUID == "ID_abc"
        assert ds.PatientSex == "unknown, or so"
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyTime", "AccessionNumber"):
            assert keyword in ds
            assert ds[keyword].is_empty
    seg = of_kind(objects, ObjectKind.SEGMENTATION)
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == "ID_def"


def test_the_identity_says_in_which_language_it_can_speak():
    head = Dataset()
    head.PatientName = "PHANTOM^A"
    head.SpecificCharacterSet = "ISO_IR 13"
    assert StudyIdentity(head, "1.2", "ko").words.language == "en"
    head.SpecificCharacterSet = "ISO_IR 144"
    assert StudyIdentity(head, "1.2", "ko").words.language == "ko"


def test_times_are_in_the_timezone_the_images_name(store):
    def bend(ds: Dataset, z: int) -> None:
        ds.TimezoneOffsetFromUTC = "+0900"

    labels = np.zeros((6, ROWS, COLUMNS), np.uint8)
    labels[2:4, 10:30, 10:30] = 1
    datasets = series(6, bend)
    reference = store_series(store, [(str(ds.SOPInstanceUID), part_10(ds)) for ds in datasets], "1.2", "1.2.3")
    (one,) = objects_of(result_of(decision(store, reference, labels)), (), REPORT, store)
    ds = pydicom.dcmread(io.BytesIO(one.content))
    assert (ds.ContentDate, ds.ContentTime, ds.TimezoneOffsetFromUTC) == ("20260304", "140607.890000", "+0900")
