"""Certificates that are over, or soon will be, in the files that the configuration names."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from gateways.watch.condition import Condition, Key
from schemas.alarms import AlarmKind


@dataclass(frozen=True)
class CertificateFile:
    """A file in PEM, and which key of the configuration names it."""

    site: str
    setting: str
    path: Path


@dataclass(frozen=True)
class Validity:
    """Until when the certificates of a file hold, by the first that ends; or why that cannot be told."""

    file: CertificateFile
    until: datetime | None
    fault: str | None = None


def look(file: CertificateFile) -> Validity:
    """Read a file. Keys may stand in it too; they are passed over."""
    try:
        found = x509.load_pem_x509_certificates(file.path.read_bytes())
    except OSError as error:
        return Validity(file, None, error.strerror or type(error).__name__)
    except ValueError:
        return Validity(file, None, "it holds no certificate in PEM that can be read")
    return Validity(file, min(one.not_valid_after_utc for one in found))


def ending(found: Iterable[Validity], warn_days: float, now: datetime) -> Iterator[Condition]:
    """Those of which a person has to hear: a while before the end, again when it is over, and where nobody can tell."""
    warned: dict[Key, Condition] = {}
    for one in found:
        key = Key(one.file.site, AlarmKind.CERTIFICATE, str(one.file.path))
        if key not in warned and (condition := _judge(key, one, timedelta(days=warn_days), now)):
            warned[key] = condition
    yield from warned.values()


def _judge(key: Key, one: Validity, warn: timedelta, now: datetime) -> Condition | None:
    named = f"{one.file.path} ({one.file.setting})"
    if one.until is None:
        detail = f"{named} cannot be read: {one.fault}: connections that need it fail; put it back, or correct the key"
        return Condition(key, now, detail)
    if one.until <= now:
        detail = f"a certificate in {named} is over since {one.until:%Y-%m-%d %H:%M} UTC: replace it"
        return Condition(key, one.until, detail, renews=True)
    if one.until - warn <= now:
        detail = f"a certificate in {named} ends at {one.until:%Y-%m-%d %H:%M} UTC: have it renewed by then"
        return Condition(key, one.until - warn, detail, renews=True)
    return None
