"""What a worklist is told about a study, and what every worklist of a site can do."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydicom.dataset import Dataset

from schemas.events import Priority, StudyTriaged
from schemas.failures import Busy, Refused, Unreadable


@dataclass(frozen=True)
class Update:
    """A result for a worklist. The same update gives the same message, however often it is sent."""

    result: StudyTriaged
    head: Dataset = field(repr=False)
    """Of a stored image of the study. Identifiers live here and in the message: never in a log or an exception."""
    told: Priority | None
    """The priority that stands there since it was last told of the study; None: it was told nothing yet."""
    before: StudyTriaged | None = None
    """The result this worklist was last told, where it is still known: its findings can then be taken back by name."""


@dataclass(frozen=True)
class Updated:
    """What a worklist made of an update."""

    accepted: tuple[str, ...] = ()
    """The control ids of the messages, or the UID of the workitem, that it took."""
    priority: Priority | None = None
    """The priority that stands there now; None: it has heard nothing of this result."""
    failure: Busy | Refused | Unreadable | None = None
    """Why it has not taken all of it."""


class Worklist(Protocol):
    """A worklist of a site. One caller at a time."""

    @property
    def protocol(self) -> Literal["hl7", "ups"]:
        """What it speaks."""
        ...

    def wants(self, result: StudyTriaged, told: Priority | None, before: StudyTriaged | None = None) -> bool:
        """Whether the result has to be told to this worklist. Pure."""

    def update(self, update: Update) -> Updated:
        """Tell it. Raises :class:`schemas.failures.Unavailable` where it is away. No text names a patient."""

    def reach(self) -> None:
        """See whether it is there; nothing is told. Raises :class:`schemas.failures.PortFailure`."""

    def close(self) -> None:
        """Let go of the connection; the next update opens another."""
