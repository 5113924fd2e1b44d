"""A hospital's PACS as results are written to it: what is asked of it, and what it answers.

Two ways lead there: :mod:`gateways.pacs.dimse` and :mod:`gateways.pacs.dicomweb`. Both raise
:class:`schemas.failures.PortFailure`, one line that names the PACS and never a patient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from schemas.failures import Unavailable, Unreadable


@dataclass(frozen=True)
class Instance:
    """An object to be delivered: a file (PS3.10) in Explicit VR Little Endian."""

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    path: Path


def content_of(instance: Instance) -> bytes:
    """The file of an object.

    Raises :class:`schemas.failures.Unreadable` where it is gone, and :class:`schemas.failures.Unavailable` where the
    disk does not give it.
    """
    try:
        return instance.path.read_bytes()
    except FileNotFoundError:
        raise Unreadable("an object to be sent is gone from the disk") from None
    except OSError as error:
        raise Unavailable(f"an object to be sent cannot be read: {error.strerror}") from None


@dataclass(frozen=True)
class Answer:
    """What the PACS answered to one object. ``status`` is None where it could not be asked."""

    sop_instance_uid: str
    status: str | None
    """0xA900 (PS3.4, B.2.3), or HTTP 409."""
    accepted: bool
    """It has the object: success, success with a warning, or a refusal of what it has already."""
    passing: bool
    """It failed for a reason of the moment, such as a full disk: the same object may be taken later."""
    comment: str
    """The meaning of the status, on one line; with the PACS's own words where the site wants them repeated."""


@dataclass(frozen=True)
class StudyPatient:
    """The patient of a study as the PACS has it now. To be compared; never logged."""

    patient_id: str | None
    issuer: str | None
    name: str | None
    birth_date: str | None
    sex: str | None

    def __repr__(self) -> str:
        return "StudyPatient(...)"


@dataclass(frozen=True)
class Commitment:
    """What the PACS takes responsibility for, and what not (Storage Commitment, PS3.4, J.3.3)."""

    transaction_uid: str
    committed: frozenset[str]
    """SOP Instance UIDs."""
    failed: Mapping[str, str]
    """SOP Instance UIDs, and the Failure Reason of each in words (PS3.3, C.14.1.1)."""


class Pacs(Protocol):
    """Each method raises :class:`schemas.failures.Unavailable` where the PACS is away, silent or breaks off."""

    def store(self, study_uid: str, instances: Sequence[Instance]) -> list[Answer]:
        """Send objects. They may be sent again at any time: a PACS that has one keeps it.

        Raises :class:`schemas.failures.Unreadable` where an object cannot be read.
        """
        ...

    def patient_of(self, study_uid: str) -> StudyPatient | None:
        """The patient under whom the PACS has the study; None where it has no such study.

        Raises :class:`schemas.failures.Refused` where it answers no such query, or with more than one patient.
        """
        ...

    def holds(self, study_uid: str, instances: Sequence[Instance]) -> set[str]:
        """The SOP Instance UIDs of those that the PACS has.

        Raises :class:`schemas.failures.Refused` where it answers no such query.
        """
        ...

    def request_commitment(self, transaction_uid: str, instances: Sequence[Instance]) -> Commitment | None:
        """Ask it to take responsibility. None: it will report later, on an association that it opens.

        Raises :class:`schemas.failures.Refused` where it offers no commitment, or refuses the request.
        """
        ...

    def close(self) -> None:
        """Let go of the connection; the next call opens another."""
        ...
