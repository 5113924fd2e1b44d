"""A study as a folder of Part 10 files, put in place when it is complete."""

import tempfile
from pathlib import Path

from pydicom import dcmwrite

from sinsok.phantom.cases import PhantomStudy


def write(study: PhantomStudy, folder: Path) -> tuple[Path, ...]:
    """Write IM0001.dcm, IM0002.dcm ... into ``folder`` and return their paths; nothing half-written is ever seen there.

    Raises ``FileExistsError`` where ``folder`` is a file or holds anything.
    """
    check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".phantom-", dir=folder.parent) as staging:
        whole = Path(staging) / folder.name
        whole.mkdir()
        names = [f"IM{number:04d}.dcm" for number in range(1, len(study.datasets) + 1)]
        for name, ds in zip(names, study.datasets, strict=True):
            dcmwrite(whole / name, ds, enforce_file_format=True)
        try:
            whole.rename(folder)
        except OSError as error:
            raise FileExistsError(f"{folder} came into being meanwhile") from error
    return tuple(folder / name for name in names)


def check_free(folder: Path) -> None:
    """Raise ``FileExistsError`` where a study cannot be written."""
    if folder.is_dir():
        if any(folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty")
    elif folder.exists():
        raise FileExistsError(f"{folder} is a file")
