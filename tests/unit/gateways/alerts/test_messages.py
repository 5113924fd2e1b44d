"""What people read, in both languages, over every channel: what the site allows and never who the patient is."""

import json
import re
from email import message_from_bytes
from email.policy import SMTP, default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.alerts.channel import Line, Message, plain
from gateways.alerts.http_template import escaping, values
from gateways.alerts.placeholders import MESSAGE, filled
from gateways.alerts.settings import Language
from gateways.alerts.smtp import compose
from gateways.alerts.webhook import _STYLES
from schemas.codes import Code
from schemas.events import Finding, Side
from schemas.paging import PageReason
from tests.unit.gateways.alerts.examples import paged, withdrawn, wording
from tests.unit.streams.examples import STUDY, finding

LEFT = finding().model_copy(update={"side": Side.LEFT})
PAGE = paged(findings=(LEFT, finding(volume_ml=2.0)), why=PageReason.UNANSWERED, attempt=2)
URL = f"http://127.0.0.1:8080/alerts/{PAGE.alert_id}"


def messages(language: Language) -> list[Message]:
    words = wording(language)
    return [words.page("k/1", PAGE), words.withdrawal("k/2", withdrawn()), words.digest("k/3", [PAGE, paged(2)])]


def test_a_page_in_english() -> None:
    assert plain(wording("en").page("key", PAGE)).splitlines() == [
        "STAT: Intracranial hemorrhage, left, 20.0 mL and 1 more",
        "Intracranial hemorrhage, 2.0 mL",
        "Nobody has taken this alert yet.",
        f"Open the study: {URL}",
        "AI output. Not for diagnosis without a physician.",
    ]


def test_a_page_in_korean() -> None:
    assert plain(wording("ko").page("key", PAGE)).splitlines() == [
        "STAT(즉시): Intracranial hemorrhage, 좌측, 20.0 mL 외 1건",
        "Intracranial hemorrhage, 2.0 mL",
        "아직 아무도 이 알림을 확인하지 않았습니다.",
        f"검사 열기: {URL}",
        "AI 분석 결과입니다. 의사의 판독 없이 진단에 사용할 수 없습니다.",
    ]


def test_a_bleed_that_is_seen_in_two_series_is_told_once_and_the_largest_of_each_side() -> None:
    thin = LEFT.model_copy(update={"series_uid": "2.25.11", "volume_ml": 24.0})
    right = finding(volume_ml=1.0).model_copy(update={"side": Side.RIGHT})
    message = wording("en").page("key", paged(findings=(LEFT, right, thin)))
    assert [line.text for line in message.lines[:-2]] == [
        "STAT: Intracranial hemorrhage, left, 24.0 mL and 1 more",
        "Intracranial hemorrhage, right, 1.0 mL",
    ]
    assert [one["volume_ml"] for one in message.facts["findings"]] == [24.0, 1.0]  # type: ignore[attr-defined]


def kind(number: int, volume_ml: float) -> Finding:
    code = Code(scheme="99SINSOK", value=str(number), meaning=f"kind {number}")
    return finding(volume_ml=volume_ml).model_copy(update={"code": code})


def test_the_title_names_what_the_alert_was_raised_for_and_not_what_is_large() -> None:
    oedema, bleed, other = kind(1, 90.0), kind(2, 3.0), kind(3, 5.0)
    page = paged(findings=(oedema, bleed, other), reason="kind 2, 3.0 ml (rule: from 2 ml and probability 0.5)")
    assert [line.text for line in wording("en").page("key", page).lines[:-2]] == [
        "STAT: kind 2, 3.0 mL and 2 more",
        "kind 1, 90.0 mL",
        "kind 3, 5.0 mL",
    ]


@pytest.mark.parametrize(("language", "more"), [("en", "and 3 more"), ("ko", "외 3건")])
def test_a_page_has_five_findings_at_most(language: Language, more: str) -> None:
    page = paged(findings=tuple(kind(number, 10.0 - number) for number in range(8)))
    texts = [line.text for line in wording(language).page("key", page).lines[:-2]]
    assert texts[1:] == [*(f"kind {number}, {10 - number}.0 mL" for number in range(1, 5)), more]


def test_a_digest_has_thirty_alerts_at_most() -> None:
    message = wording("en").digest("key", [paged(number) for number in range(33)])
    assert message.title == "33 AI alerts were held back"
    assert [line.text for line in message.lines[-3:-1]] == [wording().page("k", paged()).title, "and 3 more"]
    assert len(message.lines) == 33


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("why", set(PageReason) - {PageReason.RAISED})
def test_why_a_page_comes_again_is_said(language: Language, why: PageReason) -> None:
    again, first = (wording(language).page("key", paged(why=one)).lines for one in (why, PageReason.RAISED))
    assert len(again) == len(first) + 1


def test_a_site_may_say_less() -> None:
    message = wording(says=frozenset()).page("key", PAGE)
    assert plain(message).splitlines() == [
        "AI alert",
        "Nobody has taken this alert yet.",
        f"Open the study: {URL}",
        "AI output. Not for diagnosis without a physician.",
    ]
    assert message.facts.keys() == {"alert_id", "link", "attempt", "why"}
    assert values(message)["priority"] == ""


