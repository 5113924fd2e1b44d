"""Whatever is asked of the console, in its own words or in nonsense, has an answer that a browser was told to expect.

The app describes itself (OpenAPI), though to nobody but these tests; schemathesis asks what may be asked, and what may
not, as a radiologist who is signed in.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from gateways.console.sessions import form_token
from gateways.console.settings import Grant
from schemas.audit import LetterDiscarded, LetterRequeued, Role
from schemas.paging import AlertAcknowledged, AlertDismissed, AlertHandedOn
from tests.letters import letter
from tests.unit.gateways.console.house import (
    PASSWORD,
    Browser,
    House,
    house_in,
    paged,
    raised,
    received,
    triaged,
)
from tests.unit.gateways.console.test_oidc import Provider, oidc
from tests.unit.gateways.console.walk import SUWON, Betraying, end_streams, operations, values_of

COOKIE: Final = "sinsok"
NAME: Final = "dr.kim"
HTML, TEXT, JSON = "text/html", "text/plain", "application/json"
OF_A_PATH: Final = {
    "/live": "text/event-stream",
    "/studies/{site}/{study_key}/series/{images}/tiles/{index}": "application/octet-stream",
    "/studies/{site}/{study_key}/series/{images}/{marks}/picture": "image/png",
    "/studies/{site}/{study_key}/series/{images}/{marks}/stack.json": JSON,
    "/studies/{site}/{study_key}/series/{images}/{marks}/outlines.json": JSON,
}
"""What is answered to whom all is well for; other paths answer with a page."""
FORMS: Final[dict[str, dict[str, Any]]] = {
    "/login": {"name": {"const": NAME}, "password": {"const": PASSWORD}, "next": {}},
    "/logout": {},
    "/stay": {"next": {}},
    "/preferences": {"language": {"enum": ["en", "ko"]}, "theme": {"enum": ["dark", "light"]}, "next": {}},
    "/alerts/{alert_id}/acknowledge": {},
    "/alerts/{alert_id}/hand-on": {},
    "/alerts/{alert_id}/dismiss": {"reason": {}},
    "/dead-letters/{partition}/{offset}/discard": {"reason": {}},
    "/dead-letters/{partition}/{offset}/requeue": {},
}
"""The fields of each form, beside its token."""
ANSWERED: Final = ("not_a_server_error", "status_code_conformance", "content_type_conformance")


def described(app: FastAPI) -> dict[str, Any]:
    """The app's document, with what FastAPI cannot know of it: forms are read behind its back, and pages are HTML."""
    document = deepcopy(app.openapi())
    for operation in operations(app):
        said = document["paths"][operation.path][operation.method.lower()]
        refused = {"description": "a sentence", "content": {HTML: {}, TEXT: {}}}
        if operation.method == "GET":
            fine = {"description": "as asked for", "content": {OF_A_PATH.get(operation.path, HTML): {}}}
            said["responses"] = {"200": fine, "303": {"description": "elsewhere"}, "404": refused}
            if "{images}" in operation.path:
                said["responses"]["409"] = refused
            if "oidc" in operation.path:
                said["responses"]["403"] = refused
            continue
        fields = {"csrf": {"const": "TOKEN"}, **FORMS[operation.path]}
        form = {
            "type": "object",
            "properties": {name: {"type": "string"} | field for name, field in fields.items()},
            "required": ["csrf"],
            "additionalProperties": False,
        }
        said["requestBody"] = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}}
        statuses = {
            "/login": ("403", "429"),
            "/alerts/{alert_id}/dismiss": ("404", "409", "422"),
            "/dead-letters/{partition}/{offset}/discard": ("404", "409", "422"),
            "/dead-letters/{partition}/{offset}/requeue": ("404", "409"),
        }.get(operation.path, ("404", "409") if "alert_id" in operation.path else ())
        said["responses"] = {"303": {"description": "done"}} | dict.fromkeys(("400", "403", "413", *statuses), refused)
    return document


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with house_in(tmp_path, oidc=oidc(Provider())) as house:
        house.accounts.add(NAME, PASSWORD, Grant(roles=(Role.RADIOLOGIST, Role.OPERATOR), sites=("*",)))
        house.take(received(SUWON), triaged(SUWON), raised(SUWON), paged(SUWON))
        house.bury(letter(offset=7))
        end_streams(house.hub)
        yield house


@pytest.fixture
def app(house: House) -> FastAPI:
    app = house.app()
    app.state.backstage = replace(app.state.backstage, pictures=Betraying())
    return app


@pytest.fixture
def browser(app: FastAPI) -> Iterator[Browser]:
    with Browser(app) as browser:
        yield browser


def asked(house: House, app: FastAPI, browser: Browser, operation: Any, mode: GenerationMode) -> set[int]:
    """Ask for one operation, some dozens of times; the statuses of the answers."""
    statuses = set()
    # Of what is there; else hardly anything would be.
    real = {name: values[0] for name, values in values_of(house.view).items()} | {"index": 7}
    real |= {"partition": 0, "offset": 7}

    @settings(max_examples=12, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if house.sessions.find(browser.cookies.get(COOKIE, ""), use=True) is None:
            house.seconds += 901  # failed logins are forgotten
            assert browser.sign_in(NAME).status_code == 303
        checks = ANSWERED if mode.is_positive else (*ANSWERED, "negative_data_rejection")
        if mode.is_positive:
            case.path_parameters.update({name: real[name] for name in case.path_parameters})
        statuses.add(send(case, checks))
        if isinstance(case.body, dict):
            case.body["csrf"] = form_token(browser.cookies[COOKIE])
            statuses.add(send(case, ANSWERED))

    def send(case: Any, checks: Sequence[str]) -> int:
        answer = case.call_and_validate(app=app, cookies=dict(browser.cookies), checks=CHECKS.get_by_names(checks))
        return int(answer.status_code)

    ask()
    return statuses


def all_of(app: FastAPI) -> list[Any]:
    schema = schemathesis.openapi.from_dict(described(app))
    # Where a form has no length.
    schema.config.checks.negative_data_rejection.expected_statuses.append("413")
    return [schema[one.path][one.method] for one in operations(app)]


def test_what_may_be_asked_has_an_answer(house: House, app: FastAPI, browser: Browser) -> None:
    for operation in all_of(app):
        statuses = asked(house, app, browser, operation, GenerationMode.POSITIVE)
        assert statuses & {200, 303} or operation.path == "/login/oidc/callback", operation.label
    # All that was said can be read.
    acts = {AlertAcknowledged, AlertHandedOn, AlertDismissed, LetterDiscarded, LetterRequeued}
    assert acts <= {type(event) for event in house.said()}


def test_what_may_not_be_asked_is_refused(house: House, app: FastAPI, browser: Browser) -> None:
    tried = 0
    for operation in all_of(app):
        if operation.path_parameters or operation.query or operation.body:
            tried += 1
            asked(house, app, browser, operation, GenerationMode.NEGATIVE)
    assert tried >= 21
