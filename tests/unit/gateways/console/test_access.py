"""Who gets in, and what they get to see: every route there is, without a login and for people of another site."""

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from gateways.console.access import OPEN
from schemas.audit import Role, Sight, StudyViewed
from schemas.paging import AlertSeen
from tests.unit.gateways.console.house import (
    Browser,
    Enter,
    House,
    alert_id,
    grant,
    key,
    paged,
    raised,
    received,
    stored,
    triaged,
)

IMAGES = stored("2.25.1 1").digest[7:23]
VALUES = {
    "site": "suwon",
    "study_key": key(),
    "images": IMAGES,
    "marks": stored("2.25.1 labels").digest[7:23],
    "index": "7",
    "alert_id": str(alert_id("2.25.1")),
    "partition": "0",
    "offset": "1",
}
STUDY = re.compile(r"\{(site|alert_id)\}")


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of everything that is served, with the study of suwon in it."""
    for route in flat(app.routes):
        for method in route.methods:
            yield method, route.path


def flat(found: object) -> Iterator[APIRoute]:
    for route in found:  # type: ignore[attr-defined]
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "effective_route_contexts"):
            yield from (context.original_route for context in route.effective_route_contexts())


@pytest.fixture
def house(house: House) -> House:
    house.take(received(), triaged(), raised(), paged())
    return house


def ask(browser: Browser, method: str, path: str) -> int:
    address = path.format(**VALUES)
    form = {"csrf": browser.token("/login" if path in OPEN else "/"), "reason": "x"} if method == "POST" else None
    return int(browser.request(method, address, data=form).status_code)


def test_all_routes_are_found(app: FastAPI) -> None:
    found = {path for _, path in routes(app)}
    assert {"/worklist", "/live", "/studies/{site}/{study_key}", "/alerts/{alert_id}/dismiss", "/operators"} <= found
    assert "/studies/{site}/{study_key}/series/{images}/tiles/{index}" in found
    assert not {"/docs", "/openapi.json", "/redoc"} & found


def test_nothing_is_served_without_login_but_what_is_open(app: FastAPI, enter: Enter, house: House) -> None:
    stranger = enter()
    for method, path in routes(app):
        if path in OPEN:
            continue
        answer = stranger.request(method, path.format(**VALUES))
        if method == "GET":
            assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/login"), path
            plain = stranger.get(path.format(**VALUES), headers={"accept": "*/*"})
            assert (plain.status_code, plain.text) == (401, "sign in first\n"), path
        else:
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/login"), path
    assert house.said() == []


def test_a_study_of_another_site_is_not_there(app: FastAPI, enter: Enter, house: House) -> None:
    other = enter("rad.anseong")
    unknown = {**VALUES, "study_key": "0" * 64, "alert_id": "00000000-0000-0000-0000-000000000000"}
    tried = 0
    for method, path in routes(app):
        if not STUDY.search(path):
            continue
        tried += 1
        form = {"csrf": other.token("/worklist"), "reason": "x"} if method == "POST" else None
        here = other.request(method, path.format(**VALUES), data=form)
        nowhere = other.request(method, path.format(**unknown), data=form)
        assert here.status_code == nowhere.status_code == 404, path
        assert here.text.replace(VALUES["study_key"], "").replace(VALUES["alert_id"], "") == nowhere.text.replace(
            unknown["study_key"], ""
        ).replace(unknown["alert_id"], ""), path
    assert tried >= 9
    # Nor under the own site's name.
    assert other.get(f"/studies/anseong/{key()}").status_code == 404
    assert "2.25.1" not in other.get("/worklist?show=all").text
    assert key() not in other.get("/worklist?show=all").text
    assert other.get("/worklist?site=suwon").status_code == 404
    assert house.said() == []


def test_an_operator_sees_parts_and_no_study(app: FastAPI, enter: Enter, house: House) -> None:
    operator = enter("op.suwon")
    assert operator.get("/").headers["location"] == "/operators"
    page = operator.get("/operators")
    assert page.status_code == 200
    assert "Triton does not answer" in page.text
    for method, path in routes(app):
        if STUDY.search(path) or path in ("/worklist", "/worklist/rows", "/live"):
            form = {"csrf": operator.token("/operators")} if method == "POST" else None
            assert operator.request(method, path.format(**VALUES), data=form).status_code == 404, path
    assert house.said() == []


def test_an_auditor_sees_all_and_does_nothing(enter: Enter, house: House) -> None:
    auditor = enter("auditor")
    page = auditor.get(f"/alerts/{alert_id('2.25.1')}")
    assert page.status_code == 200
    assert "/acknowledge" not in page.text
    assert auditor.get("/operators").status_code == 404
    for act in ("acknowledge", "hand-on", "dismiss"):
        form = {"csrf": auditor.token("/worklist"), "reason": "x"}
        assert auditor.post(f"/alerts/{alert_id('2.25.1')}/{act}", data=form).status_code == 403
    assert [type(event) for event in house.said()] == [StudyViewed], "an auditor has not seen it for the hospital"


def test_who_looks_at_what_is_an_event(enter: Enter, house: House) -> None:
    radiologist = enter("rad.suwon")
    for _ in range(3):
        radiologist.get(f"/studies/suwon/{key()}")
    radiologist.get(f"/studies/suwon/{key()}/series/{IMAGES}/tiles/1")
    radiologist.get(f"/studies/suwon/{key()}/series/{IMAGES}/tiles/2")
    said = house.said()
    assert [(event.by, event.role, event.what) for event in said if isinstance(event, StudyViewed)] == [
        ("rad.suwon", Role.RADIOLOGIST, Sight.PAGE),
        ("rad.suwon", Role.RADIOLOGIST, Sight.PICTURES),
    ]
    house.minutes += 2
    radiologist.get(f"/studies/suwon/{key()}")
    assert len(house.said()) == 3


def test_to_open_an_alert_is_to_have_seen_it_once(enter: Enter, house: House) -> None:
    radiologist = enter("rad.suwon")
    for _ in range(3):
        assert radiologist.get(f"/alerts/{alert_id('2.25.1')}").status_code == 200
    seen = [event for event in house.said() if isinstance(event, AlertSeen)]
    assert [(event.by, event.key) for event in seen] == [("rad.suwon", str(alert_id("2.25.1")))]


def test_roles_at_one_site_say_nothing_of_another(enter: Enter, house: House) -> None:
    house.take(received("2.25.2", "anseong"))
    house.accounts.add("both", "correct horse battery", grant(Role.AUDITOR, "anseong"))
    accounts = house.accounts.all()
    mixed = accounts["both"].model_copy(
        update={"grants": (grant(Role.AUDITOR, "anseong"), grant(Role.OPERATOR, "suwon"))}
    )
    house.accounts._write(accounts | {"both": mixed})
    both = enter("both")
    assert both.get(f"/studies/anseong/{key('2.25.2', 'anseong')}").status_code == 200
    assert both.get(f"/studies/suwon/{key()}").status_code == 404


def test_who_loses_the_account_is_signed_out(enter: Enter, house: House) -> None:
    radiologist = enter("rad.suwon")
    assert radiologist.get("/worklist").status_code == 200
    house.accounts.remove("rad.suwon")
    assert radiologist.get("/worklist").status_code == 303


def test_a_new_password_signs_out_who_came_with_the_old_one(enter: Enter, house: House) -> None:
    radiologist, colleague = enter("rad.suwon"), enter("rad.anseong")
    house.accounts.add("rad.suwon", "another horse battery", grant(Role.RADIOLOGIST, "suwon"))
    assert radiologist.get("/worklist").status_code == 303
    assert colleague.get("/worklist").status_code == 200


def test_a_broken_file_of_accounts_signs_nobody_out(enter: Enter, house: House) -> None:
    radiologist = enter("rad.suwon")
    good = house.accounts.place.read_text()
    house.accounts.place.write_text("{")
    assert radiologist.get("/worklist").status_code == 200
    assert enter("rad.suwon").get("/worklist").status_code == 200
    # After a restart nothing is known of before: nobody is let in, and no session is ended either.
    house.accounts._known = None
    assert radiologist.get("/worklist").status_code == 303
    house.accounts.place.write_text(good)
    assert radiologist.get("/worklist").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/studies/../../etc/passwd",
        "/studies/suwon/..%2f..%2f..%2fetc%2fpasswd",
        "/studies/suwon%2f..%2fanseong/{key}",
        "/static/../accounts.py",
        "/static/%2e%2e/settings.py",
        "/static/..%2fsettings.py",
        "/studies/suwon/{key}/series/0/tiles/-1",
        "/studies/suwon/{key}/series/999999999999/tiles/0",
        "/studies/suwon/{key}/series/5/tiles/0",
        "/studies/suwon/{key}/series/0/tiles/..%2f..",
        "/alerts/%00",
        "/worklist?page=0",
        "/worklist?page=99999999999",
        "/worklist?show=everything",
        "/worklist?site=../suwon",
    ],
)
def test_addresses_that_lead_elsewhere_lead_nowhere(enter: Enter, house: House, path: str) -> None:
    assert enter("rad.suwon").get(path.format(key=key())).status_code == 404
