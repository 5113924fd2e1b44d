"""BLAST-CT v1: twelve networks for lesions in head CT, where they are published, and how they become our models' files.

Monteiro et al., Lancet Digital Health 2 (2020), e314-e322. Its authors state that it is not intended for clinical use.
"""

import re
from datetime import UTC, datetime
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.request import urlopen

from numpy.typing import NDArray

from gateways.inference.repository import installed_files, set_parameter, stamp, versions
from gateways.inference.weights.deepmedic_onnx import check, onnx_bytes
from gateways.inference.weights.installation import install_files, is_installed
from gateways.inference.weights.legacy_torch import read_state
from gateways.inference.weights.npz import npz_bytes
from schemas.failures import Unavailable, Unreadable

ENSEMBLE: Final = "blast_ct_ensemble"
MODELS: Final = ("blast_ct", ENSEMBLE)
"""Folders of the model repository that run these networks."""
SOURCE: Final = "https://github.com/biomedia-mira/blast-ct"
COMMIT: Final = "96666a1fe61244071b5d5cf4ad0796e4ae3f572a"
FOLDER: Final = "blast_ct/data/saved_models"
LICENCE: Final = "Apache-2.0"
DIGESTS: Final = {
    1: "95f76e8b16fe42b6aa49388cb798e282c55cd70191544f4417445bb87803f99f",
    2: "44621a70866c5d4a69a2011f258d2c2f17d86af047d384f858a74ae0151e149c",
    3: "58c82cf9fa984266ffe56866e569241dfe41726f61101df963260da45fa4d120",
    4: "b4d344dfeda52a190280bef76bd0719744a8ce01e735d01fcd4e3fe1d8d04609",
    5: "5789d5d98f5a4507ffa5edec205026a26570a0444f09272de6dc06cdede92a99",
    6: "5dc30c4008b2ba6c76934ddef23db76cba962f76ce1c052ca067b94f187e0477",
    7: "af54c424b97f8dc4c62fe8c33af55d886d2dd444f4b55e9cab50f49af4084b86",
    8: "8f5d5a48c382300646517049c6b87ae3074a91ae0c7a85d292998272673d876e",
    9: "a255de8d04b670cbcbd0eda7c8bb7baf25d4a48a8606458000694b5062d7674c",
    10: "7bb4643c1317e6d5b7dbcbf44669d5653d3ae3d2f01a04a22f3b2f84416dbc05",
    11: "4a9e432244cf6c082f71b834b1aca6e6b9d44f514f2e52f07edd2f2802674121",
    12: "1d567f0ec5f1888b5ce6660314db9c51af9758c861f66f001c980f46fe6f49b3",
}
"""sha256 of the published file of each member. Nothing of a file is read before its digest was found right."""
MAX_BYTES: Final = 8 << 20
"""Twice the size of a published file: no more is read or fetched."""
_RAW: Final = f"https://raw.githubusercontent.com/biomedia-mira/blast-ct/{COMMIT}/{FOLDER}"
_SILENCE_S: Final = 10.0
_DOWNLOAD_S: Final = 120.0
_FORMS: Final = {"npz": npz_bytes, "onnx": onnx_bytes}
_FILE: Final = re.compile(r"member_(1[0-2]|[1-9])\.(npz|onnx)")
"""A file of a model: the member it is made of, and its form."""


