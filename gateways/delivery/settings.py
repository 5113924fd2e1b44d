"""The process that writes results: where it listens for the PACS's answers, and how long it remembers."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gateways.dicom.settings import AeTitle
from gateways.tls import TlsSettings


class WriterSettings(BaseModel):
    """The PACS writer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address on which it hears of storage commitments")
    port: Annotated[int, Field(ge=0, le=65535, description="TCP port; 0 takes a free one")] = 11113
    aet: AeTitle = Field(
        default="SINSOK", description="An AE title that it answers to, beside the calling_ae of every PACS"
    )
    tls: TlsSettings | None = Field(default=None, description="Where every PACS reports over TLS; needs a certificate")
    makers: Annotated[int, Field(ge=1, le=32, description="Processes that make the objects")] = 2
    keep_days: Annotated[int, Field(ge=1, description="So long it remembers what it wrote for a study")] = 365
