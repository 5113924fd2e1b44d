"""BLAST-CT's weights come into the repository from a folder or an address, or one line says why not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from gateways.inference.repository import (
    configuration,
    digest_of,
    installed_files,
    missing_files,
    parameter,
    set_parameter,
    stamp,
    stated_digest,
)
from gateways.inference.weights import blast_ct
from gateways.inference.weights.blast_ct import install
from schemas.failures import PortFailure, Unavailable, Unreadable
from tests.unit.gateways.inference.weights.legacy_file import call, holding, named, several, state_dict, text
from tests.unit.gateways.inference.weights.published import file_of, publish, repository, tensors

FILES = {"blast_ct": "member_1.npz member_1.onnx", "blast_ct_ensemble": "member_1.npz member_2.npz"}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return repository(tmp_path / "triton_models", **FILES)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what stands in for the published files of two members."""
    monkeypatch.setattr(blast_ct, "DIGESTS", publish(tmp_path / "weights", 1, 2))
    return tmp_path / "weights"


def installed(models: Path) -> list[str]:
    return sorted(path.relative_to(models).as_posix() for path in models.rglob("*") if path.suffix in (".npz", ".onnx"))


def nothing_changed(models: Path) -> bool:
    return {path.name for path in models.rglob("*") if path.is_file()} == {"config.pbtxt", "model.py"}


def test_each_model_gets_what_its_configuration_lists(models: Path, folder: Path) -> None:
    assert install(models, folder, "sinsok 1") == {
        "blast_ct": ["1/member_1.npz", "1/member_1.onnx"],
        "blast_ct_ensemble": ["1/member_1.npz", "1/member_2.npz"],
    }
    assert installed(models) == [
        "blast_ct/1/member_1.npz",
        "blast_ct/1/member_1.onnx",
        "blast_ct_ensemble/1/member_1.npz",
        "blast_ct_ensemble/1/member_2.npz",
    ]
    with np.load(models / "blast_ct_ensemble" / "1" / "member_2.npz", allow_pickle=False) as read:
        for name, array in tensors(2).items():
            assert read[name].tobytes() == array.tobytes()


def test_the_note_says_from_where_and_what(models: Path, folder: Path) -> None:
    install(models, folder, "sinsok 1")
    told = json.loads((models / "blast_ct_ensemble" / "provenance.json").read_text())
    assert told["commit"] in told["source"]
    assert told["licence"] == "Apache-2.0"
    assert told["source_files"] == {f"model_{member}.pt": f"sha256:{blast_ct.DIGESTS[member]}" for member in (1, 2)}
    assert sorted(told["installed_files"]) == ["1/member_1.npz", "1/member_2.npz"]
    assert told["installed_by"] == "sinsok 1"
    assert told["installed_at"].endswith("+00:00")
    assert str(folder) not in json.dumps(told)


def test_the_digest_of_a_model_depends_on_the_weights_alone(tmp_path: Path, folder: Path) -> None:
    digests = []
    for name in ("here", "there"):
        models = repository(tmp_path / name, **FILES)
        install(models, folder, f"sinsok {name}")
        digests.append([stamp(models / model, "1") for model in FILES])
    assert digests[0] == digests[1]


def test_what_is_installed_is_left_alone_and_needs_no_source(models: Path, folder: Path, tmp_path: Path) -> None:
    install(models, folder, "sinsok 1")
    for model in FILES:
        stamp(models / model, "1")
    before = (models / "blast_ct" / "provenance.json").read_bytes()
    assert install(models, tmp_path / "nowhere", "sinsok 2") == {"blast_ct": [], "blast_ct_ensemble": []}
    assert (models / "blast_ct" / "provenance.json").read_bytes() == before


def test_a_model_that_lacks_a_file_is_completed(models: Path, folder: Path) -> None:
    install(models, folder, "sinsok 1")
    for model in FILES:
        stamp(models / model, "1")
    (models / "blast_ct_ensemble" / "1" / "member_2.npz").unlink()
    assert [name for name, files in install(models, folder, "sinsok 1").items() if files] == ["blast_ct_ensemble"]
    assert missing_files(models / "blast_ct_ensemble", "1") == []


def test_the_ensemble_may_have_more_members_and_fewer_again(
    models: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blast_ct, "DIGESTS", publish(folder, 1, 2, 3))
    ensemble = models / "blast_ct_ensemble"
    install(models, folder, "sinsok 1")
    stamp(models / "blast_ct", "1")
    digests = []
    for count in (3, 2):
        written = install(models, folder, "sinsok 1", count)["blast_ct_ensemble"]
        expected = [f"member_{member}.{form}" for member in range(1, count + 1) for form in ("npz", "onnx")]
        assert written == [f"1/{name}" for name in expected]
        assert installed_files(ensemble) == expected
        assert {path.name for path in (ensemble / "1").glob("member_*")} == set(expected)
        config = configuration(ensemble / "config.pbtxt")
        assert parameter(config, "sinsok_source").endswith(f"the mean of {count} members")
        assert stated_digest(config, "1") == digest_of(ensemble, "1")
        assert install(models, folder / "nowhere", "sinsok 1", count)["blast_ct_ensemble"] == []
        digests.append(digest_of(ensemble, "1"))
    assert digests[0] != digests[1]


def test_a_resize_that_was_cut_off_is_completed_by_the_same_command(models: Path, folder: Path) -> None:
    ensemble = models / "blast_ct_ensemble"
    install(models, folder, "sinsok 1", 2)
    set_parameter(ensemble, "sinsok_digest_1", f"sha256:{'0' * 64}")
    install(models, folder, "sinsok 1", 2)
    assert stated_digest(configuration(ensemble / "config.pbtxt"), "1") == digest_of(ensemble, "1")


