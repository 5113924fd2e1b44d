"""The key image shows the leading finding where it is, says what it is, and names nobody."""

import numpy as np
import pytest

from gateways.imaging.picture import MARGIN, OUTLINE
from gateways.objects import FileStore
from gateways.pacs.objects import fonts, key_image, objects_of
from gateways.pacs.objects.words import ENGLISH, KOREAN
from gateways.pacs.settings import ObjectSettings
from schemas.deliveries import ObjectKind
from tests.unit.gateways.imaging.ct import COLUMNS, ROWS, SPACING, series
from tests.unit.gateways.pacs.objects.examples import (
    decision,
    kinds_of,
    of_kind,
    result_of,
    store_datasets,
    store_in,
)

ONLY = ObjectSettings(kinds=(ObjectKind.KEY_IMAGE,))
NAME = "PHANTOM^NOBODY"


@pytest.fixture
def store(tmp_path) -> FileStore:
    return store_in(tmp_path)


@pytest.fixture
def burned_in(monkeypatch) -> list[str]:
    """The lines that were drawn."""
    lines: list[str] = []
    draw, card = key_image.draw, key_image.card

    def drawn(seen, caption, side):
        lines.extend((*caption.above, *caption.below))
        return draw(seen, caption, side)

    def carded(text, font):
        lines.extend(text)
        return card(text, font)

    monkeypatch.setattr(key_image, "draw", drawn)
    monkeypatch.setattr(key_image, "card", carded)
    return lines


def found(store, bend=lambda ds, z: None):
    labels = np.zeros((6, ROWS, COLUMNS), np.uint8)
    labels[1:4, 10:20, 40:60] = 1
    labels[2, 8:24, 40:60] = 1

    def named(ds, z):
        ds.PatientName = NAME
        bend(ds, z)

    return decision(store, store_datasets(store, series(6, named)), labels)


def test_the_lesion_is_outlined_on_its_key_slice(store):
    ds = of_kind(objects_of(result_of(found(store)), (), ONLY, store), ObjectKind.KEY_IMAGE)
    pixels = ds.pixel_array
    assert pixels.shape == (ds.Rows, ds.Columns, 3)
    assert max(ds.Rows, ds.Columns) <= 1024
    rows, columns = (pixels == OUTLINE).all(axis=-1).nonzero()
    scale = ds.Columns / (COLUMNS * SPACING[2]) if COLUMNS * SPACING[2] > ROWS * SPACING[1] else None
    scale = scale or (ds.Rows - 3 * MARGIN) / (ROWS * SPACING[1])
    assert (rows.min() - MARGIN) / scale == pytest.approx(8 * SPACING[1], abs=0.5)
    assert (rows.max() - MARGIN) / scale == pytest.approx(24 * SPACING[1], abs=0.5)
    assert columns.min() / scale == pytest.approx(40 * SPACING[2], abs=0.5)
    assert columns.max() / scale == pytest.approx(60 * SPACING[2], abs=0.5)
    (source,) = ds.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == "2.25.3"
    assert list(ds.PatientOrientation) == ["L", "P"]


def test_a_slice_stored_from_left_to_right_is_turned(store):
    """What lies on the right of the stored rows is the patient's right, and so on the picture's left."""

    def mirrored(ds, z):
        ds.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]

    ds = of_kind(objects_of(result_of(found(store, mirrored)), (), ONLY, store), ObjectKind.KEY_IMAGE)
    columns = (ds.pixel_array == OUTLINE).all(axis=-1).nonzero()[1]
    assert columns.max() < ds.Columns / 2
    assert list(ds.PatientOrientation) == ["L", "P"]


def test_it_is_marked_as_what_it_is(store):
    ds = of_kind(objects_of(result_of(found(store)), (), ONLY, store), ObjectKind.KEY_IMAGE)
    assert (ds.BurnedInAnnotation, ds.ConversionType, list(ds.ImageType)) == ("YES", "WSD", ["DERIVED", "SECONDARY"])
    assert "a_model 2" in ds.DerivationDescription
    assert (ds.PhotometricInterpretation, ds.SamplesPerPixel, ds.BitsAllocated) == ("RGB", 3, 8)
    assert "PixelAspectRatio" not in ds, "drawn in true proportions, so pixels are square"


@pytest.mark.parametrize(("language", "words"), [("en", ENGLISH), ("ko", KOREAN)])
def test_what_is_burned_in(store, burned_in, monkeypatch, language, words):
    if language == "ko" and fonts.hangul_font() is None:
        pytest.skip("no font with Hangul is installed (Debian's fonts-nanum)")
    choice = ONLY.model_copy(update={"language": language})
    objects_of(result_of(found(store), unconfirmed=True), (), choice, store)
    assert burned_in[0] == words.warning
    assert burned_in[1].startswith("Cerebral hemorrhage, ")
    assert burned_in[2].startswith("a_model 2, ")
    assert words.unconfirmed in burned_in[2]
    assert not any("NOBODY" in line for line in burned_in)


def test_hangul_is_drawn_and_not_boxes(store):
    """The signs of two Korean words of one length differ; missing signs are all the same box."""
    from PIL import ImageFont

    path = fonts.hangul_font()
    if path is None:
        pytest.skip("no font with Hangul is installed (Debian's fonts-nanum)")
    masks = {bytes(ImageFont.truetype(path, 18).getmask(sign)) for sign in "개정미확"}
    assert len(masks) == 4


def test_without_a_korean_font_it_is_english(store, burned_in, monkeypatch):
    monkeypatch.setattr(key_image, "hangul_font", lambda: None)
    objects_of(result_of(found(store)), (), ONLY.model_copy(update={"language": "ko"}), store)
    assert burned_in[0] == ENGLISH.warning


def test_a_newer_image_names_what_it_replaces(store, burned_in):
    one = found(store)
    first = [one.written for one in objects_of(result_of(one), (), ONLY, store)]
    assert not any("replaces" in line for line in burned_in)
    objects_of(result_of(one, revision=4, unconfirmed=True, supersedes=2), first, ONLY, store)
    assert burned_in[-1] == "replaces the AI image of revision 2"
    objects_of(result_of(one), first, ONLY, store)
    assert burned_in[-1] == "replaces the unconfirmed AI image of revision 1"


def test_a_withdrawn_finding_leaves_a_mark(store, burned_in):
    one = found(store)
    first = [one.written for one in objects_of(result_of(one), (), ONLY, store)]
    cleared = one.model_copy(update={"reading": one.reading.model_copy(update={"findings": ()})})
    objects = objects_of(result_of(cleared, revision=2), first, ONLY, store)
    ds = of_kind(objects, ObjectKind.KEY_IMAGE)
    assert "superseded: earlier AI finding withdrawn" in burned_in
    assert ds.pixel_array.max() > 200
    assert ds.SeriesInstanceUID == first[0].series_uid
    assert kinds_of(objects_of(result_of(cleared), (), ONLY, store)) == []


def test_a_classifiers_finding_has_no_outline(store, burned_in):
    result = result_of(decision(store, store_datasets(store, series(6)), None))
    ds = of_kind(objects_of(result, (), ONLY, store), ObjectKind.KEY_IMAGE)
    assert not (ds.pixel_array == OUTLINE).all(axis=-1).any()
    assert ENGLISH.locates_nothing in burned_in[1]
