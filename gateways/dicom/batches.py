"""When an association has sent what it had, the series it touched become events.

Each series in one transaction of the journal: the manifest is in the object store before it, the event is in the
outbox with it, and the association's claim on the series is gone after it. A crash in between leaves the claim, and the
next start publishes for it. A series that cannot be published keeps its claim too, and holds up no other.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Final, TypeVar

import structlog

from gateways.dicom.geometry import geometry
from gateways.dicom.journal import Batch, Journal, StoredInstance
from gateways.objects import FileStore
from schemas.base import ObjectRef, utc
from schemas.envelope import encode
from schemas.events import BatchEnd, Series, SeriesReceived
from schemas.identity import trace_id
from schemas.manifest import Instance, Manifest
from schemas.topics import DICOM_SERIES

log = structlog.get_logger()
T = TypeVar("T")
_LONGEST_PAUSE_S: Final = 30.0


def study_folder(site: str, study_key: str) -> str:
    """Where the objects of a study are, inside the object store."""
    return f"dicom/{site}/{study_key}"


@dataclass
class _Due:
    """An end that is not published yet. After a failure it is tried again once the pause is over."""

    how: BatchEnd
    pause_s: float = 0.0
    not_before: float = 0.0

    def postpone(self) -> None:
        self.pause_s = min(_LONGEST_PAUSE_S, 2 * self.pause_s + 0.25)
        self.not_before = time.monotonic() + self.pause_s


class Batches:
    """Turns what associations have touched into ``SeriesReceived`` events."""

    def __init__(self, journal: Journal, store: FileStore) -> None:
        self._journal = journal
        self._store = store
        self._due: dict[str, _Due] = {}
        self._lock = Lock()

    def end(self, association: str, how: BatchEnd) -> None:
        """The association has nothing more for now. What cannot be published stays due for :meth:`settle`."""
        with self._lock:
            self._due[association] = _Due(how)
        self.settle()

    def due(self) -> set[str]:
        """The associations whose end is not published yet."""
        return set(self._due.copy())

    def complaint(self) -> str | None:
        """What could not be published when it was last tried."""
        failed = sum(due.pause_s > 0 for due in self._due.copy().values())
        return f"series of {failed} associations cannot be published: see the log" if failed else None

    def settle(self) -> None:
        """Publish what is due. What cannot be published is logged and stays due; it is tried again after a pause."""
        with self._lock:
            for association, due in list(self._due.items()):
                if time.monotonic() < due.not_before:
                    continue
                if self._settled(association, due.how):
                    del self._due[association]
                else:
                    due.postpone()

    def _settled(self, association: str, how: BatchEnd) -> bool:
        """Publish what the association touched, each series on its own; whether nothing of it is left."""
        idle = how is BatchEnd.IDLE
        try:
            touched = (self._journal.active if idle else self._journal.touched)(association)
        except sqlite3.Error as error:
            log.warning("series not published yet", error=str(error))
            return False
        left = 0
        for study_key, series_uid in touched:
            try:
                with self._journal.transaction():
                    self._publish_series(association, study_key, series_uid, how)
                    (self._journal.set_idle if idle else self._journal.forget)(association, study_key, series_uid)
            except Exception as error:  # whatever is wrong with one series, the others must go out
                left += 1
                log.warning(
                    "series not published yet",
                    study_key=study_key,
                    trace_id=trace_id(study_key),
                    error=f"{type(error).__name__}: {error}",
                    exc_info=not isinstance(error, OSError | sqlite3.Error),  # a full disk needs no traceback
                )
        return not left

    def _publish_series(self, association: str, study_key: str, series_uid: str, how: BatchEnd) -> None:
        instances = self._journal.series(study_key, series_uid)
        present = [instance for instance in instances if not instance.missing]
        said = log.bind(study_key=study_key, trace_id=trace_id(study_key))
        if not present:
            said.error("series has lost all its objects", objects=len(instances))
            return
        newest, now = present[-1], datetime.now(UTC)
        manifest = self._manifest(present)
        folder = f"manifests/{newest.site}/{study_key}"
        stored = self._store.put(manifest.model_dump_json().encode(), folder, ".json")
        sending = self._journal.others_sending(association, study_key, series_uid)
        last = self._journal.last_batch(study_key, series_uid)
        if last is not None and not _is_news(last, stored.digest, sending, how):
            return
        batch = Batch(last.number + 1 if last else 1, stored.digest, how, sending)
        event = SeriesReceived(
            time=now,
            site=newest.site,
            study_uid=newest.facts.study_uid,
            batch=batch.number,
            study_batch=self._journal.study_batches(study_key) + 1,
            batch_end=how,
            open_associations=sending,
            sending_ae=newest.sending_ae,
            called_ae=newest.called_ae,
            series=describe(present, len(instances) - len(present), stored),
        )
        self._journal.set_batch(study_key, series_uid, batch)
        self._journal.post(DICOM_SERIES.name, encode(event), now.timestamp())
        said.info("series received", batch=batch.number, batch_end=how.value, instances=len(present))

    def _manifest(self, present: Sequence[StoredInstance]) -> Manifest:
        first = present[0]
        folder = study_folder(first.site, first.study_key)
        listed = [
            Instance(
                sop_uid=instance.facts.sop_uid,
                sop_class=instance.facts.sop_class,
                transfer_syntax=instance.transfer_syntax,
                stored=self._store.ref(folder, instance.digest, ".dcm", instance.size_bytes),
                pixel_offset=instance.facts.pixel_offset,
                conflict=instance.conflict,
            )
            for instance in present
        ]
        return Manifest(
            site=first.site,
            study_uid=first.facts.study_uid,
            series_uid=first.facts.series_uid,
            instances=tuple(sorted(listed, key=lambda item: (item.sop_uid, item.stored.digest))),
        )


def _is_news(last: Batch, manifest: str, sending: int, how: BatchEnd) -> bool:
    """Whether the series has changed, fewer associations send it, or an end is certain that silence only suggested."""
    certain = last.batch_end == BatchEnd.IDLE and how is not BatchEnd.IDLE
    return last.manifest != manifest or sending < last.open_associations or certain


def describe(present: Sequence[StoredInstance], missing: int, manifest: ObjectRef) -> Series:
    """A series as its instances describe it: where they differ, what most of them say. Needs at least one."""
    facts = [instance.facts for instance in present]
    planes = [plane for instance in present if not instance.conflict for plane in instance.facts.planes]
    return Series(
        series_uid=facts[0].series_uid,
        modality=_usual(f.modality for f in facts),
        body_part=_usual(f.body_part for f in facts),
        study_description=_usual(f.study_description for f in facts),
        series_description=_usual(f.series_description for f in facts),
        image_type=_usual(f.image_type or None for f in facts) or (),
        kernel=_usual(f.kernel for f in facts),
        slice_thickness_mm=_usual(f.slice_thickness_mm for f in facts),
        sop_classes=tuple(sorted({f.sop_class for f in facts})),
        transfer_syntaxes=tuple(sorted({instance.transfer_syntax for instance in present})),
        instances=len(present),
        expected_instances=_usual(f.expected_instances for f in facts),
        conflicts=sum(instance.conflict for instance in present),
        missing_objects=missing,
        geometry=geometry(planes),
        first_image_at=utc(min(instance.received_at for instance in present)),
        last_image_at=utc(max(instance.received_at for instance in present)),
        manifest=manifest,
    )


def _usual(values: Iterable[T | None]) -> T | None:
    counted = Counter(value for value in values if value is not None).most_common(1)
    return counted[0][0] if counted else None
