"""Local accounts: how they are kept, and what they may do where."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateways.console.accounts import Accounts, Refused, rights
from gateways.console.settings import Grant
from schemas.audit import Role
from tests.unit.gateways.console.house import PASSWORD, SITES, grant


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path / "console" / "accounts.json", SITES)


def test_the_file_is_the_owners_alone_and_holds_no_password(accounts: Accounts) -> None:
    accounts.add("dr.kim", PASSWORD, grant(Role.RADIOLOGIST, "suwon"), "ko")
    assert stat.S_IMODE(accounts.place.stat().st_mode) == 0o600
    text = accounts.place.read_text()
    assert PASSWORD not in text
    assert "$argon2id$" in text
    found = accounts.check("dr.kim", PASSWORD)
    assert found is not None
    assert (found.name, found.rights, found.language) == ("dr.kim", {"suwon": {Role.RADIOLOGIST}}, "ko")


def test_another_process_changes_it_at_once(accounts: Accounts) -> None:
    accounts.add("dr.kim", PASSWORD, grant(Role.RADIOLOGIST, "suwon"))
    other = Accounts(accounts.place, SITES)
    assert other.user("dr.kim") is not None
    accounts.remove("dr.kim")
    assert other.user("dr.kim") is None
    assert other.check("dr.kim", PASSWORD) is None


@pytest.mark.parametrize(
    ("name", "password", "site", "why"),
    [
        ("dr.kim", "short", "suwon", "fewer than 10"),
        ("dr.kim", PASSWORD, "seoul", "no site seoul; sites are suwon, anseong"),
        ("dr kim", PASSWORD, "suwon", "a name has letters"),
        ("../kim", PASSWORD, "suwon", "a name has letters"),
    ],
)
def test_what_cannot_be_an_account_is_refused(
    accounts: Accounts, name: str, password: str, site: str, why: str
) -> None:
    with pytest.raises(Refused, match=why):
        accounts.add(name, password, grant(Role.RADIOLOGIST, site))
    assert not accounts.place.exists()


def test_a_broken_file_lets_nobody_in(accounts: Accounts) -> None:
    accounts.add("dr.kim", PASSWORD, grant(Role.RADIOLOGIST, "suwon"))
    accounts.place.write_text('{"dr.kim": {"password": ""}}')
    with pytest.raises(Refused, match="holds no accounts"):
        accounts.check("dr.kim", PASSWORD)


@pytest.mark.parametrize("fault", ["broken", "unreadable"])
def test_a_file_that_somebody_breaks_ends_nobodys_session(accounts: Accounts, fault: str) -> None:
    accounts.add("dr.kim", PASSWORD, grant(Role.RADIOLOGIST, "suwon"))
    before = accounts.user("dr.kim")
    assert accounts.complaints() == []
    if fault == "broken":
        accounts.place.write_text('{"dr.kim":')
    else:
        accounts.place.unlink()
        accounts.place.mkdir()
    assert accounts.user("dr.kim") == before
    assert accounts.check("dr.kim", PASSWORD) == before
    (complaint,) = accounts.complaints()
    assert "holds no accounts" in complaint
    assert "the accounts of before count" in complaint
    with pytest.raises(Refused, match="holds no accounts"):
        accounts.add("dr.lee", PASSWORD, grant(Role.RADIOLOGIST, "suwon"))


def test_a_new_password_is_another_seal(accounts: Accounts) -> None:
    seals = set()
    for password in (PASSWORD, PASSWORD + "!"):
        accounts.add("dr.kim", password, grant(Role.RADIOLOGIST, "suwon"))
        user = accounts.user("dr.kim")
        assert user is not None
        assert user == accounts.check("dr.kim", password)
        seals.add(user.seal)
    assert len(seals) == 2


def test_nothing_is_hashed_before_somebody_signs_in() -> None:
    """Half a tenth of a second and 64 MiB, for each command line there is."""
    script = (
        "import argon2; argon2.PasswordHasher.hash = lambda *_: exit('hashed at import'); "
        "import gateways.console.accounts"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_who_is_not_there_cannot_be_removed(accounts: Accounts) -> None:
    with pytest.raises(Refused, match="no account nobody"):
        accounts.remove("nobody")


def test_rights_are_of_sites_and_not_of_people() -> None:
    both = (Grant(roles=(Role.RADIOLOGIST,), sites=("suwon", "gone")), Grant(roles=(Role.AUDITOR,), sites=("*",)))
    assert rights(both, SITES) == {"suwon": {Role.RADIOLOGIST, Role.AUDITOR}, "anseong": {Role.AUDITOR}}
    assert rights((), SITES) == {}
