"""Who may sign in, and what they may do where: local accounts in a file, passwords as argon2id hashes."""

import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Annotated, Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateways.console.settings import Grant, Language
from gateways.objects import write_whole
from schemas.audit import Role
from schemas.paging import Name

SHORTEST: Final = 10
"""Characters of a password (NIST SP 800-63B asks for 8)."""
_HASHER: Final = PasswordHasher()


class Refused(Exception):
    """The account cannot be made or changed so; the text says why."""


@dataclass(frozen=True)
class User:
    """A person who is signed in. ``rights`` are the roles at each site."""

    name: str
    rights: Mapping[str, frozenset[Role]]
    language: Language | None = None
    seal: str = ""
    """Changes with the password of a local account: who signed in with the old one is signed in no longer."""

    def sites(self, *roles: Role) -> frozenset[str]:
        """Where the person has one of these roles."""
        return frozenset(site for site, held in self.rights.items() if held & set(roles))

    @property
    def roles(self) -> list[Role]:
        """All roles, wherever held."""
        return [role for role in Role if any(role in held for held in self.rights.values())]


def rights(grants: Iterable[Grant], sites: Collection[str]) -> dict[str, frozenset[Role]]:
    """Roles by site, of the sites there are. A role at one site says nothing of another."""
    held: dict[str, set[Role]] = {}
    for grant in grants:
        for site in sites if "*" in grant.sites else set(grant.sites) & set(sites):
            held.setdefault(site, set()).update(grant.roles)
    return {site: frozenset(roles) for site, roles in held.items()}


class Account(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    password: Annotated[str, Field(description="argon2id, in the PHC string format", repr=False)]
    grants: tuple[Grant, ...]
    language: Language | None = None


_FILE: Final = TypeAdapter(dict[Name, Account])


class Accounts:
    """The accounts in a file, read anew when it has changed. ``sites`` are those of the configuration.

    Who is signed in does not pay for a file that somebody has broken: the accounts that could be read last count on.
    """

    def __init__(self, place: Path, sites: Collection[str]) -> None:
        self.place = place
        self._sites = tuple(sites)
        self._lock = Lock()
        self._known: tuple[tuple[int, int], dict[str, Account]] | None = None

    def all(self) -> dict[str, Account]:
        """By name; empty where there is no file. Raises :class:`Refused` where it holds no accounts."""
        with self._lock:
            try:
                facts = self.place.stat()
                stamp = (facts.st_mtime_ns, facts.st_ino)
                if self._known is None or self._known[0] != stamp:
                    self._known = (stamp, _FILE.validate_json(self.place.read_bytes()))
            except FileNotFoundError:
                self._known = None
                return {}
            except (OSError, ValidationError) as error:
                raise Refused(f"{self.place} holds no accounts: {type(error).__name__}") from None
            return self._known[1]

    def complaints(self) -> list[str]:
        """What is wrong with the file, one line each."""
        try:
            self.all()
        except Refused as error:
            return [f"{error}; the accounts of before count until it is mended"]
        return []

    def add(self, name: str, password: str, grant: Grant, language: Language | None = None) -> None:
        """Add an account or replace one. Raises :class:`Refused`."""
        if len(password) < SHORTEST:
            raise Refused(f"the password has fewer than {SHORTEST} characters")
        if unknown := sorted(set(grant.sites) - {"*", *self._sites}):
            raise Refused(f"there is no site {', '.join(unknown)}; sites are {', '.join(self._sites)}")
        account = Account(password=_HASHER.hash(password), grants=(grant,), language=language)
        self._write(self.all() | {name: account})

    def remove(self, name: str) -> None:
        """Remove an account; who is signed in with it is so no longer. Raises :class:`Refused`."""
        accounts = self.all()
        if name not in accounts:
            raise Refused(f"there is no account {name}")
        self._write({other: account for other, account in accounts.items() if other != name})

    def user(self, name: str) -> User | None:
        """The person of an account. Raises :class:`Refused` where no accounts could ever be read."""
        account = self._last_good().get(name)
        return self._person(name, account) if account else None

    def check(self, name: str, password: str) -> User | None:
        """The person, where the password is theirs. An unknown name takes as long as a wrong password.

        Raises :class:`Refused` where no accounts could ever be read.
        """
        account, nobody = self._last_good().get(name), _nobody(_HASHER)
        try:
            _HASHER.verify(account.password if account else nobody, password)
        except (Argon2Error, InvalidHashError):
            return None
        return self._person(name, account) if account else None

    def is_taken(self, name: str) -> bool:
        """Whether a name is that of an account, or would be taken for it. Raises :class:`Refused` as above."""
        return name.casefold() in map(str.casefold, self._last_good())

    def _last_good(self) -> dict[str, Account]:
        try:
            return self.all()
        except Refused:
            known = self._known
            if known is None:
                raise
            return known[1]

    def _person(self, name: str, account: Account) -> User:
        seal = sha256(account.password.encode()).hexdigest()
        return User(name, rights(account.grants, self._sites), account.language, seal)

    def _write(self, accounts: dict[str, Account]) -> None:
        try:
            checked = _FILE.validate_python(accounts)
        except ValidationError:
            raise Refused("a name has letters, digits and . _ @ -, at most 64, and begins with no sign") from None
        text = json.dumps(_FILE.dump_python(checked, mode="json"), indent=2, ensure_ascii=False)
        mask = os.umask(0o077)  # 0600 from the first byte on
        try:
            write_whole(self.place, f"{text}\n".encode())
        finally:
            os.umask(mask)


@cache
def _nobody(hasher: PasswordHasher) -> str:
    """The hash of a password that nobody has; at the first need, for it takes a moment."""
    return hasher.hash("nobody has this password")
