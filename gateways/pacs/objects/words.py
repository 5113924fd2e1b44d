"""What people read in the objects, in English and Korean. Codes and the names of models stay as they are."""

from dataclasses import dataclass
from typing import Final, Literal

from schemas.base import NOTICE
from schemas.events import Outcome, StudyTriaged

Language = Literal["en", "ko"]


@dataclass(frozen=True)
class Words:
    """The sentences of one language."""

    language: Language
    language_name: str
    """As a code's meaning, in English (RFC 5646)."""
    notice: str
    warning: str
    """The notice, short enough to be burned in."""
    withdrawn: str
    withdrawn_mark: str
    """Burned in where an earlier key image was."""
    withdrawn_if_any: str
    standing: str
    """Where findings were neither confirmed nor taken back."""
    rejected: str
    locates_nothing: str
    complete: str
    incomplete: str
    unconfirmed: str
    _revision: str
    _replaces_revision: str
    _replaces_unconfirmed: str
    _replaces_either: str
    _outcomes: dict[Outcome, str]

    def outcome(self, result: StudyTriaged) -> str:
        """What came of looking, and the reason, which is in English."""
        return f"{self._outcomes[result.outcome]}: {result.reason}"

    def revision(self, result: StudyTriaged) -> str:
        """Which revision this is, and what is still to come."""
        parts = [self._revision.format(result.revision), self.complete if result.final else self.incomplete]
        return ", ".join([*parts, self.unconfirmed] if result.unconfirmed else parts)

    def replaces(self, result: StudyTriaged) -> str:
        """Which revision's image this one takes the place of.

        The second reading's takes that of the first, or that of the revision before where there was no first.
        """
        if result.supersedes is None:
            return self._replaces_unconfirmed.format(result.revision)
        if result.unconfirmed:
            return self._replaces_revision.format(result.supersedes)
        return self._replaces_either.format(result.supersedes, result.revision)


ENGLISH: Final = Words(
    language="en",
    language_name="English",
    notice=NOTICE,
    warning="AI - not for diagnosis without a physician",
    withdrawn="Earlier AI finding withdrawn. This document replaces the earlier one.",
    withdrawn_mark="superseded: earlier AI finding withdrawn",
    withdrawn_if_any="This document replaces an earlier one. Earlier AI finding withdrawn, if it had any.",
    standing="An earlier AI finding, if there was one, has not been assessed again and still stands.",
    rejected="A newer AI result replaces these objects.",
    locates_nothing="the model gives no location",
    complete="images complete",
    incomplete="more images may come",
    unconfirmed="unconfirmed: a second reading follows",
    _revision="Revision {}",
    _replaces_revision="replaces the AI image of revision {}",
    _replaces_unconfirmed="replaces the unconfirmed AI image of revision {}",
    _replaces_either="replaces the AI image of revision {} or the unconfirmed one of revision {}",
    _outcomes={
        Outcome.FINDINGS: "AI findings",
        Outcome.NO_FINDINGS: "AI looked and reports no findings",
        Outcome.NOT_APPLICABLE: "Not analysed by AI, no model is for these images",
        Outcome.FAILED: "Not analysed by AI, the analysis failed",
    },
)
KOREAN: Final = Words(
    language="ko",
    language_name="Korean",
    notice="AI 분석 결과입니다. 의사의 판독 없이 진단에 사용할 수 없습니다.",
    warning="AI 결과 - 의사의 판독 없이 진단용으로 사용 금지",
    withdrawn="이전 AI 소견이 철회되었습니다. 이 문서가 이전 문서를 대체합니다.",
    withdrawn_mark="대체됨: 이전 AI 소견 철회",
    withdrawn_if_any="이 문서가 이전 문서를 대체합니다. 이전 AI 소견이 있었다면 철회되었습니다.",
    standing="이전 AI 소견이 있었다면 다시 평가되지 않았으며 여전히 유효합니다.",
    rejected="새로운 AI 결과가 이 객체들을 대체합니다.",
    locates_nothing="모델이 위치를 제공하지 않음",
    complete="영상 수신 완료",
    incomplete="추가 영상이 올 수 있음",
    unconfirmed="미확정: 2차 분석 예정",
    _revision="개정 {}",
    _replaces_revision="개정 {}의 AI 영상을 대체함",
    _replaces_unconfirmed="개정 {}의 미확정 AI 영상을 대체함",
    _replaces_either="개정 {} 또는 개정 {} 미확정 AI 영상을 대체함",
    _outcomes={
        Outcome.FINDINGS: "AI 소견",
        Outcome.NO_FINDINGS: "AI 분석 결과 소견 없음",
        Outcome.NOT_APPLICABLE: "AI가 분석하지 않음, 해당 모델 없음",
        Outcome.FAILED: "AI가 분석하지 않음, 분석 실패",
    },
)
WORDS: Final = {words.language: words for words in (ENGLISH, KOREAN)}
