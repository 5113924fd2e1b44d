"""A page's pictures are those it was opened with or none, and nothing a person wants to say waits for them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from gateways.console import imagery, patient
from gateways.console.patient import Patients
from gateways.console.pictures import Pictures
from gateways.console.settings import SiteConsole
from gateways.objects import FileStore
from schemas.base import ObjectRef
from schemas.events import NOT_YET, Outcome, StudyTriaged
from schemas.failures import Unavailable
from sinsok.phantom.small import small_series
from tests.results import ReadStudy
from tests.unit.gateways.console.house import (
    Browser,
    Enter,
    House,
    NoPictures,
    alert_id,
    key,
    paged,
    raised,
    received,
    triaged,
)

ALERT = f"/alerts/{alert_id('2.25.1')}"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


@pytest.fixture
def app(house: House, store: FileStore) -> FastAPI:
    app = house.app()
    app.state.backstage = replace(app.state.backstage, pictures=Pictures(store))
    return app


class Scanned:
    """A study as it grows: first some of its slices, then all."""

    def __init__(self, house: House, store: FileStore) -> None:
        self.house = house
        datasets = small_series("grows", slices=14)
        self.revisions = [ReadStudy(store, "suwon", datasets[:8]), ReadStudy(store, "suwon", datasets)]
        self.uid, self.key = self.revisions[0].uid, self.revisions[0].key
        self.address = f"/studies/suwon/{self.key}"

    def receive(self, revision: int) -> None:
        study = self.revisions[revision - 1]
        said = {"series_uid": str(study.datasets[0].SeriesInstanceUID), "manifest": study.manifest}
        self.house.take(received(self.uid, batch=revision, instances=len(study.datasets), **said))

    def read(self, revision: int, **how: Any) -> StudyTriaged:
        result = self.revisions[revision - 1].result(revision, **how)
        self.house.take(result)
        return result

    def not_read(self, revision: int) -> None:
        """What is said of a revision while the models are away."""
        result = self.revisions[revision - 1].result(revision)
        series = tuple(one.model_copy(update={"reading": None}) for one in result.series)
        none = {"outcome": Outcome.FAILED, "findings": (), "reason": f"{NOT_YET}: Triton is away", "provenance": None}
        self.house.take(result.model_copy(update={**none, "series": series}))


@pytest.fixture
def scanned(house: House, store: FileStore) -> Scanned:
    return Scanned(house, store)


def figure(page: str) -> tuple[str, str]:
    """Where the viewer of a page asks: for the series, and for what is marked."""
    found = re.search(r'data-series="([^"]+)" data-marks="([^"]+)"', page)
    assert found, page
    return found[1], found[2]


def content(page: str) -> str:
    found = re.findall(r'data-content="([^"]*)"', page)
    assert found
    return str(found[0])


def asked(browser: Browser, address: str) -> int:
    return int(browser.get(address, headers={"accept": "*/*"}).status_code)


def test_an_address_never_turns_into_other_images(scanned: Scanned, enter: Enter) -> None:
    browser = enter("rad.suwon")
    scanned.receive(1)
    scanned.read(1)
    page = browser.get(scanned.address).text
    series, marks = figure(page)
    stack = browser.get(f"{series}/{marks}/stack.json").json()
    assert (stack["slices"], len(stack["marked"])) == (8, 3)
    paths = [f"{series}/tiles/4", *(f"{series}/{marks}/{one}" for one in ("stack.json", "outlines.json", "picture"))]
    assert [asked(browser, path) for path in paths] == [200] * 4

    scanned.receive(2)
    scanned.read(2)
    assert [asked(browser, path) for path in paths] == [409] * 4
    state = browser.get(f"{scanned.address}/state").text
    assert content(state) != content(page), "the open page learns of it"
    fresh = browser.get(scanned.address).text
    assert content(state) == content(fresh)
    series, marks = figure(fresh)
    assert browser.get(f"{series}/{marks}/stack.json").json()["slices"] == 14


def test_other_marks_on_the_same_images_have_another_address(scanned: Scanned, enter: Enter) -> None:
    browser = enter("rad.suwon")
    scanned.receive(1)
    waiting = browser.get(scanned.address).text
    series, marks = figure(waiting)
    assert (marks, asked(browser, f"{series}/none/stack.json")) == ("none", 200)
    assert asked(browser, f"{series}/none/outlines.json") == 404
    scanned.read(1, unconfirmed=True)
    read = browser.get(scanned.address).text
    assert content(browser.get(f"{scanned.address}/state").text) == content(read) != content(waiting)
    assert asked(browser, f"{series}/none/stack.json") == 409
    assert asked(browser, f"{series}/tiles/4") == 200, "the images are the same"
    _, marks = figure(read)
    labels = np.zeros((8, 64, 64), np.uint8)
    labels[2:4, 10:30, 10:30] = 1
    scanned.read(1, labels=labels)
    assert asked(browser, f"{series}/{marks}/outlines.json") == 409


def test_an_open_alert_shows_its_finding_and_its_outlines_where_the_next_revision_was_not_read(
    house: House, scanned: Scanned, enter: Enter
) -> None:
    browser = enter("rad.suwon")
    scanned.receive(1)
    result = scanned.read(1)
    alert = raised(scanned.uid, reason="5.0 ml (rule: from 2 ml)").model_copy(update={"findings": result.findings})
    house.take(alert)
    before = figure(browser.get(f"/alerts/{alert.alert_id}").text)
    scanned.receive(2)
    scanned.not_read(2)
    page = browser.get(f"/alerts/{alert.alert_id}").text
    assert "Revision 2 was not read yet: what stands here is of revision 1." in page
    assert "AI did not run" in page
    assert "Nobody's AI has looked" not in page.replace("&#39;", "'")
    assert f"{result.findings[0].volume_ml:.1f} ml" in page
    assert alert.reason in page
    series, marks = figure(page)
    assert (series, marks) == before
    assert browser.get(f"{series}/{marks}/stack.json").json()["slices"] == 8
    assert browser.get(f"{series}/{marks}/outlines.json").json()
    rows = browser.get("/worklist").text
    assert f"{result.findings[0].volume_ml:.1f} ml" in rows
    assert "revision 2 not read" in rows
    browser.cookies.set("sinsok-language", "ko")
    assert "개정 2은(는) 아직 분석되지 않았습니다" in browser.get(f"/alerts/{alert.alert_id}").text


def test_a_revision_that_was_not_read_is_said_where_the_one_before_was_without_findings(
    house: House, scanned: Scanned, enter: Enter
) -> None:
    scanned.receive(1)
    scanned.read(1, bleed=False)
    scanned.receive(2)
    scanned.not_read(2)
    page = enter("rad.suwon").get(scanned.address).text
    assert "AI did not run" in page
    assert "AI found nothing" not in page
    assert browser_stack(enter, page)["slices"] == 14, "the newest images are to be looked at"


def browser_stack(enter: Enter, page: str) -> dict[str, Any]:
    series, marks = figure(page)
    found: dict[str, Any] = enter("rad.suwon").get(f"{series}/{marks}/stack.json").json()
    return found


def test_every_series_can_be_looked_at(house: House, scanned: Scanned, enter: Enter) -> None:
    browser = enter("rad.suwon")
    house.take(received(scanned.uid, series_uid="9.9", instances=2, series_description="SCOUT <1>"))
    scanned.receive(1)
    scanned.read(1)
    page = browser.get(scanned.address).text
    assert browser_stack(enter, page)["slices"] == 8, "not the scout, though it came first"
    picker = re.search(r'<nav class="series".*?</nav>', page, re.DOTALL)
    assert picker
    links = re.findall(r'<a href="([^"]+)"(.*?)</a>', picker[0], re.DOTALL)
    assert ["SCOUT &lt;1&gt;" in text for _, text in links] == [True, False]
    assert ["finding" in text for _, text in links] == [False, True]
    assert ["aria-current" in text for _, text in links] == [False, True]
    assert not any("9.9" in link or scanned.uid in link for link, _ in links)
    scout = browser.get(links[0][0]).text
    series, marks = figure(scout)
    assert series not in figure(page)
    assert asked(browser, f"{series}/{marks}/stack.json") == 404, "it forms no stack, and the viewer says so"


def test_a_finding_leads_to_its_key_slice(house: House, scanned: Scanned, enter: Enter) -> None:
    browser = enter("rad.suwon")
    scanned.receive(1)
    labels = np.zeros((8, 64, 64), np.uint8)
    labels[5:7, 5:25, 5:25], labels[1, 40:44, 40:44] = 1, 1
    scanned.read(1, labels=labels)
    page = browser.get(scanned.address).text
    links = re.findall(r'href="([^"]+\?finding=(\d))" data-finding="\2"', page)
    assert [number for _, number in links] == ["0", "1"]
    second = browser.get(links[1][0]).text
    assert 'data-finding="1" data-words' in second
    stack = browser_stack(enter, second)
    assert stack["findings"] == [0, 1]
    assert stack["keys"][1] == 6
    assert stack["legend"] == [{"label": 1, "name": "Intracranial hemorrhage"}]
    assert browser.get(f"{scanned.address}?finding=77").status_code == 200
    assert browser.get(f"{scanned.address}?finding=x&series=y").status_code == 200


def test_what_to_know_of_the_slices_is_said_in_the_readers_language(
    house: House, store: FileStore, enter: Enter
) -> None:
    datasets = small_series("gap", slices=14)
    study = ReadStudy(store, "suwon", (*datasets[:6], *datasets[7:]))
    house.take(received(study.uid, manifest=study.manifest))
    browser = enter("rad.suwon")
    series, marks = figure(browser.get(f"/studies/suwon/{study.key}").text)
    stack = f"{series}/{marks}/stack.json"
    assert browser.get(stack).json()["cautions"] == ["1 of 14 slices are missing: nothing was measured there"]
    browser.cookies.set("sinsok-language", "ko")
    assert browser.get(stack).json()["cautions"] == ["단면 14장 중 1장이 없습니다. 그 자리는 측정하지 않았습니다"]


class Away(NoPictures):
    def tile(self, manifest: ObjectRef, index: int) -> bytes:
        raise Unavailable("the store does not answer")


def test_a_store_that_is_away_is_another_thing_than_no_pictures(house: House, app: FastAPI, enter: Enter) -> None:
    house.take(received(), triaged())
    app.state.backstage = replace(app.state.backstage, pictures=Away())
    browser = enter("rad.suwon")
    series, marks = figure(browser.get(f"/studies/suwon/{key()}").text)
    assert asked(browser, f"{series}/tiles/7") == 503
    assert asked(browser, f"{series}/{marks}/stack.json") == 404


class Hanging(NoPictures):
    """As of a store that does not answer, until the end of the test."""

    def __init__(self) -> None:
        self.asked = 0
        self.goes_on = Event()

    def tile(self, manifest: ObjectRef, index: int) -> bytes:
        self.asked += 1
        self.goes_on.wait()
        return b""

    def read(self, ref: ObjectRef) -> bytes:
        self.goes_on.wait()
        raise Unavailable("no")


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    store = Hanging()
    yield store
    store.goes_on.set()


def together(count: int, what: Callable[[], Any]) -> list[Thread]:
    threads = [Thread(target=what, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_while_the_store_hangs_alerts_are_acknowledged(
    house: House, app: FastAPI, enter: Enter, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(imagery, "_PATIENCE_S", 6.0)
    house.take(received(), triaged(), raised(), paged())
    house.sites = {"suwon": SiteConsole(show_patient=True)}
    patients = Patients(hanging)
    changed = replace(app.state.backstage, pictures=hanging, patients=patients, sites=house.sites)
    app.state.backstage = changed
    with enter("rad.suwon") as browser:  # one loop and one pool of threads, as the server has
        series, _ = figure(browser.get(ALERT).text)
        statuses: list[int] = []
        asking = together(60, lambda: statuses.append(asked(browser, f"{series}/tiles/7")))
        while not hanging.asked:
            pass
        answer = browser.act("acknowledge")
        page = browser.get(ALERT)
        assert not statuses, "it waited for the pictures"
        assert answer.status_code == 303
        assert "acknowledged" in page.text
        assert "cannot be read from its images now" in page.text
        for thread in asking:
            thread.join()
        assert statuses == [503] * 60, "and the browser's connections are free again"
        assert hanging.asked <= 8


def test_a_page_is_made_without_its_pictures(house: House, app: FastAPI, enter: Enter) -> None:
    class NoStore(NoPictures):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"the page asked for {name}")

    house.take(received(), triaged(), raised(), paged())
    app.state.backstage = replace(app.state.backstage, pictures=NoStore())
    page = enter("rad.suwon").get(ALERT)
    assert page.status_code == 200
    assert "/acknowledge" in page.text


def test_the_timeline_says_the_day_at_each_change_of_it(house: House, enter: Enter) -> None:
    house.take(received(), triaged(), raised(), paged(), paged(minutes=13 * 60, attempt=2))
    house.minutes = 13 * 60 + 1
    page = enter("rad.suwon").get(ALERT).text
    assert re.findall('<li class="day">(.*?)</li>', page) == ["2026-03-01", "2026-03-02"]
