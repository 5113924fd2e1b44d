"""Where segments lie in the object store: ``archive/<topic>/<partition>/``, one file each, never changed.

Beside the folder of a partition stands, in ``_<partition>.json``, where its archive begins: the first segments may be
lost, or the folder as a whole, and no two that are left show a gap. Readers of Parquet pass over such names.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from gateways.archive import segment
from gateways.archive.segment import Segment
from gateways.kafka import Place, Record
from gateways.objects import FileStore, write_whole
from schemas.failures import Unavailable, Unreadable

FOLDER: Final = "archive"
WHAT_TO_DO: Final = "`sinsok archive verify` names all that is damaged or missing, docs/archive.md says what to do"
"""Behind a fault, where a person reads of it; not in its text, which `sinsok archive verify` prints too."""
_NUMBER: Final = re.compile(r"(\d+)|_(\d+)\.json")


class Beginning(BaseModel):
    """Where the archive of a partition begins, and of which topic it is.

    A topic that was deleted and made anew has the same name and another id, and its offsets are its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: int
    topic_id: str


@dataclass(frozen=True)
class Seam:
    """Two segments of a partition of which the second does not begin where the first ended."""

    before: Segment
    after: Segment

    def __str__(self) -> str:
        place = (self.before.topic, self.before.partition)
        if self.after.first > self.before.next:
            return missing(place, self.before.next, self.after.first)
        twice = f"{self.after.first} to {min(self.before.last, self.after.last)}"
        return f"{_named(place)}: records {twice} stand twice, in {self.before.path.name} and {self.after.path.name}"


class SegmentStore:
    """The segments in an object store. Nothing in it is ever changed or removed, but what was never finished."""

    def __init__(self, objects: FileStore) -> None:
        self.root = objects.root / FOLDER

    def topics(self) -> list[str]:
        """Names of the topics that have segments. Raises :class:`Unavailable` where the store cannot be read."""
        return [folder.name for folder in _inside(self.root) if folder.is_dir()]

    def partitions(self, topic: str) -> list[int]:
        """Numbers of the partitions of a topic that have segments, or should have. Raises :class:`Unavailable`."""
        found = (_NUMBER.fullmatch(path.name) for path in _inside(self.root / topic))
        return sorted({int(name[1] or name[2]) for name in found if name is not None})

    def beginning(self, place: Place) -> Beginning | None:
        """Where the archive of a partition begins, None where that was never noted.

        Raises :class:`Unreadable` where the note is damaged, and :class:`Unavailable` where it cannot be read now.
        """
        path = self._note(place)
        try:
            return Beginning.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{path}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise Unreadable(f"{path}: damaged, it does not say where an archive begins") from error

    def begin(self, place: Place, beginning: Beginning) -> None:
        """Note where the archive of a partition begins; durable when this returns. Raises ``OSError``."""
        write_whole(self._note(place), beginning.model_dump_json().encode())

    def segments(self, place: Place, begin: int = 0) -> list[Segment]:
        """The segments of a partition that hold anything from this offset on, in order. Raises :class:`Unavailable`."""
        found = (Segment.at(path) for path in _inside(self._folder(place)))
        return [one for one in found if one is not None and one.next > begin]

    def missing_in_front(self, place: Place) -> str:
        """What a partition lacks in front of its first segment, in one line; empty where that is nothing.

        Raises as :meth:`beginning`.
        """
        beginning, segments = self.beginning(place), self.segments(place)
        if beginning is None:
            return f"{_named(place)}: where it begins is not known, {self._note(place)} is missing" if segments else ""
        if not segments:
            return f"{_named(place)}: all records from {beginning.first} on are missing"
        if segments[0].first > beginning.first:
            return missing(place, beginning.first, segments[0].first)
        return ""

    def strangers(self, place: Place) -> list[Path]:
        """Files in the folder of a partition that are no segments. Raises :class:`Unavailable`."""
        return [path for path in _inside(self._folder(place)) if Segment.at(path) is None]

    def newest(self, place: Place) -> Segment | None:
        """The newest segment of a partition, None where there is none. Raises :class:`Unavailable`."""
        found = self.segments(place)
        return found[-1] if found else None

    def put(self, records: Sequence[Record], first: int) -> Segment:
        """Keep a run of records of one partition that begins at ``first``; durable when this returns.

        Raises ``OSError`` where the disk refuses.
        """
        name, data = segment.write(records, first)
        path = self._folder((records[0].topic, records[0].partition)) / name
        write_whole(path, data)
        kept = Segment.at(path)
        assert kept is not None
        return kept

    def discard(self, unfinished: Segment) -> None:
        """Remove a segment that was found damaged before anybody was told of it: the broker still has its records."""
        unfinished.path.unlink()

    def clean(self) -> int:
        """Remove what a writer that was killed left half written, and count it. No writer may be at work."""
        left = [*self.root.glob("*/.*.part"), *self.root.glob("*/*/.*.part")]
        for path in left:
            with suppress(FileNotFoundError):
                path.unlink()
        return len(left)

    def _folder(self, place: Place) -> Path:
        topic, partition = place
        return self.root / topic / str(partition)

    def _note(self, place: Place) -> Path:
        topic, partition = place
        return self.root / topic / f"_{partition}.json"


def seams(segments: Iterable[Segment]) -> list[Seam]:
    """Where segments of one partition, in order, leave records out or hold them twice."""
    return [Seam(before, after) for before, after in pairwise(segments) if after.first != before.next]


def missing(place: Place, begin: int, end: int) -> str:
    """That the archive of a partition lacks the records from ``begin`` to before ``end``, in one line."""
    return f"{_named(place)}: records {begin} to {end - 1} are missing"


def _named(place: Place) -> str:
    return f"archive of {place[0]}/{place[1]}"


def _inside(folder: Path) -> Iterator[Path]:
    """What lies in a folder, by name, without what is hidden; nothing where there is no folder."""
    try:
        yield from sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unavailable(f"archive in {folder} cannot be read: {error.strerror}") from error
