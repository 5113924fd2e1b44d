"""What pages show, what people do with them, and that nothing that comes from outside is taken for a part of a page."""

import re
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from gateways.console.backstage import Condition
from gateways.console.patient import Patient, Patients
from gateways.console.settings import SiteConsole
from gateways.objects import FileStore
from schemas.alarms import AlarmCleared, AlarmKind, AlarmRaised
from schemas.audit import INSTALLATION
from schemas.events import Outcome
from schemas.paging import (
    AlertAcknowledged,
    AlertClosed,
    AlertDismissed,
    AlertHandedOn,
    AlertRefused,
    AlertSeen,
)
from sinsok.phantom.small import small_series
from tests.results import ReadStudy, small_study
from tests.unit.gateways.console.house import (
    Browser,
    Enter,
    House,
    about,
    alert_id,
    at,
    house_in,
    key,
    paged,
    raised,
    received,
    triaged,
    withdrawn,
)

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7 * 7 }} %(by)s'
ALERT = f"/alerts/{alert_id('2.25.1')}"


@pytest.fixture
def house(house: House) -> House:
    house.take(received(), triaged(cautions=("2 slices are missing",)), raised(), paged())
    return house


def acts(house: House) -> list[object]:
    return [event for event in house.said() if isinstance(event, AlertAcknowledged | AlertDismissed | AlertHandedOn)]


def test_a_study_page_shows_what_the_ai_says_and_what_to_know_before_trusting_it(enter: Enter) -> None:
    page = enter("rad.suwon").get(f"/studies/suwon/{key()}").text
    for said in (
        "20.0 ml",
        "91 %",
        "2 slices are missing",
        "AI output. Not for diagnosis without a physician.",
        "+6.0 s",
    ):
        assert said in page
    assert "2.25.1" not in page.replace("2.25.1.", ""), "not even the study's UID"


def test_an_alert_is_acknowledged_once_however_often_it_is_said(house: House, enter: Enter) -> None:
    browser = enter("rad.suwon")
    for _ in range(2):
        answer = browser.act("acknowledge")
        assert (answer.status_code, answer.headers["location"]) == (303, ALERT)
    (said,) = acts(house)
    assert isinstance(said, AlertAcknowledged)
    assert (said.by, said.alert_id, said.revision) == ("rad.suwon", alert_id("2.25.1"), 1)
    page = browser.get(ALERT).text
    assert "/acknowledge" not in page
    assert "rad.suwon" in page


def test_it_is_handed_on_by_the_page_that_was_the_newest(house: House, enter: Enter) -> None:
    house.take(paged(minutes=11, attempt=2))
    assert enter("rad.suwon").act("hand-on").status_code == 303
    (said,) = acts(house)
    assert isinstance(said, AlertHandedOn)
    assert said.attempt == 2


def test_nobody_can_hand_on_what_nobody_was_paged_about(house: House, enter: Enter) -> None:
    house.take(received("1.2"), raised("1.2"))
    answer = enter("rad.suwon").act("hand-on", "1.2")
    assert answer.status_code == 409
    assert "Nobody has been paged" in answer.text


@pytest.mark.parametrize(("reason", "status"), [(" ", 422), ("x" * 501, 422), ("  calcified \n pineal ", 303)])
def test_what_is_no_finding_has_a_reason(house: House, enter: Enter, reason: str, status: int) -> None:
    answer = enter("rad.suwon").act("dismiss", reason=reason)
    assert answer.status_code == status
    said = [event.reason for event in acts(house) if isinstance(event, AlertDismissed)]
    assert said == (["calcified pineal"] if status == 303 else [])


