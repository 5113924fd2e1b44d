import errno
import os
from hashlib import sha256

import pytest

from gateways.objects import FileStore, write_first
from schemas.base import ObjectRef
from schemas.failures import Unavailable, Unreadable


def test_what_is_put_is_read_back_and_named_by_its_content(tmp_path):
    store = FileStore(tmp_path)
    ref = store.put(b"abc", "manifests/suwon", ".json")
    assert ref.digest == f"sha256:{sha256(b'abc').hexdigest()}"
    assert ref.size_bytes == 3
    assert store.read(ref) == b"abc"
    assert store.path(ref).parent == tmp_path / "manifests" / "suwon"


def test_putting_the_same_again_changes_nothing(tmp_path):
    store = FileStore(tmp_path)
    ref = store.put(b"abc", "x", ".bin")
    before = store.path(ref).stat()
    assert store.put(b"abc", "x", ".bin") == ref
    assert store.path(ref).stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in (tmp_path / "x").iterdir()] == [store.path(ref).name]


def test_names_with_spaces_and_letters_of_any_script_survive_the_uri(tmp_path):
    store = FileStore(tmp_path / "스토어 #1%")
    assert store.read(store.put(b"x", "a b", ".bin")) == b"x"


def test_an_object_that_is_gone_from_its_store_will_not_come_back(tmp_path):
    store = FileStore(tmp_path)
    ref = store.put(b"abc", "x", ".bin")
    store.path(ref).unlink()
    with pytest.raises(Unreadable, match="not there"):
        store.read(ref)


def test_a_store_that_is_away_may_come_back(tmp_path):
    store = FileStore(tmp_path / "mounted")
    ref = store.put(b"abc", "x", ".bin")
    store.root.rename(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="not there"):
        store.read(ref)


def test_an_empty_mount_point_is_a_store_that_is_away(tmp_path):
    store = FileStore(tmp_path / "mounted")
    ref = store.put(b"abc", "x", ".bin")
    store.root.rename(tmp_path / "elsewhere")
    store.root.mkdir()
    with pytest.raises(Unavailable, match="not there"):
        store.read(ref)
    (store.root / "journal").mkdir()
    with pytest.raises(Unreadable, match="not there"):
        store.read(ref)


def test_a_damaged_object_will_not(tmp_path):
    store = FileStore(tmp_path)
    ref = store.put(b"abc", "x", ".bin")
    store.path(ref).write_bytes(b"abd")
    with pytest.raises(Unreadable, match="not those of"):
        store.read(ref)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "s3://bucket/x",
        "file://{root}/../outside",
        "file://host{root}/x",
        "file://{root}/%2e%2e/x",
    ],
)
def test_nothing_outside_the_store_is_read(tmp_path, uri):
    ref = ObjectRef(uri=uri.format(root=tmp_path), digest="sha256:" + 64 * "0", size_bytes=1)
    with pytest.raises(Unreadable, match="not in the object store"):
        FileStore(tmp_path).read(ref)


@pytest.mark.parametrize(("folder", "suffix"), [("../x", ".bin"), ("/etc", ".bin"), ("x", "/../../../y")])
def test_nothing_outside_the_store_is_written(tmp_path, folder, suffix):
    with pytest.raises(ValueError, match="not in the object store"):
        FileStore(tmp_path / "store").put(b"x", folder, suffix)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_what_is_written_first_stays_also_where_the_file_system_has_no_links(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*_):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)
    place = tmp_path / "deep" / "answer"
    assert write_first(place, b"first")
    assert not write_first(place, b"second")
    assert place.read_bytes() == b"first"
    assert list(place.parent.iterdir()) == [place], "and nothing half-written beside it"
