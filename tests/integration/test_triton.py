"""A real Triton: what it finds, and how each way of failing is told."""

import asyncio
import io
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tritonclient.grpc import InferenceServerClient

from gateways.inference import memory
from gateways.inference.contract import identity
from gateways.inference.repository import CONFIGURATIONS, digest_of, stamp
from gateways.inference.server import TritonServer
from gateways.inference.settings import TritonSettings
from gateways.inference.trial import trial_volume
from gateways.inference.triton import TritonInference
from gateways.objects import FileStore
from schemas.failures import NotInstalled, Unavailable, Unreadable
from schemas.manifest import Instance, Manifest
from sinsok.commands.models import command
from sinsok.errors import UsageError, UserError
from sinsok.phantom import Case, build
from sinsok.stack import probe
from tests.fakes import series
from tests.stack import CHECKOUT, Triton, free_port, wait_until

pytestmark = pytest.mark.integration

REAL = Path(os.environ.get("SINSOK_SHARED", CHECKOUT.parent / "shared")) / "cases" / "rsna2019_ich_ID_fff502d5"
BRIGHT = CHECKOUT / "tests" / "models" / "bright"

ODD = {
    "raises": "raise ValueError('the first line\\nthe second')",
    "sleeps": "import time; time.sleep(5)",
    "dies": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "turns_axes": "return pb.InferenceResponse([pb.Tensor('LABELS', np.zeros(volume.shape[::-1], np.uint8)),"
    " pb.Tensor('SCORES', np.zeros(1, np.float32))])",
}
"""Models that keep the contract in their configuration and break it when they are asked."""
PRIORITIES = """
dynamic_batching {
  priority_levels: 2
  default_priority_level: 2
  default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 3600000000 allow_timeout_override: true }
}
"""
MAPS = (
    "return pb.InferenceResponse([pb.Tensor('LABELS', (volume > 500).astype(np.uint8)),"
    " pb.Tensor('PROBABILITY', np.full(volume.shape, 7, np.uint8)),"
    " pb.Tensor('SCORES', np.ones(1, np.float32))])"
)


def stored_series(store, files):
    """A series of (SOP Instance UID, file)."""
    instances = tuple(
        Instance(sop_uid=uid, sop_class="CT", transfer_syntax="1", stored=store.put(content, "instances", ".dcm"))
        for uid, content in files
    )
    manifest = Manifest(site="suwon", study_uid="1.2", series_uid="1.2.3", instances=instances)
    return series(manifest=store.put(manifest.model_dump_json().encode(), "manifests", ".json"))


def phantom(store, case):
    study = build(case, seed=0)
    files = []
    for ds in study.datasets:
        content = io.BytesIO()
        ds.save_as(content, enforce_file_format=True)
        files.append((str(ds.SOPInstanceUID), content.getvalue()))
    return study, stored_series(store, files)


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "objects")


def read(settings, store, one, name, times=1):
    """The last of several attempts to read a series."""

    async def ask():
        port = TritonInference(settings, store)
        model = await port.identify(name, "1")
        for _ in range(times - 1):
            with pytest.raises(Unavailable):
                await port.read("suwon", "1.2", one, model)
            await asyncio.to_thread(wait_until, lambda: ready(settings, name), seconds=60)
        return await port.read("suwon", "1.2", one, model)

    return asyncio.run(ask())


def ready(settings, name):
    assert TritonServer(settings).state(name, "1") == "READY"


def test_a_bleed_is_found_where_it_is(triton, store):
    study, one = phantom(store, Case.IPH)
    reading = read(TritonSettings(grpc_url=triton.grpc), store, one, "ich_hyperdensity")
    finding = reading.findings[0]
    assert finding.volume_ml == pytest.approx(study.truth.volume_ml, rel=0.35)
    assert finding.centroid_mm == pytest.approx(study.truth.centroid_mm, abs=4)
    key = [str(ds.SOPInstanceUID) for ds in study.datasets].index(finding.key_instance_uid)
    assert study.truth.labels[key].any()
    assert finding.probability > 0.9
    assert set(reading.seconds) == {"load", "gate", "infer", "measure"}
    with np.load(store.path(reading.label_map)) as kept:
        assert kept["labels"].dtype == np.uint8
        assert kept["affine"].shape == (4, 4)
        assert kept["sop_uids"][key] == finding.key_instance_uid
        overlap = (kept["labels"] > 0) & (study.truth.labels > 0)
        assert overlap.sum() > 0.7 * (study.truth.labels > 0).sum()


