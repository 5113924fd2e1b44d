"""Reference answers: what a model said of a synthetic study when it was accepted, and whether it still says so.

A model's folder holds them in ``reference.json``. After an upgrade of Triton, a library or the machine they tell an
operator that the answers are the same. That they are right is another question: see the model's card.
"""

from pathlib import Path
from typing import Annotated, Final

import numpy as np
from pydantic import Field, ValidationError

from gateways.imaging.volume import Volume
from gateways.inference.contract import Answer
from gateways.inference.server import TritonServer
from gateways.objects import write_whole
from schemas.base import Record
from schemas.failures import Unreadable
from schemas.models import ModelIdentity
from sinsok.phantom import Case, build
from sinsok.phantom.volume import volume_of

FILE: Final = "reference.json"
VOLUME_SHARE: Final = 0.05
VOLUME_ML: Final = 0.2
"""Volumes agree within the larger of the two: bfloat16 on one machine and float32 on another are that far apart."""
CENTRE_MM: Final = 2.0
SCORE: Final = 0.05


class Seen(Record):
    """What a model saw of one class."""

    score: float
    volume_ml: float | None = Field(default=None, description="None from a classifier")
    centre_mm: tuple[float, float, float] | None = Field(default=None, description="LPS; None where nothing has it")


class Reference(Record):
    """A synthetic study, and what each version of a model saw in it, by the name of the class."""

    case: Case = Case.IPH
    seed: Annotated[int, Field(ge=0)] = 0
    versions: dict[str, dict[str, Seen]] = Field(default_factory=dict)


def reference_of(folder: Path) -> Reference | None:
    """The reference of a model; None where it has none. Raises :class:`schemas.failures.Unreadable`."""
    path = folder / FILE
    try:
        return Reference.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise Unreadable(f"{path} is no reference: {str(error).splitlines()[0]}") from None


def see(server: TritonServer, model: ModelIdentity, reference: Reference) -> dict[str, Seen]:
    """Show the study to a model, behind whatever waits. Raises what :meth:`TritonServer.infer` raises. Blocks."""
    volume = volume_of(build(reference.case, reference.seed))
    return seen_in(model, volume, server.infer(model, volume, urgent=False))


def seen_in(model: ModelIdentity, volume: Volume, answer: Answer) -> dict[str, Seen]:
    """An answer in a few numbers for each class."""
    seen = {}
    for row, score in zip(model.classes, answer.scores, strict=True):
        if answer.labels is None:
            seen[row.name] = Seen(score=round(float(score), 3))
            continue
        places = np.argwhere(answer.labels == row.label)
        volume_ml = round(len(places) * volume.voxel_ml, 2)
        centre = None
        if volume_ml:
            x, y, z = (volume.affine @ [*places.mean(0)[::-1], 1.0])[:3]
            centre = (round(float(x), 1), round(float(y), 1), round(float(z), 1))
        seen[row.name] = Seen(score=round(float(score), 3), volume_ml=volume_ml, centre_mm=centre)
    return seen


def differences(before: dict[str, Seen], now: dict[str, Seen]) -> list[str]:
    """Where two answers are not the same, a line for each class."""
    if before.keys() != now.keys():
        return [f"the reference is of {', '.join(before)}, the model has {', '.join(now)}: record it anew"]
    return [
        f"{name}: was {_line(before[name])}, is {_line(now[name])}"
        for name in now
        if not _same(before[name], now[name])
    ]


def record(folder: Path, version: str, seen: dict[str, Seen], reference: Reference) -> None:
    """Make an answer the reference of a version. Raises ``OSError``."""
    changed = reference.model_copy(update={"versions": {**reference.versions, version: seen}})
    write_whole(folder / FILE, changed.model_dump_json(indent=2, exclude_none=True).encode() + b"\n")


def summary(seen: dict[str, Seen]) -> str:
    """An answer in a line."""
    return ", ".join(f"{name} {_line(one)}" for name, one in seen.items())


def _same(before: Seen, now: Seen) -> bool:
    if before.volume_ml is None or now.volume_ml is None:
        return before.volume_ml == now.volume_ml and abs(before.score - now.score) <= SCORE
    allowed_ml = max(VOLUME_SHARE * before.volume_ml, VOLUME_ML)
    if abs(before.volume_ml - now.volume_ml) > allowed_ml:
        return False
    if min(before.volume_ml, now.volume_ml) <= VOLUME_ML:
        # So little of it is there that neither its place nor its score means anything.
        return True
    assert before.centre_mm is not None
    assert now.centre_mm is not None
    apart_mm = float(np.linalg.norm(np.subtract(before.centre_mm, now.centre_mm)))
    return apart_mm <= CENTRE_MM and abs(before.score - now.score) <= SCORE


def _line(seen: Seen) -> str:
    if seen.volume_ml is None:
        return f"score {seen.score:g}"
    if seen.centre_mm is None:
        return "0 ml"
    return f"{seen.volume_ml:g} ml at ({', '.join(f'{one:g}' for one in seen.centre_mm)}) mm, score {seen.score:g}"
