"""The key image of a page: drawn from what is stored, in mails where the site allows it, and never in a page's way."""

import io
from email.message import EmailMessage
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image

from gateways.alerts import key_image
from gateways.alerts.key_image import SIDE, KeyImages
from gateways.alerts.settings import SAYS
from gateways.alerts.smtp import compose
from gateways.imaging.picture import OUTLINE
from gateways.objects import FileStore
from schemas.base import ObjectRef
from schemas.events import KeyPicture
from schemas.paging import AlertPaged
from tests.results import PROVENANCE, small_study
from tests.unit.gateways.alerts.examples import paged, wording


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


@pytest.fixture
def page(store: FileStore) -> AlertPaged:
    return page_of(store)


def page_of(store: FileStore) -> AlertPaged:
    study = small_study(store, "picture", slices=5)
    result = study.result()
    (decision,) = result.series
    assert decision.reading is not None
    assert decision.reading.label_map is not None
    picture = KeyPicture(
        series_uid=decision.series_uid,
        manifest=study.manifest,
        label_map=decision.reading.label_map,
        provenance=PROVENANCE,
    )
    return paged(study_uid=study.uid, findings=result.findings, picture=picture)


def mail(page: AlertPaged, store: FileStore, *, allowed: bool) -> EmailMessage:
    says = SAYS | {"picture"} if allowed else SAYS
    message = wording(says=says, draw=KeyImages(store).png).page("key", page)
    return compose(message, "sinsok@hospital.test", "kim@hospital.test")


def pictures(mail: EmailMessage) -> list[bytes]:
    return [part.get_payload(decode=True) for part in mail.walk() if part.get_content_maintype() == "image"]


def test_the_finding_is_outlined_in_the_mail_where_the_site_allows_it(page: AlertPaged, store: FileStore) -> None:
    sent = mail(page, store, allowed=True)
    (png,) = pictures(sent)
    drawn = np.asarray(Image.open(io.BytesIO(png)))
    assert drawn.shape[1] == SIDE
    assert (drawn == OUTLINE).all(axis=2).any()
    html = sent.get_body(("html",))
    assert html is not None
    assert '<img src="cid:key-image"' in html.get_content()
    assert sent.as_bytes() == mail(page, store, allowed=True).as_bytes(), "the same page gives the same mail"


def test_the_same_bleed_may_be_larger_in_another_series(page: AlertPaged, store: FileStore) -> None:
    """Then the mail's title is about that one, and there still is a picture of the first."""
    (first,) = page.findings
    other = first.model_copy(update={"series_uid": "2.25.1", "volume_ml": first.volume_ml + 5})
    assert pictures(mail(page.model_copy(update={"findings": (first, other)}), store, allowed=True))


def test_a_site_that_does_not_allow_it_gets_none(page: AlertPaged, store: FileStore) -> None:
    sent = mail(page, store, allowed=False)
    assert not pictures(sent)
    assert "cid:" not in sent.as_string()


def test_a_page_goes_out_without_a_picture_that_cannot_be_drawn(page: AlertPaged, store: FileStore) -> None:
    assert page.picture is not None
    gone = page.picture.label_map.model_copy(update={"uri": "file:///label-maps/gone.npz"})
    for picture in (None, page.picture.model_copy(update={"label_map": gone})):
        assert not pictures(mail(page.model_copy(update={"picture": picture}), store, allowed=True))


def test_a_store_that_hangs_is_waited_for_once(
    page: AlertPaged, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, asked = Event(), []

    class Hangs(FileStore):
        def read(self, ref: ObjectRef) -> bytes:
            asked.append(ref)
            answers.wait(30)
            return store.read(ref)

    monkeypatch.setattr(key_image, "_PATIENCE_S", 0.05)
    hanging = KeyImages(Hangs(store.root))
    try:
        assert hanging.png(page, "en") is None
        assert hanging.png(page, "en") is None
        assert len(asked) == 1
    finally:
        answers.set()
