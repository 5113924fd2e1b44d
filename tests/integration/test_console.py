"""The console on a real broker, as people use it: in a browser, on a phone, and while the broker is away."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from gateways import kafka
from gateways.console.accounts import Accounts
from gateways.console.settings import Grant
from gateways.objects import FileStore
from schemas.audit import LetterDiscarded, LetterRequeued, Role, StudyViewed
from schemas.base import Event
from schemas.envelope import decode
from schemas.events import AlertRaised, AlertWithdrawn, BatchEnd, Series, SeriesReceived, StudyTriaged
from schemas.identity import derived_id
from schemas.paging import AlertAcknowledged, AlertDismissed, AlertPaged, AlertSeen, PageReason
from schemas.topics import topic_of
from tests.letters import letter
from tests.results import small_study
from tests.stack import Installation, RunningPart, install, wait_until

pytestmark = pytest.mark.integration

PASSWORD = "correct horse battery"
PEOPLE = {"dr.kim": Role.RADIOLOGIST, "dr.lee": Role.RADIOLOGIST, "ops": Role.OPERATOR, "boss": Role.ADMIN}
PATIENT = "PHANTOM"


class House:
    """A console with its broker, and what else would write to the topics."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.bootstrap = installation.settings.kafka.bootstrap_servers
        self.url = installation.settings.console.url
        self.broker: RunningPart = installation.part("kafka")
        self.console: RunningPart = installation.part("console")
        self.accounts = Accounts(installation.settings.home / "console" / "accounts.json", installation.settings.sites)
        self.buried = 0

    def publish(self, *events: Event) -> None:
        producer = kafka.producer(self.bootstrap)
        for event in events:
            kafka.publish(producer, topic_of(event), event)

    def said(self, alert_id: UUID | None = None) -> list[Event]:
        """What stands on the topics that the console writes to, about an alert or about studies."""
        topic = "audit.acts" if alert_id is None else "alerts.suwon"
        found = [decode(record.headers, record.value) for record in kafka.read(self.bootstrap, [topic])]
        return [event for event in found if alert_id is None or event.key == str(alert_id)]

    def bury(self, what: object) -> str:
        """A dead letter of something; its page, once the console has it."""
        self.buried += 1
        said = repr(what).encode()
        one = letter(said, self.buried, at=datetime.now(UTC), message=f"not handled: {what}")
        producer, offsets = kafka.producer(self.bootstrap), list[int]()
        producer.produce(
            one.topic,
            one.value,
            one.key,
            partition=2,
            headers=one.headers,
            on_delivery=lambda _, sent: offsets.append(sent.offset()),
        )
        assert producer.flush(10) == 0
        return f"/dead-letters/2/{offsets[0]}"

    def bleed(self, name: str) -> AlertRaised:
        """A study with a bleed, stored, read, and paged to the night shift."""
        now = datetime.now(UTC)
        study = small_study(FileStore(self.installation.settings.store), name, size=128, slices=12)
        result = study.result().model_copy(update={"time": now, "last_image_at": now})
        raised = _raised(result, now)
        self.publish(
            _received(study.uid, str(study.datasets[0].SeriesInstanceUID), study.manifest, now), result, raised
        )
        self.publish(
            AlertPaged(
                **_about(raised),
                attempt=1,
                step=0,
                chain="night",
                recipients=("on-call",),
                why=PageReason.RAISED,
                deliver_by=now,
                answer_by=now,
                priority=raised.priority,
                findings=raised.findings,
                reason=raised.reason,
            )
        )
        return raised


def _received(uid: str, series_uid: str, manifest: object, now: datetime) -> SeriesReceived:
    series = Series(
        series_uid=series_uid,
        modality="CT",
        body_part="HEAD",
        study_description="Brain <b>CT</b>",
        series_description="5 mm",
        kernel="H31s",
        slice_thickness_mm=5.0,
        sop_classes=("1.2.840.10008.5.1.4.1.1.2",),
        transfer_syntaxes=("1.2.840.10008.1.2.1",),
        instances=12,
        expected_instances=None,
        geometry=None,
        first_image_at=now,
        last_image_at=now,
        manifest=manifest,
    )
    return SeriesReceived(
        time=now,
        site="suwon",
        study_uid=uid,
        batch=1,
        study_batch=1,
        batch_end=BatchEnd.RELEASED,
        open_associations=0,
        sending_ae="CT_ER",
        called_ae="SUWON_AI",
        series=series,
    )


