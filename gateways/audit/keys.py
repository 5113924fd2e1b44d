"""Who signs the trail: an Ed25519 key (RFC 8032) in PEM, readable by its owner only, and its public part beside it."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateways.objects import make_folder, sync_folder, write_whole
from schemas.identity import digest


class UnusableKey(Exception):
    """There is no key to sign or verify with; the text is one line that says where and why."""


class Signer:
    """Signs for one installation."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.id = key_id(key.public_key())

    @property
    def public(self) -> Ed25519PublicKey:
        """What others verify with."""
        return self._key.public_key()

    def sign(self, data: bytes) -> str:
        """The signature in hex."""
        return self._key.sign(data).hex()


class Verifier:
    """Knows public keys by their ids. They come in the order in which they signed: the one in use is the last."""

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._keys = {key_id(key): key for key in keys}
        self._order = {key: at for at, key in enumerate(self._keys)}

    def public(self, key: str) -> Ed25519PublicKey:
        """The key with this id. Raises ``KeyError``."""
        return self._keys[key]

    def order(self, key: str) -> int:
        """How many keys signed before this one. Raises ``KeyError``."""
        return self._order[key]

    def knows(self, key: str) -> bool:
        """Whether a key is one of this installation."""
        return key in self._keys

    def verify(self, key: str, signature: str, data: bytes) -> bool:
        """Whether the key has signed the data."""
        with suppress(InvalidSignature, ValueError, KeyError):
            self._keys[key].verify(bytes.fromhex(signature), data)
            return True
        return False


def key_id(key: Ed25519PublicKey) -> str:
    """The digest of the raw public key."""
    return digest(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def public_place(private: Path) -> Path:
    """Where the public part of a key lies."""
    return private.with_suffix(".pub")


def create(place: Path) -> Signer:
    """Make a key with mode 0600, and its public part. Never replaces a key. Raises :class:`UnusableKey`."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        make_folder(place.parent)
        write_whole(public_place(part), public_pem(key.public_key()))
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(private)
            file.flush()
            os.fsync(descriptor)
        os.link(part, place)  # unlike a rename this fails where there is a key already
        public_place(part).rename(public_place(place))
        sync_folder(place.parent)
    except FileExistsError:
        raise UnusableKey(f"there is a key at {place} already") from None
    except OSError as error:
        raise UnusableKey(f"no key can be made at {place}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
            public_place(part).unlink(missing_ok=True)
    return Signer(key)


def signer(place: Path) -> Signer:
    """The key at a place. Raises :class:`UnusableKey`."""
    try:
        key = load_pem_private_key(place.read_bytes(), password=None)
    except FileNotFoundError:
        raise UnusableKey(f"there is no key at {place}") from None
    except (OSError, ValueError, TypeError) as error:
        raise UnusableKey(f"the key at {place} cannot be used: {_why(error)}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKey(f"the key at {place} is no Ed25519 key")
    return Signer(key)


def public_key(place: Path) -> Ed25519PublicKey:
    """A public key in PEM. Raises :class:`UnusableKey`."""
    try:
        key = load_pem_public_key(place.read_bytes())
    except FileNotFoundError:
        raise UnusableKey(f"there is no public key at {place}") from None
    except (OSError, ValueError) as error:
        raise UnusableKey(f"the public key at {place} cannot be used: {_why(error)}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UnusableKey(f"the public key at {place} is no Ed25519 key")
    return key


def public_pem(key: Ed25519PublicKey) -> bytes:
    """A public key as others read it."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _why(error: Exception) -> str:
    return (error.strerror or "it cannot be read") if isinstance(error, OSError) else "it is no such key in PEM"
