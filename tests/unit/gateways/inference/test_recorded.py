"""An answer is asked for once and found for ever after."""

import asyncio
from datetime import UTC, datetime

import pytest

from gateways.inference.recorded import Recorded
from schemas.events import Reading
from schemas.failures import Unavailable
from tests.fakes import FakeModels, series


def read(models, one=None, **change):
    async def ask():
        identity = (await models.identify("m", "1")).model_copy(update=change)
        return await models.read("suwon", "1.2", one or series(), identity)

    return asyncio.run(ask())


def test_a_recorded_answer_is_not_asked_for_again(tmp_path):
    fake = FakeModels()
    first = read(Recorded(fake, tmp_path))
    again = read(Recorded(fake, tmp_path))
    assert again == first
    assert fake.read_count == 1


def test_of_two_who_ask_at_the_same_time_both_give_the_answer_that_came_first(tmp_path):
    class Slow(FakeModels):
        async def read(self, *asked, **how):
            reading = await super().read(*asked, **how)
            self.faster = await Recorded(FakeModels(), tmp_path).read(*asked, **how)
            return reading

    slow = Slow()
    assert read(Recorded(slow, tmp_path)) == slow.faster
    assert read(Recorded(FakeModels(), tmp_path)) == slow.faster


def test_other_content_or_another_model_is(tmp_path):
    fake = FakeModels()
    recorded = Recorded(fake, tmp_path)
    read(recorded)
    read(recorded, series(content="b"))
    read(recorded, digest=f"sha256:{'9' * 64}")
    assert fake.read_count == 3


def test_it_lies_where_anybody_finds_it(tmp_path):
    reading = read(Recorded(FakeModels(), tmp_path))
    (path,) = (tmp_path / "readings").rglob("*.json")
    assert path.parent.name == reading.content.removeprefix("sha256:")
    assert path.stem == reading.provenance.digest.removeprefix("sha256:")
    assert Reading.model_validate_json(path.read_bytes()) == reading


def test_a_failure_is_not_recorded(tmp_path):
    fake = FakeModels(fails=Unavailable("away"))
    with pytest.raises(Unavailable):
        read(Recorded(fake, tmp_path))
    fake.fails = None
    assert read(Recorded(fake, tmp_path)).completed_at <= datetime.now(UTC)


def test_a_record_of_another_schema_is_replaced(tmp_path):
    fake = FakeModels()
    read(Recorded(fake, tmp_path))
    (path,) = (tmp_path / "readings").rglob("*.json")
    path.write_text('{"findings": 7}')
    reading = read(Recorded(fake, tmp_path))
    assert Reading.model_validate_json(path.read_bytes()) == reading


def test_a_store_that_cannot_be_used_is_a_passing_failure(tmp_path):
    (tmp_path / "readings").write_text("in the way")
    with pytest.raises(Unavailable):
        read(Recorded(FakeModels(), tmp_path))
