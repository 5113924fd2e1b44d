"""What an event came from, by the id of that event. Ids are derived, so most need not have been seen."""

from uuid import UUID

from schemas.base import StudyEvent
from schemas.deliveries import DeliveryEvent
from schemas.events import AlertEvent, AlertRaised, DeadlinePassed, StudyTriaged
from schemas.identity import derived_id
from schemas.paging import AlertDelivered, AlertEscalated, AlertHandedOn, AlertPaged, AlertUndelivered, PageReason

_GOES_ON = (PageReason.UNDELIVERED, PageReason.UNANSWERED, PageReason.ESCALATED)
"""Before a page for one of these stands an :class:`AlertEscalated` of the same attempt."""


def cause(event: StudyEvent) -> UUID | None:
    """The ``event_id`` of the cause; None where it is the study as a whole, as of what arrives and is assembled."""
    match event:
        case StudyTriaged():
            return event.assembled
        case AlertRaised():
            return event.result
        case AlertPaged() if event.why in _GOES_ON:
            return derived_id(AlertEscalated.TYPE, event.alert_id, event.attempt)
        case AlertDelivered() | AlertUndelivered() | AlertHandedOn():
            return derived_id(AlertPaged.TYPE, event.alert_id, event.attempt)
        case AlertEvent():
            return derived_id(AlertRaised.TYPE, event.alert_id)
        case DeadlinePassed() if event.alert_id is not None:
            return derived_id(AlertRaised.TYPE, event.alert_id)
        case DeliveryEvent():
            return event.result
        case _:
            return None
