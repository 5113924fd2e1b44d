"""What a worklist is told about a study, and what every worklist of a site can do."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydicom.dataset import Dataset

from schemas.events import Priority, StudyTriaged


@dataclass(frozen=True)
class Update:
    """A result for a worklist. The same update gives the same message, however often it is sent."""

    result: StudyTriaged
    head: Dataset = field(repr=False)
    """Of a stored image of the study. Identifiers live here and in the message: never in a log or an exception."""
    told: Priority | None
    """What this worklist was last told for the study; None: nothing yet."""
    before: StudyTriaged | None = None
    """The result this worklist was last told, where it is still known: its findings can then be taken back by name."""


class Worklist(Protocol):
    """A worklist of a site. One caller at a time."""

    @property
    def protocol(self) -> Literal["hl7", "ups"]:
        """What it speaks."""
        ...

    def wants(self, result: StudyTriaged, told: Priority | None, before: StudyTriaged | None = None) -> bool:
        """Whether the result has to be told to this worklist. Pure."""

    def update(self, update: Update) -> str:
        """Tell it; the message control ids or the workitem UID it accepted.

        Raises :class:`schemas.failures.Unavailable` where the same update may succeed later and
        :class:`schemas.failures.Refused` where a person has to look. The text names no patient.
        """

    def close(self) -> None:
        """Let go of the connection; the next update opens another."""
