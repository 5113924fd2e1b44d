"""The alert policy of a site: which finding, from which probability and volume, is how urgent."""

from collections import defaultdict
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from schemas.base import Record, SortedSet
from schemas.codes import Concept
from schemas.events import Finding, Priority

Probability = Annotated[float, Field(ge=0, le=1)]
Millilitres = Annotated[float, Field(ge=0)]


class Limits(Record):
    """What a rule asks of a finding that a second reading has yet to confirm."""

    min_probability: Probability = 0.5
    min_volume_ml: Millilitres = 0.0


class Rule(Record):
    """Findings of these kinds that are at least this certain and together at least this large have this priority."""

    finding: Concept | Annotated[tuple[Concept, ...], Field(min_length=1)] = Field(
        description="A coded concept, or several whose volumes add up"
    )
    min_probability: Probability = 0.5
    min_volume_ml: Millilitres = 0.0
    priority: Priority
    unconfirmed: Limits | Literal["wait"] | None = Field(
        default=None,
        description="Limits for paging at once on an unconfirmed finding; 'wait': never; absent: the rule's own",
    )

    @property
    def concepts(self) -> tuple[str, ...]:
        """The kinds of finding it is about."""
        return (self.finding,) if isinstance(self.finding, str) else self.finding

    def limits(self, *, unconfirmed: bool) -> Limits | None:
        """What it asks of a finding; None where it asks for the confirmation."""
        if unconfirmed and self.unconfirmed is not None:
            return self.unconfirmed if isinstance(self.unconfirmed, Limits) else None
        return Limits(min_probability=self.min_probability, min_volume_ml=self.min_volume_ml)


class AlertPolicy(Record):
    """The rules of a site. The most urgent rule that holds decides; where none holds a finding is routine."""

    rules: tuple[Rule, ...] = ()
    page: SortedSet[Priority] = Field(
        default=frozenset({Priority.STAT, Priority.URGENT}), description="Priorities that raise an alert"
    )
    confirm_within_s: Annotated[float, Field(gt=0, le=24 * 3600)] = Field(
        default=120.0, description="A finding that waits for its confirmation pages after this time without one"
    )


class Verdict(NamedTuple):
    """How urgent, and by which rule."""

    priority: Priority
    reason: str


def judge(policy: AlertPolicy, findings: tuple[Finding, ...], *, unconfirmed: bool = False) -> Verdict:
    """The most urgent verdict over all series. Volumes add up within a series: two series may show one lesion twice.

    ``unconfirmed`` asks what may page at once, before the second reading; how urgent a study is does not depend on it.
    """
    by_series: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_series[finding.series_uid].append(finding)
    verdicts = [
        verdict
        for rule in policy.rules
        if (limits := rule.limits(unconfirmed=unconfirmed)) is not None
        for group in by_series.values()
        if (verdict := _apply(rule, limits, group)) is not None
    ]
    if not verdicts:
        return Verdict(Priority.ROUTINE, "no rule of the site makes it urgent" if findings else "nothing found")
    return min(verdicts, key=lambda verdict: verdict.priority.rank)


def _apply(rule: Rule, limits: Limits, series: list[Finding]) -> Verdict | None:
    """What a rule says of the findings of one series; None where it does not hold."""
    certain = [
        finding
        for finding in series
        if str(finding.code) in rule.concepts and finding.probability >= limits.min_probability
    ]
    volume_ml = sum(finding.volume_ml for finding in certain)
    if not certain or volume_ml < limits.min_volume_ml:
        return None
    meanings = list(dict.fromkeys(finding.code.meaning for finding in certain))
    return Verdict(
        rule.priority,
        f"{' and '.join(meanings)}, {volume_ml:.1f} ml"
        f" (rule: from {limits.min_volume_ml:g} ml and probability {limits.min_probability:g})",
    )
