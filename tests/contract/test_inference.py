"""What every Inference does, the fake one and Triton with a real model."""

import asyncio
import io
from collections.abc import Awaitable, Callable

import pytest

from gateways.inference.settings import TritonSettings
from gateways.inference.triton import TritonInference
from gateways.objects import FileStore
from schemas.failures import Unreadable
from schemas.manifest import Instance, Manifest
from sinsok.phantom import Case, build
from tests.fakes import FakeModels, series

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def bleed(tmp_path_factory):
    """A store with a head that bleeds, and its series."""
    store = FileStore(tmp_path_factory.mktemp("objects"))
    instances = []
    for ds in build(Case.IPH, seed=0).datasets:
        content = io.BytesIO()
        ds.save_as(content, enforce_file_format=True)
        stored = store.put(content.getvalue(), "instances", ".dcm")
        instances.append(
            Instance(sop_uid=ds.SOPInstanceUID, sop_class=ds.SOPClassUID, transfer_syntax="1", stored=stored)
        )
    manifest = Manifest(site="suwon", study_uid="1.2", series_uid="1.2.3", instances=tuple(instances))
    return store, series(manifest=store.put(manifest.model_dump_json().encode(), "manifests", ".json"))


@pytest.fixture(params=["fake", pytest.param("triton", marks=pytest.mark.integration)])
def models(request, bleed) -> tuple[Callable[[], object], str]:
    """Makes the port inside the running loop, and names a model it has."""
    if request.param == "fake":
        return lambda: FakeModels("ich_hyperdensity"), "ich_hyperdensity"
    triton = request.getfixturevalue("triton")
    return lambda: TritonInference(TritonSettings(grpc_url=triton.grpc), bleed[0]), "ich_hyperdensity"


def with_port(models, use: Callable[..., Awaitable[object]]):
    make, name = models

    async def run():
        return await use(make(), name)

    return asyncio.run(run())


def test_a_model_says_who_it_is(models):
    async def identify(port, name):
        return await port.identify(name, "1")

    model = with_port(models, identify)
    assert (model.name, model.version, model.device) == ("ich_hyperdensity", "1", "cpu")
    assert [str(row.code) for row in model.classes] == ["SCT:1386000"]


@pytest.mark.parametrize(("name", "version"), [("no_such_model", "1"), ("ich_hyperdensity", "9")])
def test_what_is_not_there_is_unreadable(models, name, version):
    async def identify(port, _):
        return await port.identify(name, version)

    with pytest.raises(Unreadable, match=f"no model {name} version {version}"):
        with_port(models, identify)


def test_a_reading_answers_for_its_series_and_names_its_model(models, bleed):
    _, one = bleed

    async def read(port, name):
        model = await port.identify(name, "1")
        return model, await port.read("suwon", "1.2", one, model)

    model, reading = with_port(models, read)
    assert reading.content == one.manifest.digest
    assert (reading.provenance.model, reading.provenance.digest) == (model.name, model.digest)
    assert reading.findings
    assert {finding.series_uid for finding in reading.findings} == {one.series_uid}
    assert set(reading.scores) == {str(row.code) for row in model.classes}


def test_the_same_series_gives_the_same_findings(models, bleed):
    _, one = bleed

    async def read(port, name):
        model = await port.identify(name, "1")
        return [(await port.read("suwon", "1.2", one, model)).findings for _ in range(2)]

    first, again = with_port(models, read)
    assert first == again
