"""What can be set of the tracer: who collects the spans."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class TracesSettings(BaseModel):
    """The tracer. Without an endpoint there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+\S*$")] | None = Field(
        default=None, description="Of the collector's OTLP/HTTP, with its path: http://127.0.0.1:4318/v1/traces"
    )
    headers: dict[str, SecretStr] = Field(default={}, description="Sent along, as a collector's key")
    ca: Path | None = Field(default=None, description="Who may have signed its certificate; else the system's")
    timeout_s: Annotated[float, Field(gt=0, description="For a batch as a whole, tries again included")] = 10.0
