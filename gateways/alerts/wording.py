"""What people read of an alert, in the language of the recipient. It says no more than the site allows."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final

from gateways.alerts.channel import Kind, Line, Message
from gateways.alerts.placeholders import filled
from gateways.alerts.settings import Language, Said
from schemas.base import NOTICE
from schemas.events import AlertEvent, AlertWithdrawn, Finding, Priority, Side
from schemas.identity import derived_id
from schemas.paging import AlertPaged, PageReason

_NOTICES: Final[dict[Language, str]] = {
    "en": NOTICE,
    "ko": "AI 분석 결과입니다. 의사의 판독 없이 진단에 사용할 수 없습니다.",
}
_PRIORITIES: Final[dict[Language, dict[Priority, str]]] = {
    "en": {Priority.STAT: "STAT", Priority.URGENT: "URGENT", Priority.ROUTINE: "ROUTINE"},
    "ko": {Priority.STAT: "STAT(즉시)", Priority.URGENT: "응급", Priority.ROUTINE: "일반"},
}
_SIDES: Final[dict[Language, dict[Side, str]]] = {
    "en": {Side.LEFT: "left", Side.RIGHT: "right", Side.MIDLINE: "midline"},
    "ko": {Side.LEFT: "좌측", Side.RIGHT: "우측", Side.MIDLINE: "정중선"},
}
_WHY: Final[dict[Language, dict[PageReason, str]]] = {
    "en": {
        PageReason.UNDELIVERED: "The page before this one reached nobody.",
        PageReason.UNANSWERED: "Nobody has taken this alert yet.",
        PageReason.ESCALATED: "The person asked before has handed it on.",
        PageReason.DEFERRED: "It was held back until now.",
        PageReason.REPEATED: "It could not be sent in time before.",
    },
    "ko": {
        PageReason.UNDELIVERED: "이전 호출이 전달되지 않았습니다.",
        PageReason.UNANSWERED: "아직 아무도 이 알림을 확인하지 않았습니다.",
        PageReason.ESCALATED: "이전 담당자가 다음 담당자에게 넘겼습니다.",
        PageReason.DEFERRED: "지금까지 보류되었던 알림입니다.",
        PageReason.REPEATED: "앞서 제때 전송되지 못한 알림입니다.",
    },
}
_WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "alert": "AI alert",
        "open": "Open the study",
        "withdrawn": "Withdrawn: the AI finding reported earlier for this study no longer stands",
        "digest": "{} AI alerts were held back",
        "more": "{} and {} more",
        "further": "and {} more",
    },
    "ko": {
        "alert": "AI 알림",
        "open": "검사 열기",
        "withdrawn": "철회: 이 검사에 대해 앞서 알린 AI 소견이 더 이상 유효하지 않습니다",
        "digest": "보류된 AI 알림 {}건",
        "more": "{} 외 {}건",
        "further": "외 {}건",
    },
}
_FINDINGS: Final = 5
"""So many stand in a page: it is read on a phone."""
_ALERTS: Final = 30
"""So many stand in a digest."""


class Wording:
    """Makes the messages of one recipient."""

    def __init__(
        self,
        site: str,
        recipient: str,
        language: Language,
        says: Collection[Said],
        link: str,
        draw: Callable[[AlertPaged, Language], bytes | None] | None = None,
    ) -> None:
        self._site = site
        self._recipient = recipient
        self._language: Language = language
        self._says = says
        self._link = link
        self._words = _WORDS[language]
        self._draw = draw if "picture" in says else None

    def page(self, key: str, page: AlertPaged) -> Message:
        """Somebody has to look at a study now."""
        title, why = self._title(page), _WHY[self._language].get(page.why)
        said = self._cut([Line(text) for text in self._findings(page)], _FINDINGS)
        lines = (Line(title), *said[1:], *([Line(why)] if why else []), self._open(page))
        facts = {"attempt": page.attempt, "why": page.why, **self._facts(page)}
        picture = partial(self._draw, page, self._language) if self._draw else None
        return self._message(key, Kind.PAGE, page, title, lines, facts, picture)

    def withdrawal(self, key: str, withdrawn: AlertWithdrawn) -> Message:
        """What was told does not stand any more."""
        title = self._words["withdrawn"]
        facts = {"alert_id": str(withdrawn.alert_id), "link": self._url(withdrawn)}
        return self._message(key, Kind.WITHDRAWAL, withdrawn, title, (Line(title), self._open(withdrawn)), facts)

    def digest(self, key: str, pages: Sequence[AlertPaged]) -> Message:
        """The alerts that were held back, the most urgent first."""
        ordered = sorted(pages, key=lambda page: (page.priority.rank, page.time))
        lines = self._cut([Line(self._title(page), self._url(page)) for page in ordered], _ALERTS)
        title = self._words["digest"].format(len(ordered))
        notice = Line(_NOTICES[self._language])
        return Message(
            key,
            Kind.DIGEST,
            self._site,
            self._recipient,
            self._language,
            max(page.time for page in pages),
            f"digest-{self._site}",
            None,
            title,
            (Line(title), *lines, notice),
            {"alerts": [self._facts(page) for page in ordered]},
        )

    def _message(
        self,
        key: str,
        kind: Kind,
        event: AlertEvent,
        title: str,
        lines: Sequence[Line],
        facts: Mapping[str, object],
        picture: Callable[[], bytes | None] | None = None,
    ) -> Message:
        return Message(
            key,
            kind,
            self._site,
            self._recipient,
            self._language,
            event.time,
            str(derived_id("thread", event.site, event.study_uid)),
            event.alert_id,
            title,
            (*lines, Line(_NOTICES[self._language])),
            facts,
            picture,
        )

    def _cut(self, lines: Sequence[Line], most: int) -> Sequence[Line]:
        """The first lines, and how many more there are."""
        more = [Line(self._words["further"].format(len(lines) - most))] if len(lines) > most else []
        return [*lines[:most], *more]

    def _title(self, page: AlertPaged) -> str:
        findings = self._findings(page)
        said = findings[0] if findings else self._words["alert"]
        if len(findings) > 1:
            said = self._words["more"].format(said, len(findings) - 1)
        return f"{_PRIORITIES[self._language][page.priority]}: {said}" if "priority" in self._says else said

    def _findings(self, page: AlertPaged) -> list[str]:
        """What may be said of each."""
        texts = (self._finding(finding) for finding in _told_apart(page))
        return [text for text in dict.fromkeys(texts) if text]

    def _finding(self, finding: Finding) -> str:
        """Empty where nothing of it may be said."""
        parts = [finding.code.meaning] if "finding" in self._says else []
        if "side" in self._says and finding.side:
            parts.append(_SIDES[self._language][finding.side])
        if "volume" in self._says:
            parts.append(f"{finding.volume_ml:.1f} mL")
        return " ".join(", ".join(parts).split())  # it becomes the subject of a mail

    def _facts(self, page: AlertPaged) -> dict[str, object]:
        facts: dict[str, object] = {"alert_id": str(page.alert_id), "link": self._url(page)}
        if "priority" in self._says:
            facts["priority"] = page.priority
        said = {"finding": "code", "side": "side", "volume": "volume_ml"}
        fields = {name for allowed, name in said.items() if allowed in self._says}
        if fields:
            facts["findings"] = [finding.model_dump(mode="json", include=fields) for finding in _told_apart(page)]
        return facts

    def _open(self, event: AlertEvent) -> Line:
        return Line(self._words["open"], self._url(event))

    def _url(self, event: AlertEvent) -> str:
        return filled(self._link, {"alert_id": str(event.alert_id)}, str)


def _told_apart(page: AlertPaged) -> list[Finding]:
    """One finding for each kind and side, the largest: one bleed is seen in every series of a study.

    Those that the rule speaks of, for which the alert was raised, come first; then by volume.
    """
    ordered = sorted(page.findings, key=lambda one: (one.code.meaning not in page.reason, -one.volume_ml))
    apart: dict[tuple[str, Side | None], Finding] = {}
    for finding in ordered:
        apart.setdefault((str(finding.code), finding.side), finding)
    return list(apart.values())