def install(
    repository: Path, folder: Path | None, installed_by: str, ensemble_of: int | None = None
) -> dict[str, list[str]]:
    """Write what BLAST-CT's models lack into the repository, from a folder or else from where it is published.

    ``ensemble_of`` makes the ensemble one of so many members, which changes its configurations and its digest. Returns
    the files written for each model; none for one that had them. Raises :class:`schemas.failures.Unreadable` for files
    that are not the published ones and a repository without these models, and :class:`schemas.failures.Unavailable`
    without a network or with a disk that refuses. Nothing is written before everything was read.
    """
    found = [repository / name for name in MODELS if (repository / name / "config.pbtxt").is_file()]
    if not found:
        raise Unreadable(f"{repository} has no model {' or '.join(MODELS)}: there is nothing to install weights for")
    written: dict[str, list[str]] = {model.name: [] for model in found}
    listed = {model: installed_files(model) for model in found}
    wanted = {model: _resized(model, names, ensemble_of) for model, names in listed.items()}
    lacking = {
        model: _members(model, names)
        for model, names in wanted.items()
        if names != listed[model] or not is_installed(model)
    }
    tensors = {member: _tensors(member, folder) for member in sorted(set().union(*lacking.values()))}
    for model, members in lacking.items():
        contents = {}
        for name in wanted[model]:
            member, form = _member_and_form(model, name)
            contents[name] = _FORMS[form](tensors[member])
        provenance = {
            "source": f"{SOURCE}/tree/{COMMIT}/{FOLDER}",
            "commit": COMMIT,
            "licence": LICENCE,
            "source_files": {published(member): f"sha256:{DIGESTS[member]}" for member in members},
            "read_from": "a folder" if folder else "the source",
            "installed_by": installed_by,
            "installed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        written[model.name] = install_files(model, contents, provenance)
        try:
            _leave_only(model, wanted[model])
            # Also where the list is the same already: the one that wrote it may have been killed before the digest.
            if ensemble_of and model.name == ENSEMBLE:
                _describe(model, wanted[model], len(members))
        except OSError as error:
            again = "install it again" + (f" with --members {ensemble_of}" if ensemble_of else "")
            raise Unavailable(f"{error.filename or model}: {error.strerror}; then {again}") from error
    return written


def _resized(model: Path, listed: list[str], ensemble_of: int | None) -> list[str]:
    """The files a model is to have: those its configuration lists, or of an ensemble of so many members."""
    if model.name != ENSEMBLE or ensemble_of is None:
        return listed
    return [f"member_{member + 1}.{form}" for member in range(ensemble_of) for form in _FORMS]


def _leave_only(model: Path, names: list[str]) -> None:
    """Remove every other member: it would speak too."""
    for version in versions(model):
        for path in (model / version).iterdir():
            if _FILE.fullmatch(path.name) and path.name not in names:
                path.unlink()


def _describe(model: Path, names: list[str], count: int) -> None:
    """Have the configurations say what is installed, and its digest."""
    set_parameter(model, "sinsok_installed_files", " ".join(names))
    set_parameter(model, "sinsok_source", f"BLAST-CT v1, Monteiro et al. 2020, the mean of {count} members")
    for version in versions(model):
        stamp(model, version)


def published(member: int) -> str:
    """The name of a member's file where it is published."""
    return f"model_{member}.pt"


def _members(model: Path, names: list[str]) -> list[int]:
    """The members that files of a model are made of."""
    members = {_member_and_form(model, name)[0] for name in names}
    if not members or not versions(model):
        raise Unreadable(f"{model} has no version, or its config.pbtxt lists no sinsok_installed_files")
    return sorted(members)


def _member_and_form(model: Path, name: str) -> tuple[int, str]:
    match = _FILE.fullmatch(name)
    if not match:
        raise Unreadable(f"{model}/config.pbtxt: sinsok_installed_files: no {name} can be made of BLAST-CT's weights")
    return int(match[1]), match[2]


def _tensors(member: int, folder: Path | None) -> dict[str, NDArray[Any]]:
    """The tensors of a member, of a file that is the published one."""
    where = str(folder / published(member)) if folder else f"{_RAW}/{published(member)}"
    data = _read(folder / published(member)) if folder else _fetch(where)
    digest = sha256(data).hexdigest()
    if digest != DIGESTS[member]:
        raise Unreadable(f"{where}: sha256 {digest} is not that of the published file, {DIGESTS[member]}: get it anew")
    try:
        tensors = read_state(data)
        check(tensors)
    except Unreadable as error:
        raise Unreadable(f"{where}: {error}") from error
    return tensors


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise Unreadable(f"{path}: no such file; the folder should hold the published files of {SOURCE}")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from error


def _fetch(address: str) -> bytes:
    deadline = monotonic() + _DOWNLOAD_S
    data = bytearray()
    try:
        with urlopen(address, timeout=_SILENCE_S) as answer:  # noqa: S310 - always the https address above
            while len(data) < MAX_BYTES and (part := answer.read1(1 << 16)):
                data += part
                if monotonic() > deadline:
                    raise TimeoutError(f"not whole after {_DOWNLOAD_S:.0f} s")
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise Unavailable(f"{address}: cannot be fetched ({reason}); with the files in a folder, use --from") from error
    return bytes(data)
