"""What the stored images say about patient, study and place: the head of each instance, without its pixels.

Events carry no identifier; whoever writes to a hospital's own systems reads them here.
"""

from io import BytesIO

import pydicom
from pydicom.dataset import Dataset

from gateways.objects import FileStore
from schemas.base import ObjectRef
from schemas.events import StudyTriaged
from schemas.failures import Unreadable
from schemas.manifest import Instance, Manifest


def read_manifest(store: FileStore, ref: ObjectRef) -> Manifest:
    """The list of a series' images. Raises :class:`schemas.failures.PortFailure` as :meth:`FileStore.read` does."""
    return Manifest.model_validate_json(store.read(ref))


def read_head(store: FileStore, instance: Instance) -> Dataset:
    """The data set of a stored instance up to its pixels, proven to be the one its digest names.

    Character sets are as they were received: values are decoded with the instance's own Specific Character Set. Raises
    :class:`schemas.failures.Unavailable` where the store is away and :class:`schemas.failures.Unreadable` where the
    instance is gone or cannot be parsed.
    """
    content = store.read(instance.stored)
    # pydicom's warnings quote values, and a value may be a name; the gateway stored what it was sent, valid or not.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        return pydicom.dcmread(BytesIO(content), stop_before_pixels=True, force=True)
    except Exception as error:  # what a file that breaks the standard makes pydicom raise has no end
        raise Unreadable(f"an instance cannot be parsed: {type(error).__name__}") from error


def study_head(store: FileStore, result: StudyTriaged) -> Dataset:
    """The head of one image of a result's study, of a series that was read where there is one.

    Raises as :func:`read_head` does, and :class:`schemas.failures.Unreadable` where the result names no images.
    """
    for decision in sorted(result.series, key=lambda one: one.reading is None):
        if decision.manifest is not None:
            return read_head(store, read_manifest(store, decision.manifest).instances[0])
    raise Unreadable("the result names no images: patient and study are not known")
