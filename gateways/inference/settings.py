"""Where Triton is and how much is asked of it at once."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Address = Annotated[str, Field(pattern=r"^[^\s/:]+:\d{1,5}$", description="host:port")]


class TritonSettings(BaseModel):
    """The model server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    grpc_url: Address = "127.0.0.1:8001"
    http_url: Address = "127.0.0.1:8000"
    metrics_url: Address = "127.0.0.1:8002"
    timeout_s: float = Field(default=60.0, gt=0, le=3600, description="The longest a reading of one series may take")
    routine_timeout_s: float = Field(
        default=240.0, gt=0, le=3600, description="The longest a reading may take that is not urgent: a confirmation"
    )
    probe_timeout_s: float = Field(default=3.0, gt=0, le=60, description="The longest other questions may take")
    concurrency: int = Field(default=2, ge=1, le=64, description="Series a process loads and infers at the same time")
    failures: int = Field(
        default=3, ge=1, le=100, description="So often may server or model fail over one series before it is given up"
    )
    load_patience_s: float = Field(
        default=60.0, ge=0, le=24 * 3600, description="Wait so long for a model that could not be loaded"
    )
    shared_memory: Literal["auto", "never"] = Field(
        default="auto", description="auto: volumes go through shared memory to a Triton on this machine"
    )
