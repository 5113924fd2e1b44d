"""The Inference port of a replay: what the models answered then, or what they answer now."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from gateways.inference.recorded import place_of
from schemas.base import Digest
from schemas.events import Reading, Series, StudyTriaged
from schemas.failures import NotInstalled, PortFailure, Unavailable, Unreadable
from schemas.identity import digest
from schemas.models import Contract, ModelIdentity
from schemas.steps import Failure, Handled, PortAnswer, StepTaken
from sinsok.replay.story import Story
from streams.answers import digest_of, identifying, reading
from streams.ports import Inference

T = TypeVar("T")
_PAUSES_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 60.0, 60.0, 60.0, 60.0)
_FAILURES: Final[dict[Failure, type[PortFailure]]] = {
    Failure.UNAVAILABLE: Unavailable,
    Failure.UNREADABLE: Unreadable,
    Failure.NOT_INSTALLED: NotInstalled,
}


class NotRecorded(Exception):
    """Nobody asked this then: what a model would have answered is not known. The text is one line."""


class Answers:
    """What was answered then. :meth:`begin` names the study, :meth:`answer_for` the step that is taken again.

    ``store`` is the root of the object store, which keeps readings. ``live`` is asked instead, about every model, or
    about ``only`` one (``NAME@VERSION``).
    """

    def __init__(
        self,
        store: Path,
        identities: dict[str, PortAnswer],
        live: Inference | None = None,
        only: str | None = None,
    ) -> None:
        self._only = only
        self._store = store
        self._identities = identities
        self._live = live
        self._told: dict[str, Reading] = {}
        self._then: dict[str, deque[PortAnswer]] = {}
        self._strict = False

    def begin(self, story: Story) -> None:
        """The readings that stand in the results of a study need no store."""
        results = (entry.event for entry in story.events.values())
        found = (one.reading for event in results if isinstance(event, StudyTriaged) for one in event.series)
        self._told = {reading(one.content, one.provenance.digest): one for one in found if one is not None}

    def answer_for(self, step: StepTaken | None) -> None:
        """The questions that follow are those of this step; None: of one that nobody took then.

        What became a dead letter got no other answers than its own.
        """
        self._then = defaultdict(deque)
        for answer in step.answers if step else ():
            self._then[answer.asked].append(answer)
        self._strict = step is not None and step.handled is Handled.BURIED

    async def identify(self, model: str, version: str) -> ModelIdentity:
        """As it was answered in this step, else in any other of the record; with a live port, as it is now."""
        if live := self._asked_now(model, version):
            return await _patiently(lambda: live.identify(model, version))
        asked = identifying(model, version)
        answer = self._next(asked) or (None if self._strict else self._identities.get(asked))
        if answer is None:
            raise NotRecorded(f"no answer of {model}@{version} is recorded: --infer asks it")
        return ModelIdentity(
            name=model,
            version=version,
            digest=_given(answer),
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
            new = await _patiently(lambda: live.read(site, study_uid, series, model, urgent=False))
            return _timed_as(new, self._told.values(), series)
        then = self._next(asked)
        if then is None and self._strict:
            raise NotRecorded("nothing is recorded of the answer")
        wanted = None if then is None else _given(then)
        known = self._told.get(asked)
        if known is not None and wanted in (None, digest_of(known)):
            return known
        stored = self._stored(series.manifest.digest, model.digest, wanted)
        if stored is None and wanted is None:
            raise NotRecorded(f"no reading of {model.name}@{model.version} is recorded for a series: --infer asks it")
        if stored is None:
            raise NotRecorded(f"the reading of {model.name}@{model.version} that a step names is gone or was changed")
        return stored

    def _asked_now(self, model: str, version: str) -> Inference | None:
        return self._live if self._only in (None, f"{model}@{version}") else None

    def _next(self, asked: str) -> PortAnswer | None:
        """What was answered, in order where it was asked more than once; the last answer stays."""
        answers = self._then.get(asked)
        if not answers:
            return None
        return answers.popleft() if len(answers) > 1 else answers[0]

    def _stored(self, content: Digest, model: Digest, wanted: Digest | None) -> Reading | None:
        """A reading as it was kept; None where there is none, or it is not the one that is wanted."""
        try:
            kept = place_of(self._store, content, model).read_bytes()
            reading = Reading.model_validate_json(kept)
        except (OSError, ValidationError):
            return None
        return reading if wanted in (None, digest(kept), digest_of(reading)) else None


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer. Raises :class:`Unavailable` where there has been none for long."""
    for pause_s in _PAUSES_S:
        try:
            return await ask()
        except Unavailable:
            await asyncio.sleep(pause_s)
    return await ask()


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
