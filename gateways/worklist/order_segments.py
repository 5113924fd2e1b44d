"""OBR and TQ1: which order a message is about, and its priority (HL7 v2.5.1, sections 4.5.3 and 4.5.4)."""

from typing import Any

from gateways.worklist.bearing import to_tell
from gateways.worklist.fields import Repetition, Value, segment, timestamp
from gateways.worklist.order import Order
from gateways.worklist.port import Update
from gateways.worklist.settings import Hl7Settings
from schemas.events import Priority

_NAMES = {"S": "Stat", "A": "ASAP", "R": "Routine"}
_SECTIONS = {"CT": "CT", "MR": "NMR", "US": "RUS", "NM": "NMS", "PT": "NMS"}


def told_priority(update: Update, order: Order, settings: Hl7Settings) -> Priority:
    """The priority a message carries."""
    return to_tell(update.result, update.told, order.priority, lower=settings.lower)


def obr(update: Update, order: Order, settings: Hl7Settings, more: dict[int, Value]) -> Any:
    """The order, as IHE's SWF and Results Distribution identify it; ``more``: the fields of one kind of message."""
    return segment(
        "OBR",
        {
            1: "1",
            2: order.placer_number,
            3: filler_number(update, order),
            4: order.procedure,
            7: timestamp(update.result.last_image_at.astimezone(settings.zone)),
            18: order.accession_number,
            19: order.requested_procedure_id,
            20: order.scheduled_step_id,
            24: _SECTIONS.get(order.modality, "RAD"),
            27: timing(told_priority(update, order, settings), settings),
            **more,
        },
    )


def tq1(priority: Priority, settings: Hl7Settings) -> list[Any]:
    """Timing and quantity, where the version has it."""
    code = settings.priorities[priority]
    coded = (code, _NAMES[code], "HL70485") if code in _NAMES else (code,)
    return [segment("TQ1", {1: "1", 9: coded})] if settings.has_timing else []


def timing(priority: Priority, settings: Hl7Settings) -> Repetition:
    """TQ, which ORC-7 and OBR-27 carry for receivers that know no TQ1 (section 2.A.81)."""
    return ("", "", "", "", "", settings.priorities[priority])


def filler_number(update: Update, order: Order) -> str:
    """The filler's number of the order; most systems use the accession number. Without both, the study itself."""
    return order.filler_number or order.accession_number or update.result.study_uid
