"""Files put into a model's folder, all of them or none, with a note of what they are and where they are from."""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from gateways.inference.repository import (
    CONFIGURATIONS,
    configuration,
    digest_of,
    missing_files,
    stated_digest,
    versions,
)
from gateways.objects import sync_folder, write_whole
from schemas.failures import Unavailable

PROVENANCE: Final = "provenance.json"
"""Beside the version folders: the date in it must not change the digest of what computes."""
_WAITING: Final = ".installing"


def is_installed(model: Path) -> bool:
    """Whether every version has its installed files and they are those of the digest its configuration states."""
    stated = configuration(model / CONFIGURATIONS[0])
    return (model / PROVENANCE).is_file() and all(
        not missing_files(model, version) and digest_of(model, version) == stated_digest(stated, version)
        for version in versions(model)
    )


def install_files(model: Path, contents: Mapping[str, bytes], provenance: Mapping[str, Any]) -> list[str]:
    """Write files, by name, into each version of a model, then the provenance; return the paths.

    Everything is written and synced beside the version folders first, then renamed into place. The provenance is gone
    while that happens: where it stands, the files are whole. Raises :class:`schemas.failures.Unavailable` where the
    disk refuses, with none of the files in place.
    """
    places = {f"{version}/{name}": content for version in versions(model) for name, content in contents.items()}
    digests = {place: f"sha256:{sha256(content).hexdigest()}" for place, content in places.items()}
    note = json.dumps({"model": model.name, **provenance, "installed_files": digests}, indent=2) + "\n"
    waiting = model / _WAITING
    try:
        shutil.rmtree(waiting, ignore_errors=True)  # of an installation that was killed
        for place, content in [*places.items(), (PROVENANCE, note.encode())]:
            write_whole(waiting / place, content)
        (model / PROVENANCE).unlink(missing_ok=True)
        _move(waiting, model, [*places, PROVENANCE])
    except OSError as error:
        raise Unavailable(
            f"{error.filename or model}: {error.strerror}: nothing was installed for {model.name}"
        ) from error
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
    return list(places)


def _move(source: Path, target: Path, places: list[str]) -> None:
    try:
        for place in places:
            (source / place).replace(target / place)
    except OSError:
        for place in places:
            with suppress(OSError):
                (target / place).unlink(missing_ok=True)
        raise
    for folder in {(target / place).parent for place in places}:
        sync_folder(folder)