@pytest.mark.parametrize("act", ["acknowledge", "hand-on", "dismiss"])
@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (withdrawn(), "This alert was withdrawn"),
        (AlertClosed(**about(), reason="done"), "This alert is closed"),
        (AlertDismissed(**about(), by="rad.other", reason="artefact"), "dismissed as not a finding"),
    ],
    ids=["withdrawn", "closed", "dismissed"],
)
def test_what_has_ended_gets_a_clear_word_and_no_event(
    house: House, enter: Enter, act: str, ended: AlertClosed, said: str
) -> None:
    browser = enter("rad.suwon")
    token = browser.token(ALERT)
    house.take(ended)
    answer = browser.post(f"{ALERT}/{act}", data={"csrf": token, "reason": "x"})
    assert answer.status_code == 409
    assert said in answer.text
    assert acts(house) == []


def test_what_somebody_else_has_taken_is_not_taken_again(house: House, enter: Enter) -> None:
    house.take(AlertAcknowledged(**about(), by="rad.other"))
    answer = enter("rad.suwon").act("acknowledge")
    assert answer.status_code == 409
    assert "Somebody else has taken" in answer.text


def test_a_refusal_is_told_to_whom_it_concerns(house: House, enter: Enter) -> None:
    house.take(
        AlertAcknowledged(**about(), by="rad.suwon"),
        AlertRefused(**about(), asked=AlertAcknowledged.TYPE, by="rad.suwon", reason="withdrawn a second before"),
    )
    assert "withdrawn a second before" in enter("rad.suwon").get(ALERT).text


def test_acts_that_wait_for_the_broker_are_seen_after_a_restart(house: House, enter: Enter, tmp_path: Path) -> None:
    enter("rad.suwon").act("acknowledge")
    house.close()
    with house_in(tmp_path) as restarted:
        restarted.acts.recall()
        assert restarted.view.of_alert(alert_id("2.25.1")) is None, "the topics say what it is about"
        restarted.take(received(), raised())
        study = restarted.view.of_alert(alert_id("2.25.1"))
        assert study is not None
        assert study.alerts[alert_id("2.25.1")].taken_by == "rad.suwon"
        kinds = [type(event) for event in restarted.said()]
        assert AlertSeen in kinds
        assert AlertAcknowledged in kinds


def test_what_comes_from_outside_is_text(house: House, enter: Enter) -> None:
    house.take(
        received("1.2", study_description=HOSTILE, sending_ae='<b onclick="1">'),
        triaged("1.2", reason=HOSTILE, cautions=(HOSTILE,)),
        raised("1.2", reason=HOSTILE),
        AlertDismissed(**about("1.2"), by="rad.suwon", reason=HOSTILE),
        AlertRefused(**about("1.2"), asked="x", by="rad.suwon", reason=HOSTILE),
    )
    browser = enter("rad.suwon")
    for path in (
        f"/alerts/{alert_id('1.2')}",
        "/worklist?show=all",
        f"/login?next=/{HOSTILE}",
        f"/worklist?site={HOSTILE}",
    ):
        page = browser.get(path).text
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path
        assert "<b onclick" not in page, path
    assert "&lt;script&gt;alert(1)" in browser.get(f"/alerts/{alert_id('1.2')}").text


def test_what_no_ai_has_read_is_as_visible_as_a_finding(house: House, enter: Enter) -> None:
    house.take(received("1.2"), triaged("1.2", outcome=Outcome.FAILED, reason="AI did not run yet: Triton is away"))
    house.take(
        received("1.3", minutes=0.1),
        triaged("1.3", outcome=Outcome.FAILED, last_image_at=at(0.1), reason="AI failed on this study"),
    )
    browser = enter("rad.suwon")
    rows = browser.get("/worklist").text
    assert rows.index("20.0 ml") < rows.index("AI did not run") < rows.index("AI failed")
    assert "<b>2</b> not read by AI" in rows
    page = browser.get(f"/studies/suwon/{key('1.2')}").text
    assert "Read it as if there were none." in page
    assert "AI did not run" in page


