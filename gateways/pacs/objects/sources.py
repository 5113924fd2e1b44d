"""The stored images a result is about: which there are, and what their heads say. Each is read once."""

from functools import cached_property
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset

from gateways.imaging.frames import Frame, frames
from gateways.imaging.volume import SliceName
from gateways.objects import FileStore
from gateways.pacs.source import read_head, read_manifest
from schemas.base import ObjectRef
from schemas.events import SeriesDecision
from schemas.failures import Unreadable
from schemas.manifest import Instance


class SourceSeries:
    """A series of the study and its reading, if a model read it.

    ``drawn`` is the instance whose pixels will be asked for, so that its file, which may be a whole series, is read
    once for its head and for them.
    """

    def __init__(
        self, decision: SeriesDecision, manifest: ObjectRef, store: FileStore, drawn: str | None = None
    ) -> None:
        self.uid = decision.series_uid
        self.reading = decision.reading
        self.store = store
        self._drawn = drawn
        self._manifest = manifest
        self._heads: dict[str, Dataset] = {}
        self._frames: dict[str, list[Frame]] = {}

    @cached_property
    def instances(self) -> dict[str, Instance]:
        """By SOP Instance UID; of several with one UID that which came first."""
        listed = read_manifest(self.store, self._manifest).instances
        return {one.sop_uid: one for one in sorted(listed, key=lambda one: (one.sop_uid, not one.conflict))}

    def instance(self, sop_uid: str) -> Instance:
        """Raises :class:`schemas.failures.Unreadable` where the series has no such instance."""
        found = self.instances.get(sop_uid)
        if found is None:
            raise Unreadable("the result names an instance that its series does not have")
        return found

    def head(self, sop_uid: str) -> Dataset:
        """What an instance says up to its pixels."""
        if sop_uid == self._drawn:
            return self.drawn
        if sop_uid not in self._heads:
            self._heads[sop_uid] = read_head(self.store, self.instance(sop_uid))
        return self._heads[sop_uid]

    @cached_property
    def drawn(self) -> Dataset:
        """All an instance says, with its pixels: of the one to be drawn."""
        assert self._drawn is not None, "a series is drawn where it has the leading finding"
        content = self.store.read(self.instance(self._drawn).stored)
        # As for a head: pydicom's warnings quote values.
        pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
        try:
            return pydicom.dcmread(BytesIO(content))
        except Exception as error:  # what a file that breaks the standard makes pydicom raise has no end
            raise Unreadable(f"the key slice cannot be parsed: {type(error).__name__}") from error

    def any_head(self) -> Dataset:
        """One that was read already or will be, else the first that can be read."""
        if self._drawn is not None:
            return self.drawn
        if self._heads:
            return next(iter(self._heads.values()))
        for sop_uid in self.instances:
            try:
                return self.head(sop_uid)
            except Unreadable:
                continue
        raise Unreadable("no image of the series can be read")

    def frames(self, sop_uid: str) -> list[Frame]:
        """Where the frames of an instance lie."""
        if sop_uid not in self._frames:
            head = self.head(sop_uid)
            try:
                self._frames[sop_uid] = frames(head)
            except Unreadable:
                raise
            except Exception as error:  # what a file that breaks the standard makes pydicom raise has no end
                raise Unreadable(f"an instance cannot be parsed: {type(error).__name__}") from error
        return self._frames[sop_uid]

    def frame(self, name: SliceName) -> Frame:
        """The frame that is a slice."""
        listed = self.frames(name.sop_uid)
        index = (name.frame or 1) - 1
        if index >= len(listed):
            raise Unreadable("the result names a frame that its instance does not have")
        return listed[index]
