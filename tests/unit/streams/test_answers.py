"""What the ports answered is noted for each event by itself, and is what they answered."""

import asyncio
from contextvars import Context

import pytest

from gateways.inference.server import Failed, NoSuchModel, NotLoaded
from schemas.failures import NotInstalled, PortFailure, Unavailable, Unreadable
from schemas.steps import Failure, PortAnswer
from streams.answers import Heard, digest_of, heard, identifying, listen, reading
from tests.unit.streams.examples import FakeInference, FakeServer, digest, finding, series


async def _ask(models: Heard) -> tuple[PortAnswer, ...]:
    listen()
    model = await models.identify("ich", "1")
    answer = await models.read("suwon", "2.25.1", series(), model)
    assert answer.findings == (finding(),)
    return heard()


def test_an_answer_names_the_question_and_what_was_said() -> None:
    models = FakeInference(finding())
    identity, read = asyncio.run(_ask(Heard(models)))
    assert (identity.asked, identity.answer) == (identifying("ich", "1"), digest("ich"))
    again = asyncio.run(models.read("suwon", "2.25.1", series(), asyncio.run(models.identify("ich", "1"))))
    assert read == PortAnswer(asked=reading(series().manifest.digest, digest("ich")), answer=digest_of(again))


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (Unavailable("Triton is away"), Failure.UNAVAILABLE),
        (NotLoaded("not yet"), Failure.UNAVAILABLE),
        (Failed("it went away"), Failure.UNAVAILABLE),
        (Unreadable("no pixels"), Failure.UNREADABLE),
        (NoSuchModel("there is none"), Failure.NOT_INSTALLED),
        (NotInstalled("there is none"), Failure.NOT_INSTALLED),
    ],
)
def test_a_failure_is_noted_and_raised(error: PortFailure, failure: Failure) -> None:
    async def ask() -> PortAnswer:
        listen()
        models = Heard(FakeServer(ich=error))
        model = await models.identify("ich", "1")
        with pytest.raises(type(error)):
            await models.read("suwon", "2.25.1", series(), model)
        return heard()[-1]

    noted = asyncio.run(ask())
    assert (noted.answer, noted.failure, noted.reason) == (None, failure, str(error))


def test_events_that_are_under_way_together_hear_their_own_answers() -> None:
    async def ask() -> list[tuple[PortAnswer, ...]]:
        models = Heard(FakeInference(finding()))
        return await asyncio.gather(*(asyncio.create_task(_ask(models)) for _ in range(5)))

    answers = asyncio.run(ask())
    assert [len(one) for one in answers] == [2] * 5
    assert len({answers[0], *answers}) == 1


def test_nothing_is_noted_where_nobody_listens() -> None:
    def ask() -> tuple[PortAnswer, ...]:
        assert asyncio.run(Heard(FakeInference()).identify("ich", "1")).name == "ich"
        return heard()

    assert Context().run(ask) == ()
