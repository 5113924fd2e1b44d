"""ORU^R01: the result, unsolicited (HL7 v2.5.1, section 7.3.1; IHE RAD Results Distribution, RAD-128)."""

from gateways.worklist.fields import message, timestamp
from gateways.worklist.header import TYPES, msh
from gateways.worklist.observations import observation_segments, result_status
from gateways.worklist.order import read_order
from gateways.worklist.order_segments import obr, told_priority, tq1
from gateways.worklist.patient import patient_segments
from gateways.worklist.port import Update
from gateways.worklist.settings import Hl7Settings


def oru(update: Update, settings: Hl7Settings, identifier: str) -> str:
    """The message."""
    order = read_order(update.head)
    status = {
        22: timestamp(update.result.time.astimezone(settings.zone)),
        25: result_status(update, settings),
    }
    return message(
        [
            msh(settings, TYPES["oru"], identifier, update.result.time),
            *patient_segments(update.head, settings),
            obr(update, order, settings, dict(status)),
            *tq1(told_priority(update, order, settings), settings),
            *observation_segments(update, settings),
        ]
    )
