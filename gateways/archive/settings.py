"""The archive: when a run of records becomes a segment, and how long the broker keeps what is archived."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Days = Annotated[float, Field(gt=0)]


class ArchiveSettings(BaseModel):
    """The archiver."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment_records: Annotated[int, Field(ge=1, description="A segment has at most so many records")] = 50_000
    segment_mb: Annotated[float, Field(gt=0, description="and so many MiB of them, before compression")] = 64
    segment_age_s: Annotated[float, Field(gt=0, description="So long a record is held for others to join it")] = 3600
    memory_mb: Annotated[float, Field(gt=0, description="All partitions together hold so many MiB")] = 256
    retention_days: dict[str, Days] = Field(
        default={}, description="So long the broker keeps archived records of a topic, where not as declared"
    )
    drop_every_s: Annotated[float, Field(gt=0, description="So often it is looked what the broker may let go")] = 600
