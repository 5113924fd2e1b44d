"""Confirm: the second reading. A slower, more certain model confirms, corrects or takes back what the first one read.

It works beside the hop *infer*, from the same revisions, in a process of its own, and its readings let those of *infer*
pass: the first word never waits for it. What it says of a revision is the last word on it.

It says nothing of a study that no confirming model reads, nothing while it waits (*infer* has spoken), and nothing when
an event becomes a dead letter: it keeps no state and could only say ``failed``, which would hide the findings of the
first reading. That reading then stands, marked as unconfirmed, and the hop *alert* pages a finding that waited for its
confirmation when the site's patience is over.
"""

from schemas.base import Event
from schemas.events import SeriesDecision, StudyAssembled, StudyTriaged
from schemas.failures import NotInstalled, Unavailable, Unreadable
from streams.conclusion import conclude
from streams.ports import Inference
from streams.reading import Choice, choose, may_be_confirmed, read
from streams.route import split
from streams.site import Sites


async def confirm(sites: Sites, inference: Inference, event: Event) -> tuple[StudyTriaged, ...]:
    """Read again the series whose route asks for it, take the other readings as they are, and judge what was found.

    Raises :class:`schemas.failures.Unavailable` where the model server or the store is away.
    """
    if not isinstance(event, StudyAssembled):
        return ()
    rules = sites.of(event.site)
    if not may_be_confirmed(event, rules.routes):
        return ()
    choices = [await choose(inference, event, series, rules.routes, urgent=False) for series in event.series]
    if not any(choice.confirm for choice in choices):
        return ()
    decisions: dict[str, SeriesDecision] = {}
    doubts: set[str] = set()
    # First what only this hop reads: meanwhile the answers for the other series are recorded.
    for choice in sorted(choices, key=lambda choice: choice.confirm is None):
        if choice.confirm is None:
            decision = await read(inference, event, choice, urgent=False)
        else:
            decision, doubt = await _again(inference, event, choice, choice.confirm)
            doubts |= {doubt} - {""}
        decisions[choice.series.series_uid] = decision
    in_order = [decisions[series.series_uid] for series in event.series]
    return (conclude(rules.alerts, event, in_order, remarks=sorted(doubts)),)


def waiting(event: Event, error: Unavailable) -> tuple[StudyTriaged, ...]:
    """Nothing: the first reading stands meanwhile."""
    return ()


def failed(event: Event) -> tuple[StudyTriaged, ...]:
    """Nothing: the first reading stands, unconfirmed."""
    return ()


async def _again(
    inference: Inference, study: StudyAssembled, choice: Choice, second: str
) -> tuple[SeriesDecision, str]:
    """The second reading of a series; where there is none, the first, and why it was not confirmed."""
    series = choice.series
    try:
        model = await inference.identify(*split(second))
        reading = await inference.read(study.site, study.study_uid, series, model, urgent=False)
    except NotInstalled:
        doubt = f"not confirmed: {second} is not installed"
    except Unreadable as error:
        doubt = f"not confirmed: {error}"
    else:
        if reading.refused is None:
            reason = f"{choice.reason}; read again after {choice.asked}" if choice.model else f"after {choice.reason}"
            decision = SeriesDecision(
                series_uid=series.series_uid, model=second, reason=reason, reading=reading, manifest=series.manifest
            )
            return decision, ""
        doubt = f"not confirmed: {second}: {reading.refused}"
    first = await read(inference, study, choice, urgent=False)
    return first.model_copy(update={"reason": f"{first.reason}; {doubt}"}), doubt
