"""What the ports answered while a hop handled an event, noted so that a replay can give the same answers."""

from contextvars import ContextVar

from schemas.base import Digest
from schemas.events import Reading, Series
from schemas.failures import PortFailure, Unavailable, Unreadable
from schemas.identity import digest
from schemas.models import ModelIdentity
from schemas.steps import Failure, PortAnswer
from streams.ports import Inference

_HEARD: ContextVar[list[PortAnswer] | None] = ContextVar("heard", default=None)


def listen() -> None:
    """Note what is answered from now on in this task, and forget what was answered before."""
    _HEARD.set([])


def heard() -> tuple[PortAnswer, ...]:
    """What was answered in this task since :func:`listen`."""
    return tuple(_HEARD.get() or ())


def identifying(model: str, version: str) -> str:
    """The question which version is served, as an answer names it."""
    return f"identify {model}@{version}"


def reading(content: Digest, model: Digest) -> str:
    """The question what a model sees in a content, as an answer names it."""
    return f"read {content} {model}"


def digest_of(answer: Reading) -> Digest:
    """Of a reading, as it is stored."""
    return digest(answer.model_dump_json().encode())


class Heard:
    """Models whose answers are noted."""

    def __init__(self, models: Inference) -> None:
        self._models = models

    async def identify(self, model: str, version: str) -> ModelIdentity:
        """As the models do."""
        asked = identifying(model, version)
        try:
            identity = await self._models.identify(model, version)
        except (Unavailable, Unreadable) as error:
            _note(_failed(asked, error))
            raise
        _note(PortAnswer(asked=asked, answer=identity.digest, device=identity.device))
        return identity

    async def read(
        self, site: str, study_uid: str, series: Series, model: ModelIdentity, *, urgent: bool = True
    ) -> Reading:
        """As the models do."""
        asked = reading(series.manifest.digest, model.digest)
        try:
            answer = await self._models.read(site, study_uid, series, model, urgent=urgent)
        except (Unavailable, Unreadable) as error:
            _note(_failed(asked, error))
            raise
        _note(PortAnswer(asked=asked, answer=digest_of(answer)))
        return answer


def _failed(asked: str, error: PortFailure) -> PortAnswer:
    # A gateway has kinds of its own of each failure; hops and replays know those of schemas/failures.py.
    kind = next(kind for kind in type(error).__mro__ if kind.__name__ in list(Failure))
    return PortAnswer(asked=asked, failure=Failure(kind.__name__), reason=str(error))


def _note(answer: PortAnswer) -> None:
    answers = _HEARD.get()
    if answers is not None:
        answers.append(answer)
