"""What a run says in the end, as JSON, as a page and on a terminal: totals, alerts, and what is not as it was."""

import json
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any, Final, NamedTuple

from jinja2 import Environment

from gateways.objects import write_whole
from schemas.base import NOTICE, Digest, Record
from schemas.identity import digest, study_key
from sinsok.replay.compare import Change, Compared, Outcome
from sinsok.replay.run import Options, Run

JSON: Final = "report.json"
PAGE: Final = "report.html"
EVENTS: Final = "events.jsonl"
MOST_POINTS: Final = 5000
"""Of a plot."""


class Alerts(Record):
    """Alerts then and now."""

    then: int = 0
    now: int = 0
    came_not: int = 0
    """Would have come, and did not come then."""
    comes_not: int = 0
    """Came then, and would not have come."""
    other_time: int = 0


class Report(Record):
    """What became of the studies of a run."""

    options: Options
    same: int = 0
    different: int = 0
    unknown: int = 0
    earlier: int = 0
    events: int = 0
    """What the hops sent then, of the studies that could be decided again."""
    changed: int = 0
    missing: int = 0
    new: int = 0
    faulty: int = 0
    """Studies of which the record itself lacks something."""
    alerts: Alerts = Alerts()
    studies: tuple[Compared, ...] = ()
    """Those that are not as they were."""
    notice: str = NOTICE


class Point(NamedTuple):
    """One study or alert in a plot."""

    then: float
    now: float


def report(run: Run) -> Report:
    """Add up what came of the studies."""
    totals: dict[str, int] = dict.fromkeys((*Outcome, *Change, "events", "faulty"), 0)
    alerts = dict.fromkeys(Alerts.model_fields, 0)
    studies = []
    for _, one in run.results():
        totals[one.outcome] += 1
        totals["faulty"] += bool(one.faults)
        if one.outcome is not Outcome.EARLIER:
            totals["events"] += one.events
            for difference in one.differences:
                totals[difference.change] += 1
            for name, number in _alerts(one).items():
                alerts[name] += number
        if one.faults or one.outcome not in (Outcome.SAME, Outcome.EARLIER):
            studies.append(one)
    return Report(options=run.options, **totals, alerts=Alerts(**alerts), studies=tuple(studies))


def write(run: Run, found: Report) -> Digest:
    """Write the report, its page and what the hops sent into the run's folder; the digest of the report."""
    text = found.model_dump_json(indent=2, exclude={"options": {"workers", "speed", "rules"}}).encode() + b"\n"
    write_whole(run.folder / JSON, text)
    write_whole(run.folder / PAGE, page(found, run.results()).encode())
    _write_events(run)
    return digest(text)


def _write_events(run: Run) -> None:
    """One event a line: topic, key, value; as ``sinsok events --json`` has them."""
    part = run.folder / f".{EVENTS}.part"
    with part.open("w", encoding="utf-8") as file:
        for topic, key, value in run.said():
            head = json.dumps({"topic": topic, "key": key})
            file.write(f'{head[:-1]}, "value": {value}}}\n')
    part.rename(run.folder / EVENTS)


def lines(found: Report) -> Iterator[str]:
    """The report for a terminal."""
    options, alerts = found.options, found.alerts
    against = f", with {', '.join(options.differs)}" if options.differs else ""
    yield f"replay {options.run}{against}: {_period(options)}"
    yield ""
    yield f"  {'studies':<10} {'same':>8} {'different':>10} {'not known':>10} {'begun before':>13}"
    yield f"  {'':<10} {found.same:>8} {found.different:>10} {found.unknown:>10} {found.earlier:>13}"
    yield f"  {'events':<10} {'changed':>8} {'missing':>10} {'new':>10} {'of':>13}"
    yield f"  {'':<10} {found.changed:>8} {found.missing:>10} {found.new:>10} {found.events:>13}"
    yield f"  {'alerts':<10} {'then':>8} {'now':>10} {'would come':>10} {'would not':>13}   at another time"
    yield (
        f"  {'':<10} {alerts.then:>8} {alerts.now:>10} {alerts.came_not:>10} {alerts.comes_not:>13}"
        f"   {alerts.other_time:>15}"
    )
    for study in found.studies:
        yield ""
        yield f"{study.outcome}: study {study.study_uid} at {study.site}"
        yield from (f"  {line}" for line in told(study))


def told(study: Compared) -> Iterator[str]:
    """What is not as it was, line by line."""
    yield from (f"record: {fault}" for fault in study.faults)
    yield from (f"not known: {why}" for why in study.unknown)
    for one in study.differences:
        yield f"{one.change} {one.type} of {one.at:%Y-%m-%d %H:%M:%S} UTC"
        for name, (was, is_) in one.fields.items():
            yield f"  {name}: {_short(was)} -> {_short(is_)}"
    yield from (f"not heard, its alert did not come: {act}" for act in study.unheard)


def page(found: Report, results: Iterable[tuple[str, Compared]]) -> str:
    """The report as a page that needs nothing else."""
    template = files("sinsok.replay").joinpath("report.html.jinja").read_text(encoding="utf-8")
    times: list[Point] = []
    volumes: list[Point] = []
    for _, one in results:
        if one.outcome is Outcome.EARLIER:
            continue
        times += [Point(was.after_s, is_.after_s) for was, is_ in zip(*one.alerts, strict=False)]
        volumes += [Point(*one.volume_ml)] if any(one.volume_ml) else []
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        report=found,
        period=_period(found.options),
        plots=[
            ("Seconds from the last image to the alert", _axes(times)),
            ("Volume of all findings, ml", _axes(volumes)),
        ],
        studies=[(one, study_key(one.site, one.study_uid), list(told(one))) for one in found.studies],
    )


def _axes(points: list[Point]) -> dict[str, Any]:
    """Points of a plot of then against now, in a square of 100 by 100, and what its sides measure."""
    shown = points[:MOST_POINTS]
    most = max((max(point) for point in shown), default=0.0) or 1.0
    return {
        "most": f"{most:.0f}",
        "left_out": len(points) - len(shown),
        "points": [
            (round(100 * point.then / most, 2), round(100 - 100 * point.now / most, 2), point.then != point.now)
            for point in shown
        ],
    }


def _alerts(study: Compared) -> dict[str, int]:
    raised = [one for one in study.differences if one.type == "AlertRaised"]
    then, now = study.alerts
    return {
        "then": len(then),
        "now": len(now),
        "came_not": sum(one.change is Change.NEW for one in raised),
        "comes_not": sum(one.change is Change.MISSING for one in raised),
        "other_time": sum("time" in one.fields for one in raised),
    }


def _period(options: Options) -> str:
    begin = f"{options.begin:%Y-%m-%d %H:%M:%S}" if options.begin else "the beginning of the record"
    return f"from {begin} to {options.until:%Y-%m-%d %H:%M:%S} UTC"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."