@pytest.mark.parametrize(("members", "said"), [(2, "with --members 2$"), (None, "then install it again$")])
def test_what_to_do_when_the_disk_refuses_in_the_end(
    models: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, members: int | None, said: str
) -> None:
    def refuse(model: Path, names: list[str]) -> None:
        raise OSError(28, "No space left on device", str(model))

    monkeypatch.setattr(blast_ct, "_leave_only", refuse)
    with pytest.raises(Unavailable, match=said):
        install(models, folder, "sinsok 1", members)


def test_members_that_cannot_be_had_leave_the_ensemble_as_it_is(models: Path, folder: Path) -> None:
    install(models, folder, "sinsok 1", 2)
    before = {path: path.read_bytes() for path in models.rglob("*") if path.is_file()}
    with pytest.raises(Unreadable, match=r"model_3\.pt: no such file"):
        install(models, folder, "sinsok 1", 3)
    assert {path: path.read_bytes() for path in models.rglob("*") if path.is_file()} == before


def test_a_digest_is_found_wrong_before_anything_is_read(
    models: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    monkeypatch.setattr(blast_ct, "read_state", read.append)
    (folder / "model_1.pt").write_bytes(holding(call(named("os", "system"), several(text("true")))))
    with pytest.raises(Unreadable, match=r"model_1\.pt: sha256 [0-9a-f]{64} is not that of the published file"):
        install(models, folder, "sinsok 1")
    assert read == []
    assert nothing_changed(models)


def test_a_file_cut_off_in_the_last_member_leaves_nothing(models: Path, folder: Path) -> None:
    (folder / "model_2.pt").write_bytes(file_of(2)[:-1])
    with pytest.raises(Unreadable, match=r"model_2\.pt: sha256"):
        install(models, folder, "sinsok 1")
    assert nothing_changed(models)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (holding(call(named("os", "system"), several(text("true")))), r"model_2\.pt: it asks for 'os\.system'"),
        (file_of(2)[:-1], r"model_2\.pt: storage '188' is cut off"),
        (state_dict({"w": np.zeros(1, "<f4")}), r"model_2\.pt: no weights of this network"),
    ],
)
def test_even_with_its_digest_a_file_must_hold_the_network(
    models: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    (folder / "model_2.pt").write_bytes(content)
    monkeypatch.setattr(blast_ct, "DIGESTS", {**blast_ct.DIGESTS, 2: blast_ct.sha256(content).hexdigest()})
    with pytest.raises(Unreadable, match=said):
        install(models, folder, "sinsok 1")
    assert nothing_changed(models)


def test_a_folder_without_the_files(models: Path, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"model_1\.pt: no such file"):
        install(models, tmp_path, "sinsok 1")
    assert nothing_changed(models)


def test_a_repository_without_the_models(tmp_path: Path) -> None:
    repository(tmp_path, other="member_1.npz")
    with pytest.raises(Unreadable, match="has no model blast_ct or blast_ct_ensemble"):
        install(tmp_path, tmp_path, "sinsok 1")


@pytest.mark.parametrize("files", ["member_13.npz", "member_0.npz", "member_1.pt", "weights.npz"])
def test_a_file_that_cannot_be_made(tmp_path: Path, folder: Path, files: str) -> None:
    models = repository(tmp_path / "models", blast_ct=files)
    with pytest.raises(Unreadable, match=f"no {files} can be made"):
        install(models, folder, "sinsok 1")


def test_a_configuration_that_lists_nothing(tmp_path: Path, folder: Path) -> None:
    models = repository(tmp_path / "models", blast_ct="")
    with pytest.raises(Unreadable, match="lists no sinsok_installed_files"):
        install(models, folder, "sinsok 1")


class Source:
    """Where the files are published, on this machine."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.asked.append(self.path)
                content = source.files.get(self.path)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Source]:
    source = Source()
    monkeypatch.setattr(blast_ct, "_RAW", source.address)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield source
    source.close()


def test_without_a_folder_the_files_are_fetched(models: Path, source: Source) -> None:
    source.files = {"/model_1.pt": file_of(1), "/model_2.pt": file_of(2)}
    install(models, None, "sinsok 1")
    assert source.asked == ["/model_1.pt", "/model_2.pt"]
    assert all(not missing_files(models / model, "1") for model in FILES)


@pytest.mark.parametrize(
    ("second", "kind", "said"),
    [
        (None, Unavailable, "cannot be fetched (Not Found)"),
        (b"<html>sign in</html>", Unreadable, "is not that of the published file"),
        (bytes((8 << 20) + 1), Unreadable, "is not that of the published file"),
    ],
)
def test_an_address_that_gives_something_else(
    models: Path, source: Source, second: bytes | None, kind: type[PortFailure], said: str
) -> None:
    source.files = {"/model_1.pt": file_of(1)} | ({"/model_2.pt": second} if second is not None else {})
    with pytest.raises(kind) as raised:
        install(models, None, "sinsok 1")
    assert said in str(raised.value)
    assert f"{source.address}/model_2.pt: " in str(raised.value)
    assert nothing_changed(models)


def test_without_a_network(models: Path, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    source.close()
    with pytest.raises(Unavailable) as raised:
        install(models, None, "sinsok 1")
    assert "cannot be fetched ([Errno 111] Connection refused); with the files in a folder, use --from" in str(
        raised.value
    )
    assert len(str(raised.value).splitlines()) == 1
    assert nothing_changed(models)


def test_the_address_is_that_of_the_pinned_commit() -> None:
    assert blast_ct._RAW.startswith("https://")
    assert f"/{blast_ct.COMMIT}/" in blast_ct._RAW
    assert len(blast_ct.DIGESTS) == len(set(blast_ct.DIGESTS.values())) == 12
