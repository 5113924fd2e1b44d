"""Infer: what do the models see in a study? Every series is either shown to a model or has its reason why not.

Where a route names a model that confirms, this is the quick first word: not final, and marked as unconfirmed. The last
word is the next hop's (streams/confirm.py).
"""

from schemas.base import Event
from schemas.events import NOT_YET, StudyAssembled, StudyTriaged
from schemas.failures import Unavailable
from streams.conclusion import conclude, unread
from streams.ports import Inference
from streams.reading import choose, may_be_confirmed, read
from streams.site import Sites


async def infer(sites: Sites, inference: Inference, event: Event) -> tuple[StudyTriaged, ...]:
    """Read every series of the study that a route takes, and judge what was found.

    Raises :class:`schemas.failures.Unavailable` where the model server or the store is away.
    """
    if not isinstance(event, StudyAssembled):
        return ()
    rules = sites.of(event.site)
    choices = [await choose(inference, event, series, rules.routes) for series in event.series]
    decisions = [await read(inference, event, choice) for choice in choices]
    second = sorted({choice.confirm for choice in choices if choice.confirm})
    remarks = [f"{model} has yet to confirm it" for model in second]
    return (conclude(rules.alerts, event, decisions, unconfirmed=bool(second), remarks=remarks),)


def waiting(sites: Sites, event: Event, error: Unavailable) -> tuple[StudyTriaged, ...]:
    """What to tell everybody while the models are away: the AI did not run. The true result supersedes it."""
    if not isinstance(event, StudyAssembled):
        return ()
    # The confirming model may be there when the first is not: then its result is the one that counts.
    second = may_be_confirmed(event, sites.of(event.site).routes)
    reason = f"{NOT_YET}: {error}"
    return (unread(event, "not read yet", reason, final=event.final and not second, unconfirmed=second),)


def failed(sites: Sites, event: Event) -> tuple[StudyTriaged, ...]:
    """What to tell everybody when a fault of ours keeps a study from being read.

    Final all the same, since it may be the last word: it is not sure that a second reading fares better. If one does,
    it counts over this.
    """
    if not isinstance(event, StudyAssembled):
        return ()
    second = may_be_confirmed(event, sites.of(event.site).routes)
    reason = "AI failed on this study; the operator finds it in the dead letters"
    return (unread(event, "not read", reason, final=event.final, unconfirmed=second),)
