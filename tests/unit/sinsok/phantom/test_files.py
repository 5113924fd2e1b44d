"""Studies on disk: whole or not at all."""

from pathlib import Path

import pytest
from pydicom import dcmread

from sinsok.phantom import Case, PhantomStudy, small_series, write


@pytest.fixture
def study() -> PhantomStudy:
    return PhantomStudy(Case.NEGATIVE, small_series("files", slices=3), None)


def test_a_study_becomes_a_folder_of_neutral_names(study: PhantomStudy, tmp_path: Path) -> None:
    files = write(study, tmp_path / "out")
    assert [file.name for file in files] == ["IM0001.dcm", "IM0002.dcm", "IM0003.dcm"]
    assert [dcmread(file).SOPInstanceUID for file in files] == [ds.SOPInstanceUID for ds in study.datasets]
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_an_empty_folder_is_taken(study: PhantomStudy, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert len(write(study, tmp_path / "out")) == 3


def test_a_folder_that_holds_anything_is_left_alone(study: PhantomStudy, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="is not empty"):
        write(study, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_small_series_of_a_study_share_it() -> None:
    one, two = small_series("s", 1, slices=2), small_series("s", 2, slices=2)
    assert {ds.StudyInstanceUID for ds in one + two} == {one[0].StudyInstanceUID}
    assert len({ds.SeriesInstanceUID for ds in one + two}) == 2
    assert len({ds.SOPInstanceUID for ds in one + two}) == 4
    assert float(one[1].ImagePositionPatient[2]) - float(one[0].ImagePositionPatient[2]) == 5
    assert one[0].PixelData != one[1].PixelData
