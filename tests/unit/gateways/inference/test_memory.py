"""Regions come and go with their request, and nothing of a killed process stays."""

import fcntl
import os
from types import SimpleNamespace

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from gateways.inference import memory
from gateways.inference.memory import PREFIX, SharedMemory, room
from gateways.inference.settings import TritonSettings


class Mapping:
    """A Triton that maps regions, or refuses to."""

    def __init__(self, *, refuses: bool = False, known: tuple[str, ...] = ()) -> None:
        self.refuses = refuses
        self.busy: set[str] = set()
        self.mapped = set(known)

    def get_system_shared_memory_status(self, **_):
        return SimpleNamespace(regions=dict.fromkeys(self.mapped))

    def register_system_shared_memory(self, name, key, size, **_):
        if self.refuses:
            raise InferenceServerException(f"Unable to open shared memory region: '{key}'")
        assert (memory.FOLDER / key.strip("/")).stat().st_size == size
        self.mapped.add(name)

    def unregister_system_shared_memory(self, name, **_):
        if name in self.busy:
            raise InferenceServerException("it is currently in use")
        self.mapped.discard(name)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "FOLDER", tmp_path)
    return tmp_path


def shared(client, **settings) -> SharedMemory:
    return SharedMemory(client, TritonSettings(**settings))


def test_arrays_lie_one_behind_the_other_and_outlive_the_region():
    client = Mapping()
    with shared(client).region(room(12, 5)) as region:
        first, start = region.array((2, 3), np.int16)
        second, behind = region.array((5,), np.uint8)
        first[...] = 7
        second[...] = 9
        assert (start, behind) == (0, 64)
    assert (first == 7).all()
    assert (second == 9).all()


def test_a_region_is_gone_after_an_error(folder):
    client = Mapping()

    def fail():
        with shared(client).region(64) as region:
            assert client.mapped == {region.name}
            assert [path.name for path in folder.iterdir()] == [region.name]
            raise RuntimeError("the request failed")

    with pytest.raises(RuntimeError, match="the request failed"):
        fail()
    assert not client.mapped
    assert not list(folder.iterdir())


@pytest.mark.parametrize("settings", [{"grpc_url": "elsewhere:8001"}, {"shared_memory": "never"}])
def test_elsewhere_and_when_told_so_volumes_go_over_grpc(folder, settings):
    with shared(Mapping(), **settings).region(64) as region:
        assert region is None
    assert not list(folder.iterdir())


def test_a_triton_that_cannot_map_it_gets_volumes_over_grpc(folder):
    with shared(Mapping(refuses=True)).region(64) as region:
        assert region is None
    assert not list(folder.iterdir())


def test_memory_that_is_short_is_no_failure(monkeypatch, folder):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with shared(Mapping()).region(64) as region:
        assert region is None
    assert not list(folder.iterdir())


def test_what_a_killed_process_left_goes_and_what_a_living_one_uses_stays(folder):
    dead, living, gone, others = (f"{PREFIX}dead", f"{PREFIX}living", f"{PREFIX}gone", "others")
    for name in (dead, living, others):
        (folder / name).touch()
    client = Mapping(known=(dead, living, gone, others))
    with (folder / living).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with shared(client).region(64):
            pass
    assert {path.name for path in folder.iterdir()} == {living, others}
    assert client.mapped == {living, others}


def test_what_triton_still_uses_is_given_back_later(folder):
    client = Mapping()
    regions = shared(client)
    with regions.region(64) as region:
        client.busy.add(region.name)
    assert client.mapped == {region.name}
    assert not list(folder.iterdir())
    client.busy.clear()
    with regions.region(64):
        pass
    assert not client.mapped


def test_a_triton_that_holds_too_much_gets_no_more(monkeypatch):
    monkeypatch.setattr(memory, "_MOST_KEPT", 0)
    client = Mapping()
    regions = shared(client)
    with regions.region(64) as region:
        client.busy.add(region.name)
    with regions.region(64) as another:
        assert another is None
