"""What can be set of the audit trail."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class AuditSettings(BaseModel):
    """Who signs, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Path | None = Field(
        default=None, description="Ed25519 private key in PEM, the public one beside it; <home>/keys/audit.pem"
    )
    retired: tuple[Path, ...] = Field(default=(), description="Public keys that signed before, in PEM, oldest first")
    checkpoint_records: Annotated[int, Field(ge=1, le=100_000)] = 1000
    checkpoint_s: Annotated[float, Field(gt=0)] = 60.0
