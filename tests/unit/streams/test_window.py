import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from streams.window import Interrupted, Window


class Message:
    """A message of Faust's, as far as a window looks at it."""

    def __init__(self, partition: int, offset: int, key: bytes) -> None:
        self.topic, self.partition, self.offset, self.key = "studies", partition, offset, key
        self.acked = False
        self.references = 1

    def incref(self) -> None:
        self.references += 1


class Bench:
    """A window whose events end when, and how, the test says so."""

    def __init__(self, size: int = 8) -> None:
        self.acknowledged: list[tuple[int, int]] = []
        self.begun: list[int] = []
        self.deaths: list[BaseException] = []
        self.window = Window(size, self._work, self.deaths.append)
        self._ends: dict[int, asyncio.Future[None]] = {}

    def event(self, offset: int, key: str = "", partition: int = 0) -> Any:
        bench = self

        class Event:
            message = Message(partition, offset, key.encode() or str(offset).encode())

            def ack(self) -> None:
                assert not self.message.acked
                self.message.acked = True
                bench.acknowledged.append((partition, offset))

        return Event()

    async def _work(self, message: Message) -> None:
        self.begun.append(message.offset)
        await self._ends.setdefault(message.offset, asyncio.get_running_loop().create_future())

    async def end(self, offset: int, error: BaseException | None = None) -> None:
        future = self._ends.setdefault(offset, asyncio.get_running_loop().create_future())
        future.set_exception(error) if error else future.set_result(None)
        await settled()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def on_a_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 10))

    run.__name__ = test.__name__
    return run


@on_a_loop
async def test_events_end_in_any_order_and_are_acknowledged_in_theirs() -> None:
    bench = Bench()
    for offset in range(3):
        await bench.window.take_up(bench.event(offset))
    await bench.end(2)
    await bench.end(1)
    assert bench.acknowledged == []
    await bench.end(0)
    assert bench.acknowledged == [(0, 0), (0, 1), (0, 2)]


@on_a_loop
async def test_a_partition_does_not_wait_for_another() -> None:
    bench = Bench()
    await bench.window.take_up(bench.event(0, partition=0))
    await bench.window.take_up(bench.event(1, partition=1))
    await bench.end(1)
    assert bench.acknowledged == [(1, 1)]


@on_a_loop
async def test_events_of_a_key_are_handled_one_after_the_other() -> None:
    bench = Bench()
    for offset in range(3):
        await bench.window.take_up(bench.event(offset, key="a study"))
    await bench.window.take_up(bench.event(3, key="another"))
    await settled()
    assert bench.begun == [0, 3]
    await bench.end(0)
    assert bench.begun == [0, 3, 1]
    await bench.end(1)
    await bench.end(2)
    assert bench.acknowledged == [(0, 0), (0, 1), (0, 2)]


@on_a_loop
async def test_nothing_behind_what_was_left_is_acknowledged() -> None:
    bench = Bench()
    events = [bench.event(offset) for offset in range(4)]
    for event in events:
        await bench.window.take_up(event)
    await bench.end(1, Interrupted())
    await bench.end(2)
    await bench.end(0)
    assert bench.acknowledged == [(0, 0)], "what came before it is done"
    assert [event.message.acked for event in events] == [True, True, True, False], "nobody waits for what was left"
    await bench.end(3)
    assert bench.acknowledged == [(0, 0)]
    assert events[3].message.acked


@on_a_loop
async def test_the_next_event_of_a_key_is_left_with_the_first() -> None:
    bench = Bench()
    for offset in range(2):
        await bench.window.take_up(bench.event(offset, key="a study"))
    await bench.end(0, Interrupted())
    assert (bench.begun, bench.acknowledged) == ([0], [])


@on_a_loop
async def test_a_partition_that_is_read_again_is_acknowledged_again() -> None:
    bench = Bench()
    await bench.window.take_up(bench.event(0, key="a study"))
    await bench.end(0, Interrupted())
    bench.window.start_over()
    await bench.window.take_up(bench.event(7, key="a study"))
    await bench.end(7)
    assert bench.acknowledged == [(0, 7)]


@on_a_loop
async def test_what_still_runs_from_before_does_not_meddle_with_what_is_read_again() -> None:
    bench = Bench()
    await bench.window.take_up(bench.event(0, key="a study"))
    await settled()
    bench.window.start_over()
    await bench.window.take_up(bench.event(1, key="a study"))
    await settled()
    assert bench.begun == [0, 1]
    await bench.end(1)
    assert bench.acknowledged == [(0, 1)]


@on_a_loop
async def test_no_more_than_its_size_is_under_way() -> None:
    bench = Bench(size=2)
    await bench.window.take_up(bench.event(0))
    second = asyncio.ensure_future(bench.window.take_up(bench.event(1)))
    await settled()
    assert (bench.begun, second.done()) == ([0, 1], False)
    await bench.end(1)
    assert second.done()


@on_a_loop
async def test_a_window_of_one_asks_for_the_next_when_the_first_has_ended() -> None:
    bench = Bench(size=1)
    first = asyncio.ensure_future(bench.window.take_up(bench.event(0)))
    await settled()
    assert (bench.begun, first.done()) == ([0], False)
    await bench.end(0)
    assert (bench.acknowledged, first.done()) == ([(0, 0)], True)


@on_a_loop
async def test_closing_leaves_what_is_under_way() -> None:
    bench = Bench()
    events = [bench.event(offset, key="a study") for offset in range(2)]
    for event in events:
        await bench.window.take_up(event)
    await settled()
    bench.window.close()
    await settled()
    assert (bench.begun, bench.acknowledged, bench.deaths) == ([0], [], [])
    assert all(event.message.acked for event in events)


@on_a_loop
async def test_what_nobody_foresaw_ends_the_process_before_it_is_acknowledged() -> None:
    bench = Bench()
    await bench.window.take_up(bench.event(0))
    await bench.end(0, MemoryError())
    assert bench.acknowledged == []
    assert [type(death) for death in bench.deaths] == [MemoryError]


@on_a_loop
async def test_a_reference_is_held_until_the_event_has_ended() -> None:
    bench = Bench()
    event = bench.event(0)
    await bench.window.take_up(event)
    assert event.message.references == 2
