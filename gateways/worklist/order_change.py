"""ORM^O01 and OMI^O23: the order's priority changes (HL7 v2.5.1, sections 4.4.1 and 4.4.10; IHE RAD SWF, RAD-13)."""

from typing import Any, Literal

from gateways.worklist.fields import FormattedText, Value, message, segment, timestamp
from gateways.worklist.header import TYPES, msh
from gateways.worklist.order import Order, read_order
from gateways.worklist.order_segments import filler_number, obr, timing, told_priority, tq1
from gateways.worklist.patient import patient_segments
from gateways.worklist.port import Update
from gateways.worklist.settings import Hl7Settings
from gateways.worklist.wording import REASONS, lines
from schemas.events import Priority
from schemas.failures import Refused


def order_change(update: Update, settings: Hl7Settings, identifier: str, kind: Literal["orm", "omi"]) -> str:
    """The message. Raises :class:`schemas.failures.Refused` where the images do not know which order they answer."""
    order = read_order(update.head)
    if not order.is_known:
        raise Refused("the images carry no accession, placer or filler number, so no message can say which order it is")
    priority = told_priority(update, order, settings)
    words = FormattedText("\r".join(lines(update.result, settings.language)))
    asked = [
        msh(settings, TYPES[kind], identifier, update.result.time),
        *patient_segments(update.head, settings),
        _orc(update, order, settings, priority, kind),
        *(tq1(priority, settings) if kind == "omi" else []),
        obr(update, order, settings, {}),
        segment("NTE", {1: "1", 2: "O", 3: words}),
    ]
    return message([*asked, _ipc(update, order) if kind == "omi" else _zds(update)])


def _orc(update: Update, order: Order, settings: Hl7Settings, priority: Priority, kind: str) -> Any:
    rises = update.told is None or priority.rank < update.told.rank
    reason: Value = ("AI", REASONS[settings.language][rises], settings.local_coding_system)
    return segment(
        "ORC",
        {
            1: settings.order_control,
            2: order.placer_number,
            3: filler_number(update, order),
            7: timing(priority, settings) if kind == "orm" else "",
            9: timestamp(update.result.time.astimezone(settings.zone)),
            16: reason,
        },
    )


def _ipc(update: Update, order: Order) -> Any:
    """Imaging Procedure Control (section 4.5.6). What the images do not know is named by the accession number."""
    accession = order.accession_number or filler_number(update, order)
    return segment(
        "IPC",
        {
            1: accession,
            2: order.requested_procedure_id or accession,
            3: update.result.study_uid,
            4: order.scheduled_step_id or accession,
            5: (order.modality, "", "DCM") if order.modality else "",
        },
    )


def _zds(update: Update) -> Any:
    """Study Instance UID as IHE's RAD-4 and RAD-13 carry it where there is no IPC."""
    return segment("ZDS", {1: (update.result.study_uid, "SINSOK", "Application", "DICOM")})
