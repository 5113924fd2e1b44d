"""Events in words: one line of what happened, as a sentence to translate and what stands in it."""

from collections.abc import Mapping
from typing import NamedTuple

from gateways.console.terms import Term, mark
from schemas.base import Event
from schemas.deliveries import ResultArchived, ResultHeld, ResultRejected, WorklistRejected, WorklistUpdated
from schemas.events import (
    AlertRaised,
    AlertWithdrawn,
    InstanceQuarantined,
    SeriesReceived,
    StudyAssembled,
    StudyTriaged,
)
from schemas.paging import (
    AlertAcknowledged,
    AlertClosed,
    AlertDeferred,
    AlertDelivered,
    AlertDismissed,
    AlertEscalated,
    AlertHandedOn,
    AlertPaged,
    AlertRefused,
    AlertSeen,
    AlertUndelivered,
)


class Told(NamedTuple):
    """A sentence, and what stands in it; a :class:`Term` among the values is translated as well."""

    sentence: str
    values: Mapping[str, object]


def told(event: Event) -> Told:
    """What an event says, for the timeline."""
    match event:
        case SeriesReceived():
            one = event.series
            values = {"modality": one.modality or "?", "images": one.instances, "ae": event.sending_ae}
            return Told(mark("%(images)s images (%(modality)s) received from %(ae)s"), values)
        case InstanceQuarantined():
            return Told(mark("an object was kept aside: %(reason)s"), {"reason": event.reason})
        case StudyAssembled():
            sentence = mark("study complete, revision %(revision)s: %(count)s series")
            provisional = mark("study handed on, revision %(revision)s: %(count)s series, more may come")
            values = {"revision": event.revision, "count": len(event.series)}
            return Told(sentence if event.final else provisional, values)
        case StudyTriaged():
            return _triaged(event)
        case ResultArchived():
            values = {"to": event.destination, "revision": event.revision, "count": len(event.objects)}
            return Told(mark("revision %(revision)s is in %(to)s: %(count)s objects"), values)
        case ResultHeld():
            values = {"to": event.destination, "reason": event.reason}
            return Told(mark("held before %(to)s: %(reason)s"), values)
        case ResultRejected():
            values = {"to": event.destination, "reason": f"{event.status or ''} {event.reason}".strip()}
            return Told(mark("rejected by %(to)s: %(reason)s"), values)
        case WorklistUpdated():
            values = {"to": event.destination, "priority": Term(event.priority)}
            return Told(mark("%(to)s has it as %(priority)s"), values)
        case WorklistRejected():
            values = {"to": event.destination, "reason": event.reason}
            return Told(mark("rejected by %(to)s: %(reason)s"), values)
        case _:
            return _alert(event)


def _triaged(event: StudyTriaged) -> Told:
    values = {
        "revision": event.revision,
        "outcome": Term(event.outcome.replace("_", " ")),
        "priority": Term(event.priority),
        "reason": event.reason,
    }
    if event.unconfirmed:
        return Told(mark("AI, revision %(revision)s, not confirmed yet: %(outcome)s, %(priority)s. %(reason)s"), values)
    return Told(mark("AI, revision %(revision)s: %(outcome)s, %(priority)s. %(reason)s"), values)


def _alert(event: Event) -> Told:
    match event:
        case AlertRaised():
            values = {"priority": Term(event.priority), "reason": event.reason}
            return Told(mark("alert raised, %(priority)s: %(reason)s"), values)
        case AlertPaged():
            values = {"whom": ", ".join(event.recipients), "why": Term(event.why)}
            return Told(mark("%(whom)s paged (%(why)s)"), values)
        case AlertDeferred():
            return Told(mark("page deferred until %(until)s"), {"until": event.until})
        case AlertDelivered():
            values = {"whom": event.recipient, "channel": event.channel}
            return Told(mark("page delivered to %(whom)s by %(channel)s"), values)
        case AlertUndelivered():
            values = {"whom": event.recipient, "reason": event.reason}
            return Told(mark("page did not reach %(whom)s: %(reason)s"), values)
        case AlertSeen():
            return Told(mark("opened by %(by)s"), {"by": event.by})
        case AlertAcknowledged():
            return Told(mark("acknowledged by %(by)s"), {"by": event.by})
        case AlertDismissed():
            return Told(mark("not a finding, says %(by)s: %(reason)s"), {"by": event.by, "reason": event.reason})
        case AlertHandedOn():
            return Told(mark("handed on by %(by)s"), {"by": event.by})
        case AlertEscalated():
            return Told(mark("goes on to the next (%(why)s)"), {"why": Term(event.why)})
        case AlertWithdrawn():
            return Told(mark("alert withdrawn: %(reason)s"), {"reason": event.reason})
        case AlertClosed():
            return Told(mark("alert closed: %(reason)s"), {"reason": event.reason})
        case AlertRefused():
            return Told(mark("refused to %(by)s: %(reason)s"), {"by": event.by, "reason": event.reason})
        case _:
            return Told("%(event)s", {"event": type(event).__name__})
