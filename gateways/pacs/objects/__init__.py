"""A result as DICOM objects: a report, a segmentation, a key image, and the rejection of what they replace."""

from gateways.pacs.objects.composition import ResultObject, composed, objects_of
from gateways.pacs.objects.revision import Revision
from gateways.pacs.objects.succession import left_standing

__all__ = ["ResultObject", "Revision", "composed", "left_standing", "objects_of"]
