"""Whether the study in the PACS is still the one that was read."""

from dataclasses import dataclass, replace

import pytest
from pydicom.dataset import Dataset

from gateways.pacs.right_patient import Identity, differences, identity_of


@dataclass(frozen=True)
class Present:
    patient_id: str | None = "PHANTOM-1"
    issuer: str | None = None
    name: str | None = "PHANTOM^KANA=PHANTOM^HAN=팬텀^가나"
    birth_date: str | None = "19500101"
    sex: str | None = "F"


def received(**changes: str) -> Identity:
    ds = Dataset()
    ds.PatientID = "PHANTOM-1"
    ds.PatientName = "PHANTOM^KANA"
    ds.PatientBirthDate = "19500101"
    ds.PatientSex = "F"
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return identity_of(ds)


def test_the_same_patient() -> None:
    assert differences(received(), Present()) == []


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        ({"patient_id": "PHANTOM-2"}, ["PatientID"]),
        ({"patient_id": None}, ["PatientID"]),
        ({"name": "PHANTOM^OTHER"}, ["PatientName"]),
        ({"birth_date": "19500102"}, ["PatientBirthDate"]),
        ({"sex": "M"}, ["PatientSex"]),
        ({"patient_id": "PHANTOM-2", "name": "MERGED^INTO"}, ["PatientID", "PatientName"]),
    ],
)
def test_another_patient(change: dict[str, str | None], differing: list[str]) -> None:
    assert differences(received(), replace(Present(), **change)) == differing


@pytest.mark.parametrize(
    "change",
    [
        {"name": "phantom^kana^^^"},
        {"name": "PHANTOM ^ KANA"},
        {"name": "ＰＨＡＮＴＯＭ^ＫＡＮＡ"},  # noqa: RUF001 - full width, as some systems write it
        {"name": None},
        {"birth_date": ""},
        {"sex": None},
        {"patient_id": " PHANTOM-1 "},
        {"issuer": "SUWON"},
    ],
)
def test_another_way_to_write_it_or_nothing_stated(change: dict[str, str | None]) -> None:
    assert differences(received(), replace(Present(), **change)) == []


def test_issuers_that_are_both_stated_must_agree() -> None:
    assert differences(received(IssuerOfPatientID="SUWON"), Present(issuer="ICHEON")) == ["IssuerOfPatientID"]


def test_the_first_group_that_both_have_is_compared() -> None:
    assert differences(received(PatientName="=HAN^PHANTOM=팬텀^가나"), Present(name="X^Y==팬텀^가나")) == []
    assert differences(received(PatientName="==팬텀^가나"), Present(name="X^Y==팬텀^다라")) == ["PatientName"]


def test_an_image_without_a_patient_id_matches_a_study_without_one_only() -> None:
    anonymous = received(PatientID="")
    assert differences(anonymous, Present()) == ["PatientID"]
    assert differences(anonymous, Present(patient_id=None)) == []
