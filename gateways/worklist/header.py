"""MSH: who says what to whom, and how it is to be answered (HL7 v2.5.1, section 2.14.9)."""

from datetime import datetime
from typing import Any, Final

from gateways.worklist.charset import NAMES
from gateways.worklist.fields import header, timestamp
from gateways.worklist.settings import Hl7Settings, MessageKind
from schemas.events import StudyTriaged
from schemas.identity import derived_id

TYPES: Final[dict[MessageKind, tuple[str, str, str]]] = {
    "oru": ("ORU", "R01", "ORU_R01"),
    "orm": ("ORM", "O01", "ORM_O01"),
    "omi": ("OMI", "O23", "OMI_O23"),
}
"""MSH-9: message code, trigger event, structure."""

_WANTED = {"original": ("", ""), "commit": ("AL", "NE"), "enhanced": ("AL", "AL")}


def control_id(result: StudyTriaged, kind: MessageKind, destination: str) -> str:
    """MSH-10: the same for the same result, so that a receiver drops what it already has. At most 20 characters."""
    return derived_id(result.event_id, *TYPES[kind], destination).hex[:20].upper()


def msh(settings: Hl7Settings, type_: tuple[str, ...], identifier: str, at: datetime, *, answered: bool = True) -> Any:
    """The header of a message, with the acknowledgments the site is set to (section 2.9.3), or with none."""
    accept, application = _WANTED[settings.acknowledgment] if answered else ("NE", "NE")
    return header(
        {
            3: tuple(settings.sending_application.split("^")),
            4: tuple(settings.sending_facility.split("^")),
            5: tuple(settings.receiving_application.split("^")),
            6: tuple(settings.receiving_facility.split("^")),
            7: timestamp(at.astimezone(settings.zone)),
            9: type_,
            10: identifier,
            11: settings.processing_id,
            12: settings.version,
            15: accept,
            16: application,
            17: "KOR",
            18: NAMES[settings.charset],
        }
    )
