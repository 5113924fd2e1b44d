"""The Inference port of a replay: what the models answered then, or what they answer now."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from schemas.base import Digest
from schemas.events import Reading, Series, StudyTriaged
from schemas.failures import NotInstalled, PortFailure, Unavailable, Unreadable
from schemas.models import Contract, ModelIdentity
from schemas.steps import Failure, PortAnswer, StepTaken
from sinsok.replay.story import Story
from streams.answers import digest_of, identifying, reading
from streams.ports import Inference

_FAILURES: Final[dict[Failure, type[PortFailure]]] = {
    Failure.UNAVAILABLE: Unavailable,
    Failure.UNREADABLE: Unreadable,
    Failure.NOT_INSTALLED: NotInstalled,
}


class NotRecorded(Exception):
    """Nobody asked this then: what a model would have answered is not known. The text is one line."""


class Answers:
    """What was answered then. :meth:`begin` names the study, :meth:`answer_for` the step that is taken again.

    ``live`` is asked instead, about every model, or about ``only`` one (``NAME@VERSION``).
    """

    def __init__(
        self,
        readings: Path,
        identities: dict[str, PortAnswer],
        live: Inference | None = None,
        only: str | None = None,
    ) -> None:
        self._only = only
        self._readings = readings
        self._identities = identities
        self._live = live
        self._told: dict[str, Reading] = {}
        self._then: dict[str, PortAnswer] = {}

    def begin(self, story: Story) -> None:
        """The readings that stand in the results of a study need no store."""
        results = (entry.event for entry in story.events.values())
        found = (one.reading for event in results if isinstance(event, StudyTriaged) for one in event.series)
        self._told = {reading(one.content, one.provenance.digest): one for one in found if one is not None}

    def answer_for(self, step: StepTaken | None) -> None:
        """The questions that follow are those of this step; None: of one that nobody took then."""
        self._then = {answer.asked: answer for answer in step.answers} if step else {}

    async def identify(self, model: str, version: str) -> ModelIdentity:
        """As it was answered in this step, else in any other of the record; with a live port, as it is now."""
        if live := self._asked_now(model, version):
            return await live.identify(model, version)
        asked = identifying(model, version)
        answer = self._then.get(asked) or self._identities.get(asked)
        if answer is None:
            raise NotRecorded(f"no answer of {model}@{version} is recorded: --infer asks it")
        digest = _given(answer)
        return ModelIdentity(
            name=model,
            version=version,
            digest=digest,
            contract=Contract.SEGMENTATION,
            classes=(),
            device=answer.device or "",
        )

    async def read(
        self, site: str, study_uid: str, series: Series, model: ModelIdentity, *, urgent: bool = True
    ) -> Reading:
        """The recorded reading; with a live port a new one, with the times of the recorded one where there is one."""
        asked = reading(series.manifest.digest, model.digest)
        if live := self._asked_now(model.name, model.version):
            # Never urgent: patients go first.
            new = await live.read(site, study_uid, series, model, urgent=False)
            return _timed_as(new, self._told.values(), series)
        then = self._then.get(asked)
        wanted = None if then is None else _given(then)
        known = self._told.get(asked) or self._stored(series.manifest.digest, model.digest)
        if known is None and wanted is None:
            raise NotRecorded(f"no reading of {model.name}@{model.version} is recorded for a series: --infer asks it")
        if known is None or (wanted is not None and digest_of(known) != wanted):
            known = self._stored(series.manifest.digest, model.digest)
        if known is None or (wanted is not None and digest_of(known) != wanted):
            raise NotRecorded(f"the reading of {model.name}@{model.version} that a step names is gone or was changed")
        return known

    def _asked_now(self, model: str, version: str) -> Inference | None:
        return self._live if self._only in (None, f"{model}@{version}") else None

    def _stored(self, content: Digest, model: Digest) -> Reading | None:
        place = self._readings / content.removeprefix("sha256:") / f"{model.removeprefix('sha256:')}.json"
        try:
            return Reading.model_validate_json(place.read_bytes())
        except (OSError, ValidationError):
            return None


def _given(answer: PortAnswer) -> Digest:
    if answer.failure is not None:
        raise _FAILURES[answer.failure](answer.reason or "")
    assert answer.answer is not None, "an answer or a failure"
    return answer.answer


def _timed_as(new: Reading, known: Iterable[Reading], series: Series) -> Reading:
    """When it was read now says nothing about then: a reading of the same content and model lends its times."""
    model = new.provenance.model
    then = next((one for one in known if one.content == new.content and one.provenance.model == model), None)
    at = then.completed_at if then else series.last_image_at
    seconds = then.seconds if then else {}
    return new.model_copy(update={"completed_at": at, "seconds": seconds})