def test_a_side_alone() -> None:
    message = wording(says={"side"}).page("key", PAGE)
    assert message.title == "left"
    assert message.facts["findings"] == [{"side": "left"}, {"side": None}]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_message_has_link_and_notice_and_no_uid(language: Language) -> None:
    for message in messages(language):
        said = [plain(message), *(json.dumps(style(message)) for style in _STYLES.values())]
        said.append(compose(message, "sinsok@hospital.test", "kim@hospital.test").as_string())
        assert URL in plain(message)
        assert message.lines[-1].text in ("AI output. Not for diagnosis without a physician.", *_KOREAN)
        for text in said:
            assert STUDY not in text
            assert not re.search(r"\b2\.25\.\d+", text), "a UID can be looked up in a PACS"


_KOREAN = ("AI 분석 결과입니다. 의사의 판독 없이 진단에 사용할 수 없습니다.",)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_webhooks_json(language: Language) -> None:
    message = wording(language).page("key", PAGE)
    said = json.loads(json.dumps(_STYLES["sinsok"](message)))
    assert said == {
        "key": "key",
        "kind": "page",
        "site": "suwon",
        "recipient": "kim",
        "time": "2026-03-01T03:00:00Z",
        "thread": message.thread,
        "title": message.title,
        "text": plain(message),
        "attempt": 2,
        "why": "unanswered",
        "alert_id": str(PAGE.alert_id),
        "link": URL,
        "priority": "stat",
        "findings": [
            {"code": LEFT.code.model_dump(), "volume_ml": 20.0, "side": "left"},
            {"code": LEFT.code.model_dump(), "volume_ml": 2.0, "side": None},
        ],
        "notice": "AI output. Not for diagnosis without a physician.",
    }


def test_chat_services_get_a_link() -> None:
    message = wording().page("key", PAGE)
    assert f"<{URL}|Open the study>" in str(_STYLES["slack"](message)["text"])
    assert f"[Open the study]({URL})" in str(_STYLES["mattermost"](message)["text"])
    (attachment,) = json.loads(json.dumps(_STYLES["teams"](message)))["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert f"[Open the study]({URL})" in attachment["content"]["body"][0]["text"]


def test_what_stands_in_a_finding_cannot_mark_up_slack() -> None:
    message = Message("k", PAGE_KIND, "suwon", "kim", "en", PAGE.time, "t", None, "t", (Line("<!channel> & co"),))
    assert _STYLES["slack"](message) == {"text": "&lt;!channel&gt; &amp; co"}


PAGE_KIND = wording().page("key", PAGE).kind


@pytest.mark.parametrize("style", ["mattermost", "teams"])
def test_what_stands_in_a_finding_makes_no_link_and_calls_nobody(style: str) -> None:
    odd = finding().model_copy(
        update={"code": Code(scheme="99SINSOK", value="ODD", meaning="[a](http://b) **c** @all")}
    )
    said = json.dumps(_STYLES[style](wording().page("key", paged(findings=(odd,)))), ensure_ascii=False)
    assert "[a]" not in said
    assert "**c" not in said
    assert "@all" not in said
    assert f"]({URL.rpartition('/')[0]}" in said, "the link of the message itself stays one"


def test_xml_keeps_its_elements() -> None:
    assert escaping("text/xml")('</to><to a="b">&') == "&lt;/to&gt;&lt;to a=&quot;b&quot;&gt;&amp;"


def test_mails_about_one_study_make_a_thread_and_the_same_page_the_same_mail() -> None:
    page, withdrawal, digest = (compose(one, "sinsok@hospital.test", "kim@hospital.test") for one in messages("ko"))
    assert page["References"] == page["In-Reply-To"] == withdrawal["References"]
    assert digest["References"] != page["References"]
    assert len({mail["Message-ID"] for mail in (page, withdrawal, digest)}) == 3
    assert page["X-Sinsok-Alert"] == str(PAGE.alert_id)
    assert "X-Sinsok-Alert" not in digest
    again = compose(messages("ko")[0], "sinsok@hospital.test", "kim@hospital.test")
    assert again.as_bytes(policy=SMTP) == page.as_bytes(policy=SMTP)
    read = message_from_bytes(page.as_bytes(policy=SMTP), policy=default)
    assert read["Subject"] == "STAT(즉시): Intracranial hemorrhage, 좌측, 20.0 mL 외 1건"
    assert [part.get_content_type() for part in read.iter_parts()] == ["text/plain", "text/html"]  # type: ignore[attr-defined]
    assert f'<a href="{URL}">검사 열기</a>' in read.get_body(("html",)).get_content()  # type: ignore[attr-defined]


def test_a_line_break_in_a_meaning_stops_no_mail() -> None:
    odd = finding().model_copy(update={"code": LEFT.code.model_copy(update={"meaning": "one\r\nBcc: x@y.test"})})
    mail = compose(wording().page("key", paged(findings=(odd,))), "a@b.test", "c@d.test")
    assert mail["Subject"] == "STAT: one Bcc: x@y.test, 20.0 mL"
    assert mail["Bcc"] is None


@given(text=st.text())
def test_no_text_ends_the_place_in_json_that_it_is_written_into(text: str) -> None:
    said = dict.fromkeys(MESSAGE, text)
    body = filled('{"to": "01012345678", "message": "{text}"}', said, escaping("application/json"))
    assert json.loads(body) == {"to": "01012345678", "message": text}
