"""What people read of a result in a worklist, in the language of the site."""

from typing import Final, Literal

from gateways.worklist.bearing import is_last_word
from schemas.base import NOTICE
from schemas.events import Finding, Outcome, Priority, Side, StudyTriaged

Language = Literal["en", "ko"]

REASONS: Final[dict[Language, dict[bool, str]]] = {
    "en": {True: "AI triage raised the priority", False: "AI triage took its finding back"},
    "ko": {True: "AI 선별 결과로 우선순위 상향", False: "AI 선별 소견 철회"},
}
"""Why a priority changes; by whether it rises."""

_NOTICES = {"en": NOTICE, "ko": "AI 분석 결과입니다. 의사의 판독 없이 진단에 사용할 수 없습니다."}
_PRIORITIES = {
    "en": {Priority.STAT: "STAT", Priority.URGENT: "urgent", Priority.ROUTINE: "routine"},
    "ko": {Priority.STAT: "STAT(즉시)", Priority.URGENT: "응급", Priority.ROUTINE: "일반"},
}
_SIDES = {
    "en": {Side.LEFT: "left", Side.RIGHT: "right", Side.MIDLINE: "midline"},
    "ko": {Side.LEFT: "좌측", Side.RIGHT: "우측", Side.MIDLINE: "정중선"},
}
_LABELS = {
    "en": ("AI triage", "probability", "no urgent finding: an earlier AI finding was taken back"),
    "ko": ("AI 선별", "확률", "응급 소견 없음: 이전 AI 소견 철회"),
}
_PROVISIONAL = {
    "en": "Preliminary: more images or a second reading may follow.",
    "ko": "예비 결과: 추가 영상 또는 2차 분석이 이어질 수 있습니다.",
}


def lines(result: StudyTriaged, language: Language) -> tuple[str, ...]:
    """The result in words, ended by the notice that goes with everything a model said."""
    triage, _, taken_back = _LABELS[language]
    first = f"{triage}: {_PRIORITIES[language][result.priority]}"
    if result.outcome is not Outcome.FINDINGS:
        first = f"{triage}: {taken_back}"
    said = (first, *(_finding(finding, language) for finding in result.findings))
    provisional = () if is_last_word(result) else (_PROVISIONAL[language],)
    return (*said, *provisional, _NOTICES[language])


def _finding(finding: Finding, language: Language) -> str:
    _, probability, _ = _LABELS[language]
    side = f", {_SIDES[language][finding.side]}" if finding.side else ""
    return f"{finding.code.meaning}, {probability} {finding.probability:.2f}, {finding.volume_ml:.1f} mL{side}"
