"""The alert policy of a site: which finding, from which probability and volume, is how urgent."""

from collections import defaultdict
from typing import Annotated, NamedTuple

from pydantic import Field

from schemas.base import Record
from schemas.events import Finding, Priority


class Rule(Record):
    """Findings of one kind that are at least this certain and together at least this large have this priority."""

    finding: Annotated[str, Field(pattern=r"^(SCT|RADLEX|DCM|99SINSOK):\S+$", description="Coded concept, SCT:1386000")]
    min_probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    min_volume_ml: Annotated[float, Field(ge=0)] = 0.0
    priority: Priority


class AlertPolicy(Record):
    """The rules of a site. The most urgent rule that holds decides; where none holds a finding is routine."""

    rules: tuple[Rule, ...] = ()
    page: frozenset[Priority] = Field(
        default=frozenset({Priority.STAT, Priority.URGENT}), description="Priorities that raise an alert"
    )


class Verdict(NamedTuple):
    """How urgent, and by which rule."""

    priority: Priority
    reason: str


def judge(policy: AlertPolicy, findings: tuple[Finding, ...]) -> Verdict:
    """The most urgent verdict over all series. Volumes add up within a series: two series may show one lesion twice."""
    by_series: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        by_series[finding.series_uid, str(finding.code)].append(finding)
    verdicts = [
        Verdict(
            rule.priority,
            f"{certain[0].code.meaning}, {sum(finding.volume_ml for finding in certain):.1f} ml"
            f" (rule: from {rule.min_volume_ml:g} ml and probability {rule.min_probability:g})",
        )
        for rule in policy.rules
        for (_, code), group in by_series.items()
        if code == rule.finding
        and (certain := [finding for finding in group if finding.probability >= rule.min_probability])
        and sum(finding.volume_ml for finding in certain) >= rule.min_volume_ml
    ]
    if not verdicts:
        return Verdict(Priority.ROUTINE, "no rule of the site makes it urgent" if findings else "nothing found")
    return min(verdicts, key=lambda verdict: verdict.priority.rank)
