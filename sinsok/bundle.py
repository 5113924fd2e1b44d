"""A study's record as a signed file: put together from topics, archive and audit trail, and noted as an act."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateways.audit.bundle import Excerpt, bundle
from gateways.audit.canonical import record_digest
from gateways.kafka import Place, Record
from gateways.objects import write_whole
from schemas.failures import Unreadable
from schemas.identity import study_key
from schemas.topics import AUDIT_TRAIL
from sinsok import auditing
from sinsok.errors import UsageError, UserError
from sinsok.history import read_history
from sinsok.settings import Settings

_LOOK_AGAIN_S: Final = 2.0
_MARGIN_S: Final = 10.0
"""More than a checkpoint's interval may pass until it stands on the topic."""


@dataclass(frozen=True)
class Bundle:
    """What was written."""

    place: Path
    site: str
    records: int
    unsigned: int
    """Records that no checkpoint signs yet; only the file's own signature stands for them."""
    key: str


def write_bundle(
    settings: Settings, study_uid: str, site: str | None, place: Path, say: Callable[[str], None]
) -> Bundle:
    """Write what is recorded of the study with this StudyInstanceUID into a file, and note that it was exported.

    Waits for a checkpoint where one is due; ``say`` hears of that. Without ``site`` it is the one that knows the study.
    Raises :class:`UserError` and then writes nothing: no key, no such study, a broken chain, a file that is there; and
    what :func:`gateways.archive.history.read` and :func:`sinsok.auditing.note` raise.
    """
    if place.exists():
        raise UserError(f"{place} is there already: name another file")
    if not place.absolute().parent.is_dir():
        raise UserError(f"{place} cannot be written: there is no folder {place.absolute().parent}")
    if site is not None and site not in settings.sites:
        raise UsageError(f"there is no site {site!r}: choose one of {', '.join(settings.sites)}")
    signer = auditing.own_signer(settings)
    try:
        name, excerpt = _excerpt(settings, study_uid, [site] if site else list(settings.sites), say)
        events = _events(settings, excerpt)
        study = study_key(name, study_uid)
        data = bundle(name, study_uid, study, excerpt, events, signer, datetime.now(UTC))
        # Noted before the file is there: an export that is not noted would be worse than a note without one.
        auditing.note_export(settings, name, f"bundle of study {study}", len(events))
        write_whole(place, data)
    except OSError as error:
        raise UserError(f"{place} cannot be written: {error.strerror}") from None
    return Bundle(place, name, len(events), len(excerpt.unsigned), signer.id)


def _excerpt(settings: Settings, study_uid: str, sites: list[str], say: Callable[[str], None]) -> tuple[str, Excerpt]:
    verifier = auditing.verifier(settings)
    found = {name: Excerpt(name, study_key(name, study_uid), verifier) for name in sites}
    reached: dict[Place, int] = {}
    began = time.monotonic()
    patience_s = settings.audit.checkpoint_s + _MARGIN_S
    while True:
        for record in read_history(settings, [AUDIT_TRAIL.name], offsets=reached):
            reached[record.topic, record.partition] = record.offset + 1
            for excerpt in found.values():
                excerpt.take(record)
        known = {name: excerpt for name, excerpt in found.items() if excerpt.records}
        if len(known) > 1:
            raise UserError(f"{', '.join(known)} all have a study with this UID: choose one with --site")
        if not known:
            where = f"site {sites[0]}" if len(sites) == 1 else "any site"
            raise UserError(f"the audit trail knows no study with this UID at {where}: `sinsok study UID` shows events")
        name, excerpt = next(iter(known.items()))
        waited_s = time.monotonic() - began
        unsigned = len(excerpt.unsigned)
        if not unsigned or waited_s > patience_s:
            return name, excerpt
        say(f"waiting for a checkpoint to sign {unsigned} records, {waited_s:.0f} of {patience_s:.0f} s")
        time.sleep(_LOOK_AGAIN_S)


def _events(settings: Settings, excerpt: Excerpt) -> list[Record]:
    """What the audit records are about, as it stands. Raises :class:`Unreadable` where it does not as it did."""
    links = [one.link for one in excerpt.records]
    wanted = {(one.where.topic, one.where.partition, one.where.offset): one.digest for one in links}
    since, until = auditing.around(links)
    found = []
    for record in read_history(settings, sorted({topic for topic, _, _ in wanted}), since, until):
        expected = wanted.pop((record.topic, record.partition, record.offset), None)
        if expected is None:
            continue
        if record_digest(record) != expected:
            at = f"{record.topic}/{record.partition}/{record.offset}"
            raise Unreadable(f"{at} is not what was audited: `sinsok audit verify --stream` says more")
        found.append(record)
    if wanted:
        topic, partition, offset = next(iter(wanted))
        raise Unreadable(f"{topic}/{partition}/{offset} is neither on its topic nor in the archive any more")
    return found
