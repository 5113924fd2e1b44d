"""Reading one series: the first of its routes whose model is installed, the gate before that model, and its answer.

A model that is not installed is passed over and named, so that everybody sees which model spoke and which could not. A
gate that does not work lets the series pass, with a caution: a broken gate must not hide a bleed.
"""

from typing import NamedTuple

from schemas.events import Series, SeriesDecision, StudyAssembled
from schemas.failures import NotInstalled, Unreadable
from schemas.models import ModelIdentity
from streams.ports import Inference
from streams.route import Gate, Route, fitting, route, split


class Choice(NamedTuple):
    """What is to be done with a series."""

    series: Series
    route: Route | None
    """The route it takes; None where no model is to look at it."""
    model: ModelIdentity | None
    """What reads it now; None where nothing can."""
    asked: str | None
    """The model as the decision names it."""
    reason: str

    @property
    def confirm(self) -> str | None:
        """The model that reads the series again."""
        return self.route.confirm if self.route else None


def may_be_confirmed(study: StudyAssembled, routes: tuple[Route, ...]) -> bool:
    """Whether a second reading of any series is possible, judged from the study alone."""
    return any(taken.route and taken.route.confirm for one in study.series for taken in fitting(one, routes))


async def choose(
    inference: Inference, study: StudyAssembled, series: Series, routes: tuple[Route, ...], *, urgent: bool = True
) -> Choice:
    """The first route that takes the series and whose model is installed; the gate of the route is asked here.

    Raises :class:`schemas.failures.Unavailable`.
    """
    absent: list[str] = []
    for taken in fitting(series, routes):
        candidate = taken.route
        assert candidate is not None, "a route that takes the series"
        try:
            model = await inference.identify(candidate.model, candidate.version)
        except NotInstalled:
            absent.append(f"{candidate.reader} is not installed")
            continue
        except Unreadable as error:
            return Choice(series, candidate, None, candidate.reader, "; ".join([f"not read: {error}", *absent]))
        reasons = [taken.reason, *absent]
        if candidate.gate is not None:
            refused, said = await _ask(inference, study, series, candidate.gate, urgent=urgent)
            if refused:
                return Choice(series, None, None, None, said)
            reasons += [said] if said else []
        return Choice(series, candidate, model, candidate.reader, "; ".join(reasons))
    if absent:
        return Choice(series, None, None, absent[-1].partition(" ")[0], f"not read: {'; '.join(absent)}")
    return Choice(series, None, None, None, route(series, routes).reason)


async def read(inference: Inference, study: StudyAssembled, choice: Choice, *, urgent: bool = True) -> SeriesDecision:
    """Show the series to the model that was chosen. Raises :class:`schemas.failures.Unavailable`."""
    about = SeriesDecision(
        series_uid=choice.series.series_uid, model=choice.asked, reason=choice.reason, manifest=choice.series.manifest
    )
    if choice.model is None:
        return about
    try:
        reading = await inference.read(study.site, study.study_uid, choice.series, choice.model, urgent=urgent)
    except Unreadable as error:
        return about.model_copy(update={"reason": f"not read: {error}"})
    return about.model_copy(update={"reading": reading})


async def _ask(
    inference: Inference, study: StudyAssembled, series: Series, gate: Gate, *, urgent: bool
) -> tuple[bool, str]:
    """Whether the gate refuses the series, and what is to be said of it."""
    try:
        classifier = await inference.identify(*split(gate.model))
        reading = await inference.read(study.site, study.study_uid, series, classifier, urgent=urgent)
    except NotInstalled:
        return False, f"caution: the gate {gate.model} is not installed"
    except Unreadable as error:
        return False, f"caution: the gate {gate.model} did not work: {error}"
    score = reading.scores.get(gate.concept)
    if score is None:
        return False, f"caution: the gate {gate.model} gave no score for {gate.concept}"
    if score > gate.max_score:
        return True, f"refused by {gate.model}: {gate.concept} scores {score:.2f}, more than {gate.max_score:g}"
    return False, ""
