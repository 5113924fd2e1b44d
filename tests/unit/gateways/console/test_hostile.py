"""Text from scanners, models and other people stays text, wherever people read it: in pages and in mails.

A page with hostile words has the same elements with the same attributes as one with plain words, and says them as
often.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import ValidationError
from pydicom import DataElement, config

from gateways.alerts.smtp import compose
from gateways.console.letters import Letter
from gateways.console.probes import PartHealth
from gateways.console.rendering import STATIC
from gateways.console.settings import Grant, SiteConsole
from gateways.console.study import Level, Study
from gateways.objects import FileStore
from schemas.audit import Role
from schemas.base import Event, ObjectRef
from schemas.events import SeriesReceived
from sinsok.phantom.small import small_series
from tests.letters import letter
from tests.results import ReadStudy
from tests.unit.gateways.alerts import examples
from tests.unit.gateways.console.house import PASSWORD, START, Browser, house_in
from tests.unit.gateways.console.walk import Values, addresses, end_streams, operations
from tests.unit.schemas.examples import JOURNEY
from tests.unit.streams.examples import finding

HOSTILE: Final = (
    """'"></title></script><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}%(by)s&quot;""",
    """'"><script>alert(1)</script><b onclick>""",
    """'"><b onclick>""",
)
"""Ends whatever it may stand in: an attribute, an element, a script, a template, a format. As long as a field takes."""
PLAIN: Final = tuple(
    (words * 9)[: len(text)] for text, words in zip(HOSTILE, ("many plain words ", "plain words ", "few "), strict=True)
)
Texts = tuple[str, ...]
DR: Final = "dr.first"
"""To whom something was refused in the journey."""


