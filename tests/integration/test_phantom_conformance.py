"""Every phantom is valid DICOM in the eyes of dciodvfy."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sinsok.phantom import Case, build, write

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed"),
]


@pytest.mark.parametrize("case", Case)
def test_dciodvfy_finds_no_error(case: Case, tmp_path: Path) -> None:
    for file in write(build(case, slices=3, volume_ml=1 if case.places else None), tmp_path / "out"):
        report = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
        lines = (report.stdout + report.stderr).splitlines()
        assert lines, "dciodvfy names the IOD it checks"
        assert [line for line in lines if line.startswith("Error")] == []
