"""The stream of changes: to whom it goes, that nobody holds up anybody, and when it ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateways.console import live
from gateways.console.live import QUEUE, Hub, TooMany
from gateways.console.view import Change


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "COLLECT_S", 0.01)
    monkeypatch.setattr(live, "BEAT_S", 0.05)


async def said(stream: AsyncIterator[str]) -> str:
    """The next thing that is more than a sign of life."""
    async for one in stream:
        if not one.startswith(":"):
            return one
    return ""


def change(number: int = 1, site: str = "suwon", *, alert: bool = False) -> Change:
    return Change(site, f"key{number}", alert)


def test_changes_go_to_those_who_may_know_of_them() -> None:
    async def run() -> None:
        hub = Hub()
        hub.open()
        suwon, anseong = (hub.follow(frozenset({site}), lambda: True) for site in ("suwon", "anseong"))
        assert "event: open" in await said(suwon)
        assert "event: open" in await said(anseong)
        hub.tell(change())
        hub.tell(change(alert=True))
        hub.tell(change(2, "anseong"))
        assert await said(suwon) == "event: alert\ndata: key1\n\n"
        assert await said(anseong) == "event: change\ndata: key2\n\n"
        await suwon.aclose()
        assert hub.listeners == 1
        await anseong.aclose()

    asyncio.run(run())


def test_who_does_not_keep_up_loads_everything_and_holds_up_nobody() -> None:
    async def run() -> None:
        hub = Hub()
        hub.open()
        slow, quick = (hub.follow(frozenset({"suwon"}), lambda: True) for _ in range(2))
        await said(slow), await said(quick)
        heard = []
        for begin in range(0, 3 * QUEUE, QUEUE):
            for number in range(begin, begin + QUEUE):
                hub.tell(change(number))
            heard += [await said(quick) for _ in range(QUEUE)]
        assert len(heard) == len(set(heard)) == 3 * QUEUE
        assert await said(slow) == "event: everything\ndata: \n\n"
        hub.tell(change(999))
        assert await said(slow) == "event: change\ndata: key999\n\n"
        await slow.aclose()
        await quick.aclose()

    asyncio.run(run())


def test_it_ends_for_who_was_signed_out_and_for_all_when_the_console_stops() -> None:
    async def run() -> None:
        hub = Hub()
        hub.open()
        signed_in = [True]
        one = hub.follow(frozenset({"suwon"}), lambda: signed_in[0])
        other = hub.follow(frozenset({"suwon"}), lambda: True)
        await said(one), await said(other)
        signed_in[0] = False
        assert await said(one) == "event: signed-out\ndata: \n\n"
        assert await said(one) == ""
        hub.close()
        assert await said(other) == ""
        assert hub.listeners == 0

    asyncio.run(run())


def test_there_is_an_end_to_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LISTENERS", 1)

    async def run() -> None:
        hub = Hub()
        hub.open()
        first, second = (hub.follow(frozenset({"suwon"}), lambda: True) for _ in range(2))
        await said(first)
        with pytest.raises(TooMany):
            await said(second)
        await first.aclose()

    asyncio.run(run())


def test_nothing_is_kept_while_nobody_listens() -> None:
    async def run() -> None:
        hub = Hub()
        hub.tell(change())
        hub.open()
        hub.tell(change())
        await asyncio.sleep(0.03)
        stream = hub.follow(frozenset({"suwon"}), lambda: True)
        await said(stream)
        hub.tell(change(2))
        assert await said(stream) == "event: change\ndata: key2\n\n"
        await stream.aclose()

    asyncio.run(run())
