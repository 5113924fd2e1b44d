"""A result as DICOM objects: a report, a segmentation, a key image, and the rejection of what they replace."""

from gateways.pacs.objects.composition import ResultObject, objects_of
from gateways.pacs.objects.succession import left_standing

__all__ = ["ResultObject", "left_standing", "objects_of"]
