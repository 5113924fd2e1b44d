"""`sinsok phantom`: what it writes and how it refuses."""

from pathlib import Path

import pytest
from pydicom import dcmread

from tests.unit.sinsok.commandline import sinsok


def test_it_writes_a_study_and_says_where_the_blood_is(tmp_path: Path) -> None:
    out = tmp_path / "new" / "study"
    asked = ("--case", "iph", "--slices", "2", "--volume-ml", "1", "--place", "deep", "--side", "left")
    told = sinsok("phantom", str(out), *asked)
    assert told.code == 0
    assert sorted(file.name for file in out.iterdir()) == ["IM0001.dcm", "IM0002.dcm"]
    assert str(dcmread(out / "IM0001.dcm").StudyInstanceUID) in told.out
    assert "blood: 1.0 ml, deep, left" in told.out


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    told = sinsok("phantom", str(tmp_path), "--case", "negative")
    assert told.code == 2
    assert told.err == f"error: {tmp_path} is not empty: name a new or an empty folder\n"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--case", "ivh", "--slices", "1", "--volume-ml", "250"), "do not fit"),
        (("--case", "ivh", "--place", "lens"), "does not bleed in lens"),
        (("--case", "negative", "--volume-ml", "3"), "shows no blood"),
        (("--case", "unicorn"), "'unicorn' is not one of"),
        (("--case", "iph", "--slices", "900"), "900"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    told = sinsok("phantom", str(tmp_path / "out"), *options)
    assert told.code == 2
    assert complaint in told.err
    assert list(tmp_path.iterdir()) == []