@pytest.mark.parametrize(("case", "refused"), [(Case.NEGATIVE, None), (Case.CHEST, "no head in the field of view")])
def test_where_no_blood_is_none_is_found_and_what_is_no_head_is_refused(triton, store, case, refused):
    _, one = phantom(store, case)
    reading = read(TritonSettings(grpc_url=triton.grpc), store, one, "ich_hyperdensity")
    assert reading.findings == ()
    assert reading.refused == refused or reading.refused.startswith(refused)


@pytest.mark.skipif(not REAL.exists(), reason=f"the real case is not at {REAL}")
def test_the_real_bleed_is_found(triton, store):
    files = [(path.stem, path.read_bytes()) for path in REAL.glob("*.dcm")]
    reading = read(TritonSettings(grpc_url=triton.grpc), store, stored_series(store, files), "ich_hyperdensity")
    reference = np.load(REAL.with_name(f"{REAL.name}_blast_ct_model1_f32.npz"))["labels"]
    blood = np.isin(reference, (1, 2, 4))
    with np.load(store.path(reading.label_map)) as kept:
        key = kept["sop_uids"].tolist().index(reading.findings[0].key_instance_uid)
        found = kept["labels"] > 0
    assert (found[key] & blood[key]).sum() > 200
    assert (found & blood).sum() > 0.5 * blood.sum()


