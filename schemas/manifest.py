"""The manifest: the list of a series' instances, kept in the object store beside them.

Its text is a function of the content alone (no times, sorted by SOP Instance UID), so its digest names the content.
"""

from typing import Annotated

from pydantic import Field

from schemas.base import ObjectRef, Record, Site, Uid


class Instance(Record):
    """One stored object: a DICOM Part 10 file with the data set's bytes as they were received."""

    sop_uid: Uid
    sop_class: str
    transfer_syntax: str
    stored: ObjectRef
    pixel_offset: int | None = Field(default=None, description="Byte offset of the Pixel Data element, None if absent")
    conflict: bool = Field(default=False, description="Another object with this UID came first")


class Manifest(Record):
    """All instances of a series, sorted by SOP Instance UID and digest."""

    site: Site
    study_uid: Uid
    series_uid: Uid
    instances: Annotated[tuple[Instance, ...], Field(min_length=1)]
