"""Answers are kept: a series that was inferred with the same content and model is not inferred again.

A reading lives at ``readings/<content>/<model digest>.json`` in the object store's folder, so a restart, a repeated
event and a replay all find the first answer, its times included.
"""

import asyncio
from pathlib import Path
from typing import Protocol

import structlog
from pydantic import ValidationError

from gateways.metrics import READINGS
from gateways.objects import write_first, write_whole
from schemas.base import Digest
from schemas.events import Reading, Series
from schemas.failures import Unavailable
from schemas.models import ModelIdentity

log = structlog.get_logger()


class Models(Protocol):
    """Anything that reads series with models."""

    async def identify(self, model: str, version: str) -> ModelIdentity:
        """The model version as it is served now."""
        ...

    async def read(
        self, site: str, study_uid: str, series: Series, model: ModelIdentity, *, urgent: bool = True
    ) -> Reading:
        """Show a series to a model."""
        ...


class Recorded:
    """Models whose answers are kept under ``root``."""

    def __init__(self, models: Models, root: Path) -> None:
        self._models = models
        self._root = root

    async def identify(self, model: str, version: str) -> ModelIdentity:
        """As the models themselves."""
        return await self._models.identify(model, version)

    async def read(
        self, site: str, study_uid: str, series: Series, model: ModelIdentity, *, urgent: bool = True
    ) -> Reading:
        """The recorded answer, else a new one, recorded before it is returned.

        Raises what the models raise, and :class:`schemas.failures.Unavailable` where the store cannot be used.
        """
        path = place_of(self._root, series.manifest.digest, model.digest)
        known = await asyncio.to_thread(_find, path)
        if known is not None:
            READINGS.labels(model.name, "recorded").inc()
            return known
        reading = await self._models.read(site, study_uid, series, model, urgent=urgent)
        return await asyncio.to_thread(_keep, path, reading)


def place_of(root: Path, content: Digest, model: Digest) -> Path:
    """Where the reading of a content by a model lies under ``root``."""
    return root / "readings" / content.removeprefix("sha256:") / f"{model.removeprefix('sha256:')}.json"


def _find(path: Path) -> Reading | None:
    try:
        return Reading.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"recorded readings cannot be read: {error.strerror}") from error
    except ValidationError:
        # Written by another version of the schema: the series is read again and the record replaced.
        log.warning("recorded reading does not fit the schema", reading=path.name)
        return None


def _keep(path: Path, reading: Reading) -> Reading:
    """The reading that is on record from now on: the first, where two workers asked at the same time."""
    answer = reading.model_dump_json().encode()
    try:
        if write_first(path, answer):
            return reading
        if (first := _find(path)) is not None:
            return first
        write_whole(path, answer)
    except OSError as error:
        raise Unavailable(f"the reading cannot be recorded: {error.strerror}") from error
    return reading
