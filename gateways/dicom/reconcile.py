"""Brings the journal and the stored files together again, study by study, after whatever happened to either.

Looks only at what is older than the gateway's start, so a store in progress is never taken for a fault. Memory is
bounded by the largest study.
"""

from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from threading import Event
from typing import Final

import structlog

from gateways.dicom.batches import Batches, study_folder
from gateways.dicom.facts import NotUnderstood, read_facts
from gateways.dicom.file_meta import read_file_meta
from gateways.dicom.journal import Journal, StoredInstance
from gateways.objects import FileStore
from schemas.events import BatchEnd
from schemas.identity import study_key, trace_id

log = structlog.get_logger()
RECONCILIATION: Final = "reconciliation"
"""Stands for the association in the journal."""


class Reconciliation:
    """One pass over the journal and the files."""

    def __init__(self, store: FileStore, journal: Journal, batches: Batches, before: float) -> None:
        self._store = store
        self._journal = journal
        self._batches = batches
        self._before = before

    def run(self, stop: Event) -> None:
        """Mark lines without a file, adopt files without a line, and publish the series concerned."""
        resolved = 0
        for resolve, studies in ((self._mark, self._journalled()), (self._adopt, self._stored())):
            for site, key in studies:
                if stop.is_set():
                    return
                if changes := resolve(site, key):
                    resolved += changes
                    self._batches.end(RECONCILIATION, BatchEnd.RECOVERED)
        log.info("journal and files agree", resolved=resolved)

    def _journalled(self) -> Iterator[tuple[str, str]]:
        after = ""
        while (study := self._journal.next_study(after)) is not None:
            yield study
            after = study[1]

    def _stored(self) -> Iterator[tuple[str, str]]:
        for folder in (self._store.root / "dicom").glob("*/*"):
            yield folder.parent.name, folder.name

    def _mark(self, site: str, key: str) -> int:
        """Journal lines against files: what is gone is missing, what is there again is not."""
        folder = self._store.root / study_folder(site, key)
        names = {path.stem for path in folder.glob("*.dcm")}
        said = log.bind(study_key=key, trace_id=trace_id(key))
        changed = 0
        for digest, (series_uid, received_at, missing) in self._journal.digests(key).items():
            if received_at < self._before and missing == (digest in names):
                with self._journal.transaction():
                    self._journal.set_missing(key, digest, not missing)
                    self._journal.touch(RECONCILIATION, key, series_uid)
                what = "stored object is there again" if missing else "stored object is missing"
                said.error(what, digest=digest)
                changed += 1
        return changed

    def _adopt(self, site: str, key: str) -> int:
        """Files against journal lines: what was stored and not journalled is journalled now."""
        known = self._journal.digests(key)
        said = log.bind(study_key=key, trace_id=trace_id(key))
        adopted = 0
        for path in (self._store.root / study_folder(site, key)).glob("*.dcm"):
            if path.stem in known or path.stat().st_ctime >= self._before:
                continue
            try:
                instance = _instance(site, key, path)
            except (ValueError, OSError) as error:
                said.error("stored object cannot be adopted", digest=path.stem, error=str(error))
                continue
            with self._journal.transaction():
                self._journal.add(instance, RECONCILIATION)
            said.warning("stored object adopted", digest=path.stem)
            adopted += 1
        return adopted


def _instance(site: str, key: str, path: Path) -> StoredInstance:
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    if digest != path.stem:
        raise NotUnderstood("its bytes are not those its name says")
    meta = read_file_meta(path)
    facts = read_facts(path, meta)
    if study_key(site, facts.study_uid) != key:
        raise NotUnderstood("it belongs to another study")
    status = path.stat()
    return StoredInstance(site, key, digest, status.st_size, meta.transfer_syntax, "", "", status.st_mtime, facts)
