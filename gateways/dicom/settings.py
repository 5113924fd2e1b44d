"""What a site configures of its DICOM gateway."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[^\\\x00-\x1f]+$")]


class SiteAccess(BaseModel):
    """How a site's senders are known: the AE title they call, and the AE titles they call from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    called_ae: AeTitle = Field(description="The AE title that stands for this site; no two sites share one")
    calling_ae: tuple[AeTitle, ...] = Field(
        default=("*",), description="AE titles that may send; * and ? are wildcards; all may where it says *"
    )


class DicomGatewaySettings(BaseModel):
    """The DICOM gateway: where it listens and within which limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address to listen on; nobody else is reached by default")
    port: Annotated[int, Field(ge=0, le=65535, description="TCP port; 0 takes a free one")] = 11112
    max_associations: Annotated[int, Field(ge=1, le=1000)] = 50
    acse_timeout_s: Annotated[float, Field(gt=0, description="For the association request and its end")] = 30
    dimse_timeout_s: Annotated[float, Field(gt=0, description="For the rest of a message that has begun")] = 60
    network_timeout_s: Annotated[float, Field(gt=0, description="A silent peer is disconnected after it")] = 300
    max_pdu_bytes: Annotated[int, Field(ge=4096, le=1_048_576)] = 131_072
    max_object_mb: Annotated[int, Field(ge=1, description="A larger data set is answered 0xA700 and not kept")] = 2048
    min_free_mb: Annotated[int, Field(ge=0, description="With less free disk, C-STORE is answered 0xA700")] = 512
    idle_s: Annotated[float, Field(gt=0, description="An open association that is silent this long ends its batch")] = 5
    stop_grace_s: Annotated[float, Field(ge=0, description="How long a stop waits for associations to end")] = 10
