"""Another version of a model in a configuration file that people also edit."""

from pathlib import Path

import pytest

from sinsok.pins import pin

WRITTEN = """# What people wrote stays as it is.
[[routes]]
model = "quick" # the first
version = "1"
confirm = "five@1"
gate = { model = "scout@3", concept = "99SINSOK:X", max_score = 0.5 }

[[routes]]
model = "other"

[sites.suwon]
called_ae = "SUWON_AI"

[[sites.suwon.routes]]
model = "quick"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sinsok.toml"
    path.write_text(WRITTEN)
    return path


def test_every_route_of_the_model_reads_with_the_version_and_nothing_else_changes(file: Path) -> None:
    assert pin(file, "quick", "2") == (2, ("1",))
    expected = WRITTEN.replace('version = "1"', 'version = "2"')
    assert file.read_text() == expected.rstrip("\n") + '\nversion = "2"\n'


@pytest.mark.parametrize(("model", "before", "after"), [("five", "five@1", "five@4"), ("scout", "scout@3", "scout@4")])
def test_a_model_that_confirms_or_keeps_the_gate(file: Path, model: str, before: str, after: str) -> None:
    assert pin(file, model, "4") == (1, (before.partition("@")[2],))
    assert file.read_text() == WRITTEN.replace(before, after)


def test_who_may_read_the_file_and_a_link_to_it_stay(file: Path) -> None:
    file.chmod(0o640)
    link = file.with_name("link.toml")
    link.symlink_to(file)
    pin(link, "five", "2")
    assert link.is_symlink()
    assert (file.stat().st_mode & 0o777, "five@2" in file.read_text()) == (0o640, True)


def test_there_and_back(file: Path) -> None:
    pin(file, "five", "2")
    assert pin(file, "five", "1") == (1, ("2",))
    assert file.read_text() == WRITTEN


@pytest.mark.parametrize(("model", "version", "places"), [("nobody", "2", 0), ("five", "1", 1), ("quick", "1", 2)])
def test_where_there_is_nothing_to_change_the_file_is_not_touched(
    file: Path, model: str, version: str, places: int
) -> None:
    file.chmod(0o444)
    touched = file.stat().st_mtime_ns
    assert pin(file, model, version) == (places, ())
    assert file.stat().st_mtime_ns == touched
