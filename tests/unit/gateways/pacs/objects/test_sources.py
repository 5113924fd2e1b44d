"""A series' images, as its manifest lists them."""

import io

import pytest

from gateways.imaging.volume import SliceName
from gateways.objects import FileStore
from gateways.pacs.objects.sources import SourceSeries
from schemas.events import SeriesDecision
from schemas.failures import Unreadable
from schemas.manifest import Instance, Manifest
from tests.unit.gateways.imaging.ct import part_10, series
from tests.unit.gateways.pacs.objects.examples import store_in


@pytest.fixture
def store(tmp_path) -> FileStore:
    return store_in(tmp_path)


def source(store: FileStore, contents: list[tuple[bytes, bool]]) -> SourceSeries:
    """Instances of one UID; whether each came after another with the same one."""
    instances = tuple(
        Instance(
            sop_uid="2.25.1",
            sop_class="1.2",
            transfer_syntax="1.2.840.10008.1.2.1",
            stored=store.put(content, "instances", ".dcm"),
            conflict=conflict,
        )
        for content, conflict in contents
    )
    manifest = Manifest(site="suwon", study_uid="1.2", series_uid="1.2.3", instances=instances)
    reference = store.put(manifest.model_dump_json().encode(), "manifests", ".json")
    return SourceSeries(SeriesDecision(series_uid="1.2.3", model=None, reason="-"), reference, store)


@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_with_one_uid_the_first_counts(store, swapped):
    first, second = series(2)
    second.SOPInstanceUID = first.SOPInstanceUID
    contents = [(part_10(first), False), (part_10(second), True)]
    found = source(store, contents[::-1] if swapped else contents)
    assert found.head("2.25.1").InstanceNumber == 1


def test_what_the_series_does_not_have_is_said(store):
    found = source(store, [(part_10(series(2)[0]), False)])
    with pytest.raises(Unreadable, match="an instance that its series does not have"):
        found.head("2.25.9")
    with pytest.raises(Unreadable, match="a frame that its instance does not have"):
        found.frame(SliceName("2.25.1", 2))


def test_a_head_that_cannot_be_placed_names_no_values(store):
    ds = series(2)[0]
    ds.RescaleSlope = None
    ds.PatientName = "PHANTOM^NOBODY"
    content = io.BytesIO(part_10(ds)).getvalue()
    with pytest.raises(Unreadable) as caught:
        source(store, [(content, False)]).frame(SliceName("2.25.1", None))
    assert "NOBODY" not in str(caught.value)


def test_any_head_is_one_that_can_be_read(store):
    ds, other = series(2)
    found = source(store, [(part_10(ds), False)])
    gone = Instance(
        sop_uid="2.25.0",
        sop_class="1.2",
        transfer_syntax="1.2",
        stored=store.put(part_10(other), "instances", ".dcm"),
    )
    store.path(gone.stored).unlink()
    found.instances.clear()
    found.instances[gone.sop_uid] = gone
    with pytest.raises(Unreadable, match="no image of the series can be read"):
        found.any_head()
    found.instances["2.25.1"] = gone.model_copy(update={"stored": store.put(part_10(ds), "instances", ".dcm")})
    assert found.any_head().InstanceNumber == 1