def test_the_list_has_pages_and_filters(house: House, enter: Enter) -> None:
    house.take(*(event for number in range(120) for event in (received(f"9.{number}"), raised(f"9.{number}"))))
    browser = enter("rad.suwon")
    first, last = browser.get("/worklist").text, browser.get("/worklist?page=3").text
    assert (first.count("<tr class="), last.count("<tr class=")) == (50, 21)
    assert 'rel="next"' in first
    assert 'rel="next"' not in last
    assert browser.get("/worklist/rows?page=2").text.startswith('<div class="filters">')


def test_operators_are_told_of_silent_scanners(house: House, enter: Enter) -> None:
    house.take(received("1.2", sending_ae="CT2", minutes=40))
    house.minutes = 45
    page = enter("op.suwon").get("/operators").text
    assert "no images from CT1 for 45 min" in page
    assert "no images from CT2" not in page


def test_operators_see_the_alarms_of_their_sites_and_of_the_installation(house: House, enter: Enter) -> None:
    ours, others, all_ours = (
        AlarmRaised(time=at(5), site=site, kind=kind, subject=subject, since=at(1), detail="study 1.2.3 waits")
        for site, kind, subject in (
            ("suwon", AlarmKind.SCANNER_SILENT, "suwon/CT7"),
            ("anseong", AlarmKind.SCANNER_SILENT, "anseong/CT8"),
            (INSTALLATION, AlarmKind.LAG, "sinsok-infer"),
        )
    )
    for alarm in (ours, others, all_ours):
        house.take(alarm)
    house.minutes = 13
    browser = enter("op.suwon")
    page = browser.get("/operators").text
    assert re.search(r"scanner silent</strong></td><td>suwon/CT7</td>\s*<td><time [^>]*>12 min<", page)
    assert "sinsok-infer" in page
    assert "CT8" not in page
    assert "1.2.3" not in page, "operators see no study"
    house.take(AlarmCleared(time=at(9), site="suwon", kind=ours.kind, subject=ours.subject, since=ours.since))
    assert "CT7" not in browser.get("/operators/state").text


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (Condition(True, at(0), 0), "No connection to Kafka since 12:00:00"),
        (Condition(False, None, 0), "still reading"),
        (Condition(True, None, 2), "2 of the things done here"),
    ],
)
def test_pages_say_when_they_cannot_be_relied_on(house: House, enter: Enter, condition: Condition, said: str) -> None:
    house.condition = condition
    assert said in enter("rad.suwon").get("/worklist").text


def test_the_patient_and_the_pacs_are_shown_where_the_site_says_so(tmp_path: Path, people: Path) -> None:
    (tmp_path / "accounts.json").write_bytes(people.read_bytes())
    study = small_study(FileStore(tmp_path / "objects"), "shown")
    shown = SiteConsole(show_patient=True, pacs_link="https://pacs.example/?study={study_uid}")
    for site in (shown, SiteConsole()):
        with house_in(tmp_path, sites={"suwon": site}) as house, Browser(house.app()) as browser:
            house.take(received(study.uid, manifest=study.manifest))
            browser.sign_in("rad.suwon")
            page = browser.get(f"/studies/suwon/{study.key}").text
            assert ("PHANTOM" in page) is site.show_patient
            assert (f"https://pacs.example/?study={study.uid}" in page) is (site.pacs_link is not None)


def test_a_patient_is_read_in_every_script(tmp_path: Path) -> None:
    def name(ds: Dataset) -> None:
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.PatientName = "Hong^Gildong=洪^吉洞=홍^길동"
        ds.PatientBirthDate, ds.PatientID, ds.AccessionNumber = "19700304", "7", ""

    store, datasets = FileStore(tmp_path), small_series("named")
    for ds in datasets:
        name(ds)
    study = ReadStudy(store, "suwon", datasets)
    found = Patients(store).of(study.manifest)
    assert found == Patient("Hong Gildong / 洪 吉洞 / 홍 길동", "7", "1970-03-04", "O", "")
    gone = study.manifest.model_copy(update={"digest": "sha256:" + "0" * 64})
    assert Patients(store).of(gone) is None
