"""Content items (DICOM PS3.3, C.17.3) that more than one document has."""

from functools import lru_cache

import highdicom as hd
from pydicom.dataset import Dataset

from gateways.pacs.objects.concepts import DEVICE
from gateways.pacs.objects.revision import MAKER, Revision


def device_observer(revision: Revision) -> list[Dataset]:
    """Who speaks (PS3.16, TID 1002 and 1004): a device, sinsok at its site."""
    return _observer(revision.names.device(), revision.result.site)


@lru_cache(maxsize=64)
def _observer(uid: str, site: str) -> list[Dataset]:
    attributes = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=uid, name=MAKER, manufacturer_name=MAKER, model_name=MAKER, serial_number=site
    )
    context: list[Dataset] = hd.sr.ObserverContext(observer_type=DEVICE, observer_identifying_attributes=attributes)
    return context


@lru_cache(maxsize=256)
def text(name: hd.sr.CodedConcept, value: str) -> Dataset:
    """A TEXT item of a container."""
    return hd.sr.TextContentItem(name, value, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS)
