"""The objects of a result on disk, from before the first is sent until the PACS is known to have them all.

They are made once: what is sent again after a crash are the same bytes, whatever version of sinsok runs by then.
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from gateways.objects import make_folder, write_whole
from gateways.pacs.objects import ResultObject
from gateways.pacs.peer import Instance
from schemas.deliveries import WrittenObject


class Outgoing:
    """Part 10 files under one folder, named by their SOP Instance UIDs, which are ours and say nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        make_folder(root)

    def put(self, objects: Iterable[ResultObject]) -> None:
        """Keep them; durable when this returns. Raises ``OSError`` where the disk refuses."""
        for one in objects:
            write_whole(self._place(one.written), one.content)

    def instances(self, objects: Sequence[WrittenObject]) -> list[Instance]:
        """What is to be sent of them."""
        return [Instance(one.sop_class_uid, one.sop_instance_uid, one.series_uid, self._place(one)) for one in objects]

    def has(self, objects: Iterable[WrittenObject]) -> bool:
        """Whether all of them are there."""
        return all(self._place(one).exists() for one in objects)

    def drop(self, objects: Iterable[WrittenObject]) -> None:
        """They are needed no more. What cannot be removed now is when :meth:`clean` comes."""
        for one in objects:
            with suppress(OSError):
                self._place(one).unlink(missing_ok=True)

    def clean(self, needed: Collection[str]) -> None:
        """Remove all but these SOP Instance UIDs: what a crash left."""
        for file in self.root.iterdir():
            if file.stem not in needed:
                file.unlink(missing_ok=True)

    def _place(self, one: WrittenObject) -> Path:
        return self.root / f"{one.sop_instance_uid}.dcm"
