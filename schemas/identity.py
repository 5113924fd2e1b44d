"""Names that are the same wherever and whenever they are computed: a replay finds what the first run wrote."""

from functools import lru_cache
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid5

NAMESPACE: Final = UUID("6f0d6b1e-5a39-5c2b-9d0e-3a7f6c1b8e24")
"""The UUID namespace (RFC 9562, version 5) of every identifier made here."""


def digest(data: bytes) -> str:
    """``sha256:`` and 64 hex digits: what names bytes wherever they are named (:data:`schemas.base.Digest`)."""
    return f"sha256:{sha256(data).hexdigest()}"


@lru_cache(maxsize=10_000)
def study_key(site: str, study_uid: str) -> str:
    """Key of a study on every topic: lowercase hex of sha256 over ``site``, a vertical bar and StudyInstanceUID.

    The site is part of it, so two hospitals that use one UID never mix. It carries no identifier.
    """
    return sha256(f"{site}|{study_uid}".encode()).hexdigest()


def derived_id(*parts: object) -> UUID:
    """A version 5 UUID over the parts: the same parts give the same id."""
    return uuid5(NAMESPACE, "|".join(str(part) for part in parts))


def trace_parent(key: str, event_id: UUID) -> str:
    """W3C ``traceparent`` of an event: one trace a study, one span an event, both derived and not drawn."""
    return f"00-{trace_id(key)}-{event_id.hex[:16]}-01"


@lru_cache(maxsize=10_000)
def trace_id(key: str) -> str:
    """The trace id of a study key: 32 hex digits."""
    return sha256(f"trace|{key}".encode()).hexdigest()[:32]