class Outline(HTMLParser):
    """What a browser makes of a page: its elements with the names of their attributes, and what they say."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, ...]] = []
        self.said: list[str] = []
        self.leads_to: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        self.said += [value or "" for _, value in attrs]
        self.leads_to += [value or "" for name, value in attrs if name in ("href", "src", "action", "formaction")]

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    def times(self, texts: Texts) -> int:
        return sum(said.count(text) for said in self.said for text in texts)


def leaves(said: Any) -> Iterator[tuple[Any, Any]]:
    """Where in JSON a text stands: what holds it, and under which name or number."""
    for name, value in list(said.items()) if isinstance(said, dict) else list(enumerate(said)):
        if isinstance(value, dict | list):
            yield from leaves(value)
        elif isinstance(value, str):
            yield said, name


def saying(event: Event, texts: Texts) -> Event:
    """The event with the longest of these texts wherever its type takes one."""
    said = event.model_dump(mode="json", exclude={"event_id"})
    for holder, name in leaves(said):
        before = holder[name]
        for text in texts:
            holder[name] = text
            try:
                type(event).model_validate(said)
            except ValidationError:
                holder[name] = before
            else:
                break
    return type(event).model_validate(said)


def another_series(event: SeriesReceived) -> SeriesReceived:
    """The same, of another series of the study."""
    said = event.model_dump(exclude={"event_id"})
    return SeriesReceived.model_validate(said | {"series": said["series"] | {"series_uid": "2.25.2"}})


def with_images(event: Event, manifest: ObjectRef) -> Event:
    """The event, of images that are there."""
    if not hasattr(event, "series"):
        return event
    one_or_all = event.series
    if isinstance(one_or_all, tuple):
        changed: Any = tuple(one.model_copy(update={"manifest": manifest}) for one in one_or_all)
    else:
        changed = one_or_all.model_copy(update={"manifest": manifest})
    return event.model_copy(update={"series": changed})


def patient(store: FileStore, text: str) -> ReadStudy:
    """A study whose images say this of whose they are."""
    datasets = small_series("hostile")
    for ds in datasets:
        for keyword, vr in {"PatientName": "PN", "PatientID": "LO", "AccessionNumber": "SH"}.items():
            ds[keyword] = DataElement(keyword, vr, text, validation_mode=config.IGNORE)
        ds["PatientBirthDate"] = DataElement("PatientBirthDate", "DA", text, validation_mode=config.IGNORE)
        ds["PatientSex"] = DataElement("PatientSex", "CS", text, validation_mode=config.IGNORE)
    return ReadStudy(store, "suwon", datasets)


def parameters(study: Study) -> Values:
    """Of addresses, where there is this study only."""
    (alert,) = study.alerts
    return {
        "site": (study.site,),
        "study_key": (study.key,),
        "alert_id": (str(alert),),
        "alert": (str(alert),),
        "images": tuple(one.images for one in study.pictures),
        "marks": tuple(one.marks for one in study.pictures),
        "finding": ("0",),
        "index": ("7",),
        "show": ("all",),
        "page": ("1",),
        "partition": ("0",),
        "offset": ("1", "2"),
        "next": ("/worklist",),
        "state": ("x",),
        "code": ("x",),
    }


def pages(folder: Path, texts: Texts, language: str) -> dict[str, Outline]:
    """All there is to see of a study that says these texts wherever it can, by address and step of its journey."""
    folder.mkdir()
    hop, topic, error = texts
    manifest = patient(FileStore(folder / "objects"), texts[1]).manifest
    site = SiteConsole(show_patient=True, pacs_link="https://pacs.example/?study={study_uid}")
    with house_in(folder, sites={"suwon": site}) as house, Browser(house.app()) as browser:
        house.accounts.add(DR, PASSWORD, Grant(roles=(Role.RADIOLOGIST, Role.OPERATOR), sites=("suwon",)))
        browser.sign_in(DR)
        browser.cookies.set("sinsok-language", language)
        house.probes._newest = {"streams-infer": PartHealth(texts[0], "not ready", texts, 7, START)}
        end_streams(house.hub)
        found = {}
        for step, event in enumerate(JOURNEY):
            said = with_images(saying(event, texts), manifest)
            house.take(said)
            if isinstance(said, SeriesReceived):
                house.take(another_series(said))
            if step not in (len(JOURNEY) // 2, len(JOURNEY) - 1):
                continue
            (listed, _), *_ = house.view.worklist(("suwon",), Level.DONE, 0, 1).studies
            house.view.bury(Letter(said.time, None, listed.key, hop, topic, error, (0, step)))
            died = {"hop": hop, "topic": topic, "error": error, "message": texts[0]}
            house.bury(
                letter(texts[0].encode(), 1, headers=[(text, text.encode()) for text in texts], **died),
                letter(event, 2, **died),
            )
            study = house.view.study("suwon", listed.key)
            assert study is not None
            for operation in operations(browser.app):  # type: ignore[arg-type]
                for number, address in enumerate(addresses(operation, parameters(study))):
                    answer = browser.get(address) if operation.method == "GET" else None
                    if answer and answer.headers.get("content-type", "").startswith("text/html"):
                        found[f"{step} {operation.path} {number}"] = Outline(answer.text)
    return found


@pytest.mark.parametrize("language", ["en", "ko"])
def test_whatever_words_come_from_outside_a_page_is_the_same_page(tmp_path: Path, language: str) -> None:
    plain, hostile = (
        pages(tmp_path / name, texts, language) for name, texts in (("plain", PLAIN), ("hostile", HOSTILE))
    )
    assert plain.keys() == hostile.keys()
    for address, page in hostile.items():
        assert page.elements == plain[address].elements, address
        assert page.times(HOSTILE) == plain[address].times(PLAIN), address
        strange = [link for link in page.leads_to if not link.startswith(("/", "#", "https://pacs.example/?study="))]
        assert strange == [], address
    # Else nothing would be proven: who the patient is, what scanners, models and people said, and what broke.
    last = len(JOURNEY) - 1
    said_in = {"/studies/{site}/{study_key}": 30, "/worklist": 2, "/operators": 6, "/dead-letters": 8}
    for path, at_least in (said_in | {"/dead-letters/{partition}/{offset}": 10}).items():
        shown = [page.times(HOSTILE) for address, page in hostile.items() if address.startswith(f"{last} {path} ")]
        assert max(shown) >= at_least, path


@pytest.mark.parametrize("language", ["en", "ko"])
def test_whatever_words_come_from_outside_a_mail_is_the_same_mail(language: Any) -> None:
    outlines = []
    for text in (PLAIN[0], HOSTILE[0]):
        code = finding().code.model_copy(update={"meaning": text})
        page = examples.paged(findings=(finding().model_copy(update={"code": code}),) * 2, reason=text)
        words = examples.wording(language)
        for message in (words.page("1", page), words.digest("2", [page, page])):
            mail = compose(message, "sinsok@hospital.test", "kim@hospital.test")
            html = mail.get_body(("html",))
            assert html is not None
            outlines.append(Outline(html.get_content()))
            assert outlines[-1].times((text,)) >= 1
    plain, hostile = outlines[:2], outlines[2:]
    assert [one.elements for one in plain] == [one.elements for one in hostile]
    assert [one.leads_to for one in plain] == [one.leads_to for one in hostile]


@pytest.mark.parametrize("script", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_no_script_makes_elements_of_text(script: Path) -> None:
    """But with what comes from templates: what JSON says, a script puts into ``textContent``."""
    found = re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", script.read_text()
    )
    assert found == []
