"""Content items (DICOM PS3.3, C.17.3) that more than one document has."""

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as Concept

from gateways.pacs.objects.revision import MAKER, Revision


def device_observer(revision: Revision) -> list[Dataset]:
    """Who speaks (PS3.16, TID 1002 and 1004): a device, sinsok at its site."""
    attributes = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=revision.names.device(),
        name=MAKER,
        manufacturer_name=MAKER,
        model_name=MAKER,
        serial_number=revision.result.site,
    )
    context: list[Dataset] = hd.sr.ObserverContext(
        observer_type=hd.sr.CodedConcept("121007", "DCM", "Device"), observer_identifying_attributes=attributes
    )
    return context


def text(name: Concept, value: str) -> Dataset:
    """A TEXT item of a container."""
    return hd.sr.TextContentItem(name, value, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS)
