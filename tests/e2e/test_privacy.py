"""Names, ids, birth dates and accession numbers of patients stay in the stored objects, and are nowhere else."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as SequenceOfItems
from pydicom.uid import MRImageStorage
from pynetdicom.sop_class import Verification

from gateways.dicom import scu
from gateways.kafka import producer
from gateways.kafka_topics import names
from schemas.deliveries import ResultArchived
from schemas.events import InstanceQuarantined
from schemas.topics import DICOM_SERIES
from sinsok.stack import probe
from sinsok.stack.parts import health_ports
from tests.e2e.house import SITES, House
from tests.e2e.scanner import Scanner, Study, small_study
from tests.stack import wait_until

pytestmark = pytest.mark.e2e
SECONDS = 180
ELSEWHERE = ("dicom", "quarantine", "incoming", "outgoing", "orthanc")
"""Folders of stored objects, where patients may be named. File names are searched there too."""

KIM = {
    "PatientName": "Quorvexian^Zebulonia",
    "PatientID": "PID-7305518842",
    "PatientBirthDate": "19370211",
    "AccessionNumber": "ACC99417706",
    "OtherPatientIDs": "OTHER5520917",
}
HONG = {
    "PatientName": "Hongxyzzy^Gildongqq=洪^吉童=홍^길동",
    "PatientID": "환자77120934",
    "PatientBirthDate": "19410923",
    "AccessionNumber": "ACC88350012",
    "OtherPatientIDs": "OTHER6631028",
}
WORDS = [
    *("Quorvexian", "Zebulonia", "7305518842", "19370211", "99417706", "OTHER5520917", "ISSUED4417352", "Birthnamexy"),
    *("1937-02-11", "11.02.1937", "02/11/1937"),
    *("Hongxyzzy", "Gildongqq", "홍길동", "길동", "洪吉童", "吉童", "77120934", "19410923", "88350012", "OTHER6631028"),
]


def identified(study: Study, patient: dict[str, str], **texts: str) -> Study:
    """The study as that patient's, with texts where technologists write what they like."""
    for ds in study.datasets:
        ds.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in (patient | texts).items():
            setattr(ds, keyword, value)
        other = Dataset()
        other.PatientID = "ISSUED4417352"
        ds.OtherPatientIDsSequence = SequenceOfItems([other])
        ds.PatientBirthName = "Birthnamexy^Zebulonia"
    return study


def test_no_identifier_leaves_the_stored_objects(house: House, scanner: Scanner, tmp_path: Path) -> None:
    plain = identified(small_study("plain patient", bright=True), KIM)
    hostile = identified(
        small_study("hostile patient", bright=True),
        KIM,
        StudyDescription="HEAD Quorvexian 1937-02-11 ACC99417706 ISSUED4417352 Birthnamexy",
        SeriesDescription="zebulonia,QUORVEXIAN 11.02.1937 QuorvexianZebulonia",
        ProtocolName="Quorvexian 19370211 pid-7305518842 OTHER5520917",
    )
    korean = identified(
        small_study("korean patient", bright=True),
        HONG,
        StudyDescription="두부 홍길동 19410923 환자77120934",
        SeriesDescription="HEAD Hongxyzzy Gildongqq 洪吉童님",
    )
    studies = [plain, hostile, korean]
    for study in studies:
        scanner.insist(study.datasets)
    _send_what_is_refused(house, hostile, tmp_path)

    house.finish(studies, scanner.acknowledged)
    wait_until(lambda: _in_the_pacs(house, studies), seconds=SECONDS)
    wait_until(lambda: _two_are_quarantined(house), seconds=SECONDS)
    letters = _make_a_dead_letter(house, hostile)
    wait_until(lambda: _more_than(letters, house), seconds=SECONDS, every_s=0.5)

    places = [(place, content.lower()) for place, content in _everywhere(house)]
    assert sum(len(content) for _, content in places) > 100_000
    objects = [path.read_bytes().lower() for path in house.store.root.rglob("*.dcm")]
    assert all(
        any(_stands_in(word, content) for content in objects) for word in ("Quorvexian", "길동", "ISSUED4417352")
    )
    found = sorted({f"{word} in {place}" for place, content in places for word in WORDS if _stands_in(word, content)})
    assert not found, found