def test_a_server_that_is_away_is_a_passing_failure(store):
    settings = TritonSettings(grpc_url=f"127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="does not answer"):
        read(settings, store, series(), "ich_hyperdensity")


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A Triton whose models misbehave, each in its way."""
    home = tmp_path_factory.mktemp("odd")
    repository = home / "models"
    config, code = (BRIGHT / "config.pbtxt").read_text(), (BRIGHT / "1" / "model.py").read_text()
    place = "        labels ="
    for name, deed in {**ODD, "half": "pass", "queues": "import time; time.sleep(1)", "maps": MAPS}.items():
        shutil.copytree(BRIGHT, repository / name, ignore=shutil.ignore_patterns("configs", "__pycache__"))
        (repository / name / "config.pbtxt").write_text(config.replace('"bright"', f'"{name}"', 1))
        (repository / name / "1" / "model.py").write_text(code.replace(place, f"        {deed}\n{place}"))
    half = repository / "half" / "config.pbtxt"
    half.write_text(half.read_text().replace("SCORES", "SCORE"))
    queues = repository / "queues" / "config.pbtxt"
    queues.write_text(queues.read_text() + PRIORITIES)
    maps = repository / "maps" / "config.pbtxt"
    probability = '{ name: "PROBABILITY" data_type: TYPE_UINT8 dims: [ -1, -1, -1 ] },'
    maps.write_text(maps.read_text().replace('{ name: "SCORES"', f'{probability} {{ name: "SCORES"'))
    altered = repository / "ich_hyperdensity"
    shutil.copytree(CHECKOUT / "triton_models" / "ich_hyperdensity", altered)
    with (altered / "labels.txt").open("a") as labels:
        labels.write("another\n")
    server = Triton(home, repository)
    server.start(wait=False)
    try:
        wait_until(server.part.alive)
        yield server
    finally:
        server.kill()


@pytest.fixture
def tiny(store):
    """A small series that any model can be shown."""
    return phantom_of_a_few_slices(store)


def phantom_of_a_few_slices(store):
    study = build(Case.NEGATIVE, seed=0, slices=3)
    files = []
    for ds in study.datasets:
        content = io.BytesIO()
        ds.save_as(content, enforce_file_format=True)
        files.append((str(ds.SOPInstanceUID), content.getvalue()))
    return stored_series(store, files)


def test_a_series_over_which_the_model_raises_is_given_up_in_the_end(odd, store, tiny):
    with pytest.raises(Unreadable, match=r"given up after 3 failures .* model raises version 1 .* failed") as failure:
        read(TritonSettings(grpc_url=odd.grpc), store, tiny, "raises", times=3)
    assert "\n" not in str(failure.value)


def test_an_answer_of_another_shape_breaks_the_contract(odd, store, tiny):
    with pytest.raises(Unreadable, match="breaks the contract: LABELS is uint8"):
        read(TritonSettings(grpc_url=odd.grpc), store, tiny, "turns_axes")


def test_a_configuration_that_breaks_the_contract(odd, store, tiny):
    with pytest.raises(Unreadable, match="model half breaks the contract: output SCORES is missing"):
        read(TritonSettings(grpc_url=odd.grpc), store, tiny, "half")


def test_a_slow_model_is_a_passing_failure(odd, store, tiny):
    with pytest.raises(Unavailable, match=r"gave no answer in time"):
        read(TritonSettings(grpc_url=odd.grpc, timeout_s=0.5), store, tiny, "sleeps")


def test_a_series_over_which_the_model_dies_is_given_up_in_the_end(odd, store, tiny):
    with pytest.raises(Unreadable, match="given up after 3 failures over this series"):
        read(TritonSettings(grpc_url=odd.grpc, timeout_s=10), store, tiny, "dies", times=3)


def test_a_model_with_other_files_than_stated_does_not_load(odd, store, tiny):
    with pytest.raises(Unavailable, match=r"not ready: UNAVAILABLE .*its configuration says"):
        read(TritonSettings(grpc_url=odd.grpc), store, tiny, "ich_hyperdensity")


def test_a_model_that_does_not_load_is_not_waited_for_for_ever(odd, store, tiny):
    with pytest.raises(Unreadable, match=r"not ready: UNAVAILABLE .*its configuration says"):
        read(TritonSettings(grpc_url=odd.grpc, load_patience_s=0), store, tiny, "ich_hyperdensity")


async def read_when_back(port, one, model):
    """As a hop does: again while the failure may pass."""
    for _ in range(50):
        try:
            return await port.read("suwon", "1.2", one, model)
        except Unavailable:
            await asyncio.sleep(0.2)
    raise AssertionError("Triton did not come back")


def test_a_killed_server_is_away_and_then_back(tmp_path, store, tiny):
    with Triton(tmp_path / "triton", BRIGHT.parent) as server:
        settings = TritonSettings(grpc_url=server.grpc)

        async def ask():
            port = TritonInference(settings, store)
            model = await port.identify("bright", "1")
            server.kill()
            with pytest.raises(Unavailable):
                await port.read("suwon", "1.2", tiny, model)
            server.start()
            return await read_when_back(port, tiny, model)

        assert asyncio.run(ask()).content == tiny.manifest.digest


def test_a_server_killed_over_a_series_reads_it_when_it_is_back(tmp_path, store, tiny):
    with Triton(tmp_path / "triton", BRIGHT.parent) as server:
        settings = TritonSettings(grpc_url=server.grpc)

        async def ask():
            port = TritonInference(settings, store)
            model = await port.identify("slow", "1")
            reading = asyncio.create_task(port.read("suwon", "1.2", tiny, model))
            await asyncio.sleep(1)
            server.kill()
            with pytest.raises(Unavailable, match="went away"):
                await reading
            await asyncio.to_thread(server.start)
            return await read_when_back(port, tiny, model)

        assert asyncio.run(ask()).content == tiny.manifest.digest
    assert not regions()


def test_an_unloaded_model_is_a_passing_failure_and_one_never_loaded_is_not_installed(tmp_path, store, tiny):
    with Triton(tmp_path / "triton", BRIGHT.parent) as server:
        settings = TritonSettings(grpc_url=server.grpc)
        operator = InferenceServerClient(server.grpc)
        operator.unload_model("bright")
        with pytest.raises(Unavailable, match="not ready: UN"):
            read(settings, store, tiny, "bright")
        operator.load_model("bright")
        assert read(settings, store, tiny, "bright").content == tiny.manifest.digest
        with pytest.raises(NotInstalled, match="no model nothing version 1"):
            read(settings, store, tiny, "nothing")


def test_a_model_without_its_files_does_not_keep_others_from_serving(tmp_path, store, tiny):
    repository = tmp_path / "models"
    shutil.copytree(BRIGHT, repository / "bright")
    shutil.copytree(BRIGHT, repository / "weighty")
    needs = 'parameters { key: "sinsok_installed_files" value: { string_value: "a.npz" } }'
    for config in (repository / "weighty").rglob("*.pbtxt"):
        config.write_text(config.read_text().replace('"bright"', '"weighty"', 1) + needs)
    with Triton(tmp_path / "triton", repository) as server:
        settings = TritonSettings(grpc_url=server.grpc)
        assert read(settings, store, tiny, "bright").content == tiny.manifest.digest
        with pytest.raises(NotInstalled, match="weighty version 1 was not loaded by Triton"):
            read(settings, store, tiny, "weighty")


@pytest.fixture(autouse=True)
def own_regions(monkeypatch):
    """A prefix of this run's own: the machine's folder is shared with whoever else is reading."""
    monkeypatch.setattr(memory, "PREFIX", f"sinsok-volume-{os.getpid()}-")


def regions():
    """The regions of this run."""
    return list(memory.FOLDER.glob(f"{memory.PREFIX}*"))


def mapped(address):
    return InferenceServerClient(address).get_system_shared_memory_status().regions


@pytest.mark.parametrize("name", ["queues", "maps"])
def test_shared_memory_gives_the_answer_that_grpc_gives(odd, monkeypatch, name):
    volume, registered = trial_volume(), []
    real = InferenceServerClient.register_system_shared_memory

    def register(self, *arguments, **keywords):
        registered.append(arguments)
        return real(self, *arguments, **keywords)

    monkeypatch.setattr(InferenceServerClient, "register_system_shared_memory", register)
    answers = []
    for how in ("never", "auto"):
        server = TritonServer(TritonSettings(grpc_url=odd.grpc, shared_memory=how))
        model = identity(server.configuration(name, "1"), "1")
        answers.append(server.infer(model, volume))
        assert len(registered) == ["never", "auto"].index(how)
    over_grpc, shared = answers
    assert np.array_equal(over_grpc.labels, shared.labels)
    assert shared.labels.any()
    assert np.array_equal(over_grpc.scores, shared.scores)
    assert [one.probability is None for one in answers] == [name != "maps"] * 2
    assert name != "maps" or (shared.probability == 7).all()
    assert not mapped(odd.grpc)
    assert not regions()


def test_a_region_that_triton_lost_costs_no_result(odd, store, tiny, monkeypatch):
    monkeypatch.setattr(InferenceServerClient, "register_system_shared_memory", lambda *_, **__: None)
    reading = read(TritonSettings(grpc_url=odd.grpc), store, tiny, "queues")
    assert reading.content == tiny.manifest.digest
    assert not regions()


def test_a_region_of_a_request_that_was_given_up_goes_when_triton_is_through_with_it(odd):
    server = TritonServer(TritonSettings(grpc_url=odd.grpc, timeout_s=0.5))
    model = identity(server.configuration("sleeps", "1"), "1")
    with pytest.raises(Unavailable, match="gave no answer"):
        server.infer(model, trial_volume())
    assert not regions()
    assert len(mapped(odd.grpc)) == 1

    def swept():
        with server._memory.region(64):
            pass
        assert not mapped(odd.grpc)

    wait_until(swept)


def test_an_urgent_series_is_next_however_many_routine_ones_wait(odd, store, tiny):
    done = []

    async def ask():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(12))
        settings = TritonSettings(grpc_url=odd.grpc, concurrency=10)
        confirming, reading = TritonInference(settings, store), TritonInference(settings, store)
        model = await reading.identify("queues", "1")

        async def show(port, name, *, urgent):
            await port.read("suwon", "1.2", tiny, model, urgent=urgent)
            done.append(name)

        routine = [asyncio.create_task(show(confirming, n, urgent=False)) for n in range(10)]
        await asyncio.to_thread(wait_until, lambda: pending(odd, "queues", 9), seconds=30, every_s=0.02)
        before = len(done)
        await show(reading, "urgent", urgent=True)
        # The one that was being read comes first, no other.
        assert done.index("urgent") <= before + 1
        await asyncio.gather(*routine)

    asyncio.run(ask())
    assert len(done) == 11


def pending(server, model, count):
    lines = probe.get(server.metrics, "/metrics").splitlines()
    (line,) = [one for one in lines if one.startswith("nv_inference_pending_request_count{") and f'"{model}"' in one]
    assert float(line.split()[-1]) >= count


def models_command(monkeypatch, repository, grpc, *arguments):
    monkeypatch.setenv("SINSOK_TRITON__GRPC_URL", grpc)
    monkeypatch.setenv("SINSOK_MODEL_REPOSITORY", str(repository))
    return CliRunner().invoke(command, arguments)


def test_check_finds_our_model_good(monkeypatch, triton):
    result = models_command(monkeypatch, CHECKOUT / "triton_models", triton.grpc, "check", "ich_hyperdensity")
    assert result.exit_code == 0
    assert result.output.startswith("ich_hyperdensity version 1: keeps the contract; answers phantom iph 0 as recorded")


@pytest.fixture
def upgraded(tmp_path, monkeypatch):
    """A Triton that serves version 1 of ``bright``; version 2 came to its folder since. The routes read with 1."""
    model = tmp_path / "models" / "bright"
    shutil.copytree(BRIGHT, model)
    with Triton(tmp_path / "triton", model.parent) as server:
        shutil.copytree(model / "1", model / "2")
        (model / "2" / "model.py").write_text((model / "2" / "model.py").read_text() + "# newer\n")
        for path in (model / name for name in CONFIGURATIONS):
            text = path.read_text().replace("sinsok_digest_1", "sinsok_digest_2")
            (digest,) = (line for line in text.splitlines() if "sinsok_digest_2" in line)
            path.write_text(f"{path.read_text()}{digest}\nversion_policy {{ specific {{ versions: [ 1, 2 ] }} }}\n")
        stamp(model, "2")
        configuration = tmp_path / "sinsok.toml"
        routes = '[[routes]]\nmodel = "bright" # ours\nversion = "1"\n'
        configuration.write_text(f'[sites.suwon]\ncalled_ae = "SUWON_AI"\n\n{routes}')
        monkeypatch.setenv("SINSOK_CONFIG", str(configuration))
        yield server, model, configuration


def test_a_version_is_taken_into_use_and_back_with_one_command(upgraded, monkeypatch):
    server, model, configuration = upgraded
    before = configuration.read_text()

    def use(version):
        return models_command(monkeypatch, model.parent, server.grpc, "use", f"bright@{version}")

    result = use("2")
    assert result.exception is None
    assert "the routes read with bright@2, before with version 1" in result.output
    assert configuration.read_text() == before.replace('version = "1"', 'version = "2"')
    client = TritonServer(TritonSettings(grpc_url=server.grpc))
    newer = identity(client.configuration("bright", "2"), "2")
    assert newer.digest == digest_of(model, "2") != digest_of(model, "1")
    assert client.infer(newer, trial_volume()).scores.shape == (1,)
    assert "already" in use("2").output
    assert use("1").exit_code == 0
    assert configuration.read_text() == before
    assert isinstance(use("3").exception, UsageError)


def test_a_version_that_does_not_load_changes_nothing(upgraded, monkeypatch):
    server, model, configuration = upgraded
    before = configuration.read_text()
    (model / "2" / "model.py").write_text("raise RuntimeError('made for another machine')\n")
    stamp(model, "2")
    result = models_command(monkeypatch, model.parent, server.grpc, "use", "bright@2")
    assert isinstance(result.exception, UserError)
    assert "the routes stay as they are" in str(result.exception)
    assert configuration.read_text() == before
    client = TritonServer(TritonSettings(grpc_url=server.grpc))
    assert client.infer(identity(client.configuration("bright", "1"), "1"), trial_volume()).scores.shape == (1,)


def test_an_answer_that_changed_is_named(triton, monkeypatch, tmp_path):
    repository = tmp_path / "models"
    shutil.copytree(CHECKOUT / "triton_models" / "ich_hyperdensity", repository / "ich_hyperdensity")
    file = repository / "ich_hyperdensity" / "reference.json"
    stored = json.loads(file.read_text())
    stored["versions"]["1"]["haemorrhage"]["volume_ml"] += 3
    file.write_text(json.dumps(stored))
    result = models_command(monkeypatch, repository, triton.grpc, "check", "ich_hyperdensity")
    assert isinstance(result.exception, UserError)
    assert "answers phantom iph 0 otherwise than recorded: haemorrhage: was" in result.output
    assert models_command(monkeypatch, repository, triton.grpc, "check", "ich_hyperdensity", "--record").exit_code == 0
    assert (
        json.loads(file.read_text())["versions"]
        == json.loads((CHECKOUT / "triton_models" / "ich_hyperdensity" / "reference.json").read_text())["versions"]
    )


def test_check_names_each_fault_and_fails(monkeypatch, odd, tmp_path):
    repository = Path(odd.part.command[1].removeprefix("--model-repository="))
    result = models_command(monkeypatch, repository, odd.grpc, "check")
    assert isinstance(result.exception, UserError)
    for line in (
        "half version 1: config.pbtxt: output SCORES is missing",
        "raises version 1: config.pbtxt: the files are not those of its digest",
        "ich_hyperdensity version 1: config.pbtxt: the files are not those of its digest",
    ):
        assert line in result.output


def test_list_shows_state_and_licence(monkeypatch, triton):
    result = models_command(monkeypatch, CHECKOUT / "triton_models", triton.grpc, "list")
    assert "ich_hyperdensity version 1: READY" in result.output
    assert "Apache-2.0" in result.output


def test_list_works_while_triton_is_away(monkeypatch):
    result = models_command(monkeypatch, CHECKOUT / "triton_models", f"127.0.0.1:{free_port()}", "list", "--json")
    assert result.exit_code == 0
    assert "does not answer" in result.output


def test_an_unknown_model_is_wrong_usage(monkeypatch):
    result = models_command(monkeypatch, CHECKOUT / "triton_models", "127.0.0.1:1", "install", "nope")
    assert isinstance(result.exception, UsageError)
    assert re.search(r"it holds .*ich_hyperdensity", str(result.exception))