def _raised(result: StudyTriaged, now: datetime) -> AlertRaised:
    assert result.provenance is not None
    return AlertRaised(
        time=now,
        site=result.site,
        study_uid=result.study_uid,
        alert_id=derived_id("alert", result.key),
        revision=1,
        priority=result.priority,
        findings=result.findings,
        reason="bleed (rule: from 2 ml)",
        provenance=result.provenance,
        final=True,
        result=result.event_id,
        last_image_at=now,
    )


def _about(raised: AlertRaised) -> dict[str, object]:
    about = raised.model_dump(include={"site", "study_uid", "alert_id", "revision"})
    return {**about, "time": datetime.now(UTC)}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(install(tmp_path_factory.mktemp("console"), changes="[sites.suwon]\nconsole.show_patient = true\n"))
    for name, role in PEOPLE.items():
        house.accounts.add(name, PASSWORD, Grant(roles=(role,), sites=("suwon",)))
    with house.broker, house.console:
        yield house


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


Enter = Callable[..., Page]


@pytest.fixture
def enter(house: House, chromium: Browser) -> Iterator[Enter]:
    """Browsers of people who are signed in. A blocked script and an error in one fail the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def enter(name: str, path: str = "/worklist", **settings: object) -> Page:
        context = chromium.new_context(base_url=house.url, **settings)  # type: ignore[arg-type]
        context.set_default_timeout(90_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(path)
        page.locator("input[name=name]").fill(name)
        page.locator("input[name=password]").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{house.url}{path}")
        return page

    expect.set_options(timeout=90_000)
    yield enter
    for context in contexts:
        context.close()
    # What the network refuses is the tests' own doing: an act that comes too late, a console that was killed.
    assert [line for line in complaints if not line.startswith("Failed to load resource")] == []


def test_an_alert_arrives_is_opened_and_acknowledged_with_the_keyboard_and_a_colleague_sees_it(
    house: House, enter: Enter
) -> None:
    mine, hers = enter("dr.kim"), enter("dr.lee")
    raised = house.bleed("first")
    row = f"tr:has(a[href='/alerts/{raised.alert_id}'])"
    for page in (mine, hers):
        expect(page.locator(row)).to_be_visible()
        expect(page).to_have_title(re.compile(r"^\(1\) "))
    expect(mine.locator("#told")).to_contain_text("New alert")
    expect(mine.locator(row)).to_contain_text("Brain <b>CT</b>")

    mine.keyboard.press("j")
    mine.keyboard.press("Enter")
    mine.wait_for_url(f"**/alerts/{raised.alert_id}")
    expect(mine.locator("figure.viewer canvas")).to_be_visible()
    expect(mine.locator(".findings")).to_contain_text("Intracranial")
    expect(mine.locator(".notice").last).to_contain_text("Not for diagnosis")
    expect(mine.locator(".patient")).to_contain_text(PATIENT)
    mine.keyboard.press("a")
    expect(mine.locator(".alert .state")).to_have_text("acknowledged")
    expect(hers.locator(row)).to_contain_text("dr.kim")

    def told() -> None:
        kinds = [(type(event), getattr(event, "by", None)) for event in house.said(raised.alert_id)]
        assert (AlertSeen, "dr.kim") in kinds
        assert (AlertAcknowledged, "dr.kim") in kinds

    wait_until(told)
    views = [event for event in house.said() if isinstance(event, StudyViewed) and event.study_uid == raised.study_uid]
    assert {(event.by, event.what) for event in views} == {("dr.kim", "page"), ("dr.kim", "pictures")}


def test_on_a_phone_in_korean_an_alert_is_no_finding(house: House, enter: Enter) -> None:
    raised = house.bleed("phone")
    page = enter("dr.kim", f"/alerts/{raised.alert_id}", **PHONE, locale="ko-KR")
    expect(page.get_by_text("의사의 판독 없이").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing has to be pushed sideways"
    tops = page.evaluate("[...document.querySelector('.study').children].map((one) => one.getBoundingClientRect().top)")
    assert tops == sorted(tops), "the keyboard goes on as the eye does"
    page.locator("input[name=reason]").fill("석회화 <script>alert(1)</script>")
    page.get_by_role("button", name="소견 아님").tap()
    expect(page.locator(".alert .state")).to_have_text("소견 아님")
    expect(page.locator(".alert .reason")).to_contain_text("<script>alert(1)</script>")
    wait_until(lambda: _has(house, raised, AlertDismissed))


def test_what_was_withdrawn_meanwhile_cannot_be_acknowledged(house: House, enter: Enter) -> None:
    raised = house.bleed("withdrawn")
    page = enter("dr.lee", f"/alerts/{raised.alert_id}")
    button = page.get_by_role("button", name="Acknowledge")
    expect(button).to_be_visible()
    # The page as it was: it no longer follows.
    page.evaluate("document.querySelector('#state').removeAttribute('data-live')")
    page.route("**/state*", lambda route: route.abort())
    house.publish(AlertWithdrawn(**_about(raised), reason="revision 2 took the finding back"))
    time.sleep(1)
    button.click()
    expect(page.get_by_role("alert").first).to_contain_text("was withdrawn")
    expect(page.locator(".alert .reason")).to_contain_text("revision 2 took the finding back")
    assert not any(isinstance(event, AlertAcknowledged) for event in house.said(raised.alert_id))


def test_an_acknowledgement_survives_the_broker_and_the_console(house: House, enter: Enter) -> None:
    raised = house.bleed("away")
    page = enter("dr.kim", f"/alerts/{raised.alert_id}")
    wait_until(lambda: _has(house, raised, AlertSeen))
    house.broker.pause()
    try:
        page.keyboard.press("a")
        expect(page.locator(".alert .state")).to_have_text("acknowledged")
        house.console.kill()
    finally:
        house.broker.resume()
    house.console.start()
    wait_until(lambda: _has(house, raised, AlertAcknowledged))
    acknowledged = [event for event in house.said(raised.alert_id) if isinstance(event, AlertAcknowledged)]
    assert {event.event_id for event in acknowledged} == {acknowledged[0].event_id}


def test_eight_tabs_hear_of_an_alert_and_the_next_one_listens_when_the_first_is_closed(
    house: House, enter: Enter
) -> None:
    first = enter("dr.kim")
    tabs = [first]
    for _ in range(7):
        tab = first.context.new_page()
        tab.goto("/worklist")  # the eighth would wait for ever for one of six connections
        tabs.append(tab)
    raised = house.bleed("eight tabs")
    for tab in tabs:
        _assert_hears_of(tab, raised)
    while len(tabs) > 1:
        tabs.pop().close()  # the last one opened is the one that listens
        if len(tabs) in (7, 1):
            raised = house.bleed(f"{len(tabs)} tabs are left")
            for tab in tabs:
                _assert_hears_of(tab, raised)


def test_a_tab_listens_for_itself_where_tabs_cannot_share(house: House, enter: Enter) -> None:
    page = enter("dr.kim")
    page.add_init_script("delete Navigator.prototype.locks")
    page.reload()
    assert page.evaluate("navigator.locks === undefined")
    _assert_hears_of(page, house.bleed("alone"))


def test_what_is_typed_stays_while_the_page_is_refreshed_around_it(house: House, enter: Enter) -> None:
    raised = house.bleed("typed")
    page = enter("dr.kim", f"/alerts/{raised.alert_id}")
    field = page.locator("#reason")
    field.fill("석회화")
    field.blur()
    _say_something(house, raised)
    expect(page.locator(".timeline")).to_contain_text("dr.lee")
    expect(field).to_have_value("석회화")
    # Also under the cursor, once nobody has typed for a while.
    field.focus()
    page.keyboard.press("ArrowLeft")
    _say_something(house, raised, "dr.park")
    expect(page.locator(".timeline")).to_contain_text("dr.park")
    expect(field).to_be_focused()
    assert page.evaluate("document.activeElement.selectionStart") == 2
    page.keyboard.press("Enter")
    expect(page.locator(".alert .reason")).to_contain_text("석회화")


def test_what_could_not_be_sent_after_the_end_of_a_session_is_there_after_the_login(house: House, enter: Enter) -> None:
    raised = house.bleed("ended")
    page = enter("dr.kim", f"/alerts/{raised.alert_id}")
    page.locator("#reason").fill("calcification")
    page.context.clear_cookies(name="sinsok")
    page.get_by_role("button", name="Not a finding").click()
    expect(page.get_by_role("alert").first).to_contain_text("NOT done")
    page.locator("input[name=name]").fill("dr.kim")
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{house.url}/alerts/{raised.alert_id}")
    expect(page.locator("#reason")).to_have_value("calcification")
    assert not any(isinstance(event, AlertDismissed) for event in house.said(raised.alert_id))


def test_a_page_warns_before_its_session_ends_and_says_when_it_has(house: House, enter: Enter) -> None:
    page = enter("dr.kim")
    page.clock.install()
    page.reload()
    bar, stay = page.locator("#leaving"), page.get_by_role("button", name="Stay signed in")
    expect(bar).to_be_hidden()
    # As if the console had said it an hour ago, less four minutes.
    page.route("**/worklist/rows*", lambda route: route.abort())
    page.clock.fast_forward("56:30")
    expect(bar).to_contain_text("signed out in 4 min")
    expect(page).to_have_title(re.compile("^⏳ "))
    page.unroute("**/worklist/rows*")
    with page.expect_request("**/stay") as asked:
        stay.click()
    assert asked.value.response() is not None
    page.clock.run_for(2_000)
    expect(bar).to_be_hidden()
    expect(page).not_to_have_title(re.compile("^⏳ "))
    page.context.clear_cookies(name="sinsok")
    page.clock.fast_forward("01:00")
    page.wait_for_url("**/login?*")
    expect(page.get_by_role("alert").first).to_contain_text("Your session has ended")


def test_single_keys_can_be_switched_off_and_mean_nothing_while_hangul_is_composed(house: House, enter: Enter) -> None:
    raised = house.bleed("keys")
    page = enter("dr.kim", f"/alerts/{raised.alert_id}")
    switch = page.get_by_role("button", name="Single keys act")
    expect(switch).to_have_attribute("aria-pressed", "true")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.evaluate("""() => document.body.dispatchEvent(
        new KeyboardEvent("keydown", {key: "a", code: "KeyA", isComposing: true, bubbles: true, cancelable: true}))""")
    switch.click()
    page.reload()
    expect(switch).to_have_attribute("aria-pressed", "false")
    expect(page.locator("kbd").first).to_be_hidden()
    for key in "aenu":
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert sent == []
    assert page.url.endswith(str(raised.alert_id))
    switch.click()
    page.keyboard.press("a")
    expect(page.locator(".alert .state")).to_have_text("acknowledged")


def test_open_pages_say_when_they_are_old(house: House, enter: Enter) -> None:
    operator, reader = enter("ops", "/operators"), enter("dr.kim")
    note = ".cut-off-note"
    for page in (operator, reader):
        expect(page.locator(note)).to_be_hidden()
    house.broker.pause()
    try:
        # Nobody touches the page; the console finds out, and every part that is asked for says so.
        expect(reader.locator("#condition")).to_contain_text("No connection to Kafka", timeout=90_000)
    finally:
        house.broker.resume()
    expect(reader.locator("#condition")).not_to_contain_text("No connection to Kafka", timeout=90_000)
    # An answer that is none: for operators there is no stream that would tell.
    for page in (operator, reader):
        page.route(re.compile("/(state|rows)"), lambda route: route.fulfill(status=502, body="bad gateway"))
    for page in (operator, reader):
        expect(page.locator(note)).to_be_visible(timeout=60_000)
        page.unroute_all()
        expect(page.locator(note)).to_be_hidden()
    house.console.kill()
    expect(reader.locator(note)).to_be_visible()
    raised = house.bleed("while nobody listened")
    house.console.start()
    # Neither signed out by the crash, nor without what happened meanwhile.
    _assert_hears_of(reader, raised)
    expect(reader.locator(note)).to_be_hidden()


def test_a_stream_that_was_refused_loads_what_was_missed(house: House, enter: Enter) -> None:
    page = enter("dr.lee")
    page.route("**/live", lambda route: route.fulfill(status=503, body=""))
    page.add_init_script("window.setInterval = () => 0")  # the half minutes
    page.reload()
    expect(page.locator(".cut-off-note")).to_be_visible()
    raised = house.bleed("refused")
    page.wait_for_timeout(1000)
    page.unroute_all()
    _assert_hears_of(page, raised)


def test_a_row_on_a_phone_names_its_hospital(house: House, enter: Enter) -> None:
    raised = house.bleed("hospital")
    page = enter("dr.kim", **PHONE)
    expect(page.locator(f"tr:has(a[href='/alerts/{raised.alert_id}']) .c-site")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.mark.parametrize("colours", ["dark", "light"])
@pytest.mark.parametrize(
    "device", [{"viewport": {"width": 1600, "height": 1000}}, PHONE | {"locale": "ko-KR"}], ids=["desktop", "phone, ko"]
)
def test_nothing_keeps_people_out_who_see_hear_or_move_otherwise(
    house: House, enter: Enter, chromium: Browser, colours: str, device: dict[str, object]
) -> None:
    raised = house.bleed(f"axe {colours} {sorted(device)}")
    told = {"color_scheme": colours, **device}
    stranger = chromium.new_context(base_url=house.url, **told).new_page()  # type: ignore[arg-type]
    stranger.goto("/login?why=ended")
    found = _violations(stranger)
    stranger.context.close()
    for name, path in (("dr.kim", "/worklist"), ("dr.lee", f"/alerts/{raised.alert_id}"), ("boss", "/operators")):
        page = enter(name, path, **told)
        expect(
            page.locator(f"tr:has(a[href='/alerts/{raised.alert_id}'])" if name == "dr.kim" else "main")
        ).to_be_visible()
        found += _violations(page)
    for path in (house.bury(device), "/dead-letters"):
        _open(page, path)
        expect(page.locator(".letter, .letters").first).to_be_visible()
        found += _violations(page)
    assert found == []


def _open(page: Page, path: str) -> None:
    """Go to a page, once what it is about has come to the console."""

    def opened() -> None:
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200

    wait_until(opened)


def _violations(page: Page) -> list[str]:
    """What axe-core calls serious or critical."""
    page.evaluate(AXE_SCRIPT)  # not as a script of the page: its policy takes none
    said = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{page.url}: {one['id']} ({one['impact']}): {one['help']}: {node['html']}: {node['failureSummary']}"
        for one in said["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def _assert_hears_of(page: Page, raised: AlertRaised) -> None:
    expect(page.locator(f"tr:has(a[href='/alerts/{raised.alert_id}'])")).to_be_visible(timeout=90_000)


def _say_something(house: House, raised: AlertRaised, by: str = "dr.lee") -> None:
    house.publish(AlertSeen(**_about(raised), by=by))


def test_operators_see_the_parts_and_the_scanners(house: House, enter: Enter) -> None:
    page = enter("ops", "/operators")
    expect(page.get_by_text("streams-infer")).to_be_visible()
    expect(page.get_by_text("CT_ER")).to_be_visible()
    expect(page.locator(".light.away").first).to_be_visible()


def test_an_operator_sends_a_dead_letter_back_and_discards_another(house: House, enter: Enter) -> None:
    back, noise = house.bury("to be requeued"), house.bury("to be discarded")
    page = enter("ops", "/operators")
    _open(page, noise)
    page.goto("/operators")
    page.get_by_role("link", name="not dealt with").click()
    expect(page.get_by_text("not handled: to be discarded")).to_be_visible()
    place = back.removeprefix("/dead-letters/")
    page.get_by_role("button", name=f"Requeue {place}", exact=True).click()
    page.wait_for_url(f"{house.url}{back}")
    expect(page.get_by_text("requeued by ops, attempt 1")).to_be_visible()
    page.goto(noise)
    page.get_by_label("Nothing more is to be done with it, because").fill("a test")
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_text("discarded by ops: a test")).to_be_visible()
    page.goto("/dead-letters")
    expect(page.get_by_text("not handled: to be")).to_have_count(0)

    (sent,) = [one for one in kafka.read(house.bootstrap, ["triage.studies"]) if one.value == b"'to be requeued'"]
    assert dict(sent.headers) == {"sinsok_requeued": b"1", "sinsok_letter": place.encode()}

    def recorded() -> None:
        acts = [event for event in house.said() if isinstance(event, LetterRequeued | LetterDiscarded)]
        assert [(act.by, act.site, type(act)) for act in acts] == [
            ("ops", "sinsok", LetterRequeued),
            ("ops", "sinsok", LetterDiscarded),
        ]

    wait_until(recorded)


def test_fifty_consoles_hear_of_an_alert(house: House) -> None:
    with httpx.Client(base_url=house.url, headers={"origin": house.url}) as client:
        token = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/login").text)
        assert token is not None
        client.post("/login", data={"csrf": token[1], "name": "dr.kim", "password": PASSWORD})
        streams = [client.stream("GET", "/live", timeout=30) for _ in range(50)]
        lines = [stream.__enter__().iter_lines() for stream in streams]
        for one in lines:
            assert _next(one, "event: ") == "event: open"
        house.bleed("fifty")
        assert [_until(one, "event: alert") for one in lines] == ["event: alert"] * 50
        assert client.get("/worklist").elapsed.total_seconds() < 5
        for stream in streams:
            stream.__exit__(None, None, None)


def _next(lines: Iterator[str], beginning: str) -> str:
    return next(line for line in lines if line.startswith(beginning))


def _until(lines: Iterator[str], wanted: str) -> str:
    return next(line for line in lines if line == wanted)


def _has(house: House, raised: AlertRaised, kind: type[Event]) -> None:
    assert any(isinstance(event, kind) for event in house.said(raised.alert_id))