def _send_what_is_refused(house: House, study: Study, folder: Path) -> None:
    """Objects of this patient that are answered 0xC000 and 0xA900 and kept in quarantine, or 0x0122 and not kept."""
    dcmwrite(folder / "whole.dcm", study.datasets[0], enforce_file_format=True)
    del (nameless := dcmread(folder / "whole.dcm")).StudyInstanceUID
    dcmwrite(folder / "nameless.dcm", nameless, enforce_file_format=True)
    whole = scu.read_instance(folder / "whole.dcm")
    refused = {
        0xC000: scu.read_instance(folder / "nameless.dcm"),
        0xA900: replace(whole, sop_class_uid=str(MRImageStorage)),
        0x0122: replace(whole, sop_class_uid=str(Verification)),
    }
    answers: list[scu.Result] = []
    scu.send(
        list(refused.values()),
        host="127.0.0.1",
        port=house.settings.dicom.port,
        called=SITES[study.site],
        calling="SCANNER",
        on_result=answers.append,
    )
    assert [answer.status for answer in answers] == list(refused)


def _in_the_pacs(house: House, studies: Sequence[Study]) -> None:
    archived = {event.study_uid for event in house.events(ResultArchived)}
    assert {study.uid for study in studies} <= archived


def _two_are_quarantined(house: House) -> None:
    assert len(house.events(InstanceQuarantined)) == 2


def _make_a_dead_letter(house: House, study: Study) -> int:
    """Send an event of the study to the wrong partition and one cut short; how many dead letters there were before."""
    before = len(house.dead_letters())
    (record, *_) = [r for r in house.records(DICOM_SERIES.name) if r.key == study.key.encode()]
    assert record.value is not None
    sender = producer(house.bootstrap)
    sender.produce(record.topic, record.value, record.key, (record.partition + 1) % 12, headers=record.headers)
    sender.produce(record.topic, record.value[:-40], record.key, headers=record.headers)
    assert sender.flush(30) == 0
    return before


def _more_than(before: int, house: House) -> None:
    assert len(house.dead_letters()) >= before + 2


def _everywhere(house: House) -> Iterator[tuple[str, bytes]]:
    """Every record of every topic, every metrics page, every file that holds no stored object, every file's name."""
    for topic in names(house.bootstrap):
        for record in house.records(topic):
            headers = b"\n".join(name.encode() + b"=" + (value or b"") for name, value in record.headers)
            yield f"topic {topic}", b"\n".join((record.key or b"", headers, record.value or b""))
    for name, port in health_ports(house.settings).items():
        yield f"metrics of {name}", probe.get(f"127.0.0.1:{port}", "/metrics").encode()
    yield "metrics of triton", probe.get(house.settings.triton.metrics_url, "/metrics").encode()
    for path in (path for path in house.home.rglob("*") if path.is_file() and not path.is_symlink()):
        inside = path.relative_to(house.home)
        yield "a file name", str(inside).encode()
        if not _is_stored_object(inside) and inside.suffix not in (".index", ".timeindex"):
            yield f"file {inside}", path.read_bytes()


def _is_stored_object(inside: Path) -> bool:
    return any(folder in inside.parts for folder in ELSEWHERE) and inside.suffix != ".json"


def _stands_in(word: str, content: bytes) -> bool:
    """Whether lower-case content holds the word in UTF-8, in a Korean character set, or as JSON escapes it."""
    spellings = {word.lower().encode(), word.lower().encode("unicode_escape")}
    with contextlib.suppress(UnicodeEncodeError):
        spellings.add(word.encode("euc-kr"))
    return any(spelling.lower() in content for spelling in spellings)
