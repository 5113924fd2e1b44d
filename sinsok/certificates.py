"""Which certificates the configuration names, wherever in it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from gateways.watch.certificates import CertificateFile
from schemas.audit import INSTALLATION
from sinsok.settings import Settings

_NAMES: Final = frozenset({"ca", "certificate"})
"""What a key is called whose value is a file of certificates; a private key does not end."""


def certificates(settings: Settings) -> tuple[CertificateFile, ...]:
    """Every file, with the site it belongs to and the key that names it; each once for a site."""
    found: dict[tuple[str, Path], CertificateFile] = {}
    for place, path in _files(settings, ()):
        site = place[1] if place[0] == "sites" else INSTALLATION
        found.setdefault((site, path), CertificateFile(site, ".".join(place), path))
    return tuple(found.values())


def _files(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Path]]:
    if isinstance(value, Path):
        if place[-1] in _NAMES:
            yield place, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _files(getattr(value, name), (*place, name))
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _files(one, (*place, str(name)))
    elif isinstance(value, tuple | list):
        for number, one in enumerate(value):
            yield from _files(one, (*place, str(number)))
