"""Settings of the stream processes. Free of Faust, so that reading a configuration stays quick."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, le=24 * 3600)]


class StreamSettings(BaseModel):
    """How a hop runs against Kafka. The defaults were measured; docs/decisions/0002-faust-shell.md says how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str = Field(default="127.0.0.1:9092", description="host:port, comma separated")
    datadir: Path = Field(default=Path(".local/streams"), description="Locks; a folder of its own for each cluster")
    commit_interval_s: Seconds = 0.5
    session_timeout_s: Seconds = Field(default=10.0, description="Silence after which partitions go to others")
    heartbeat_s: Seconds = 2.0
    rebalance_timeout_s: Seconds = Field(default=90.0, description="Longer than the longest job")
    grace_s: Seconds = Field(default=90.0, description="From SIGTERM to a hard exit; longer than the longest job")
    attempts: int = Field(default=3, ge=1, le=100, description="For a failure that is not known to pass")
    retry_first_s: Seconds = 0.25
    retry_cap_s: Seconds = Field(default=15.0, description="Longest pause between two attempts")
    report_waiting_after_s: Seconds = Field(default=60.0, description="A port away for longer is told")
    clock_s: Seconds = Field(default=1.0, description="How often deadlines are looked at")
    remind_s: Seconds = Field(default=60.0, description="An unanswered deadline is sent again after this long")
    watch_s: Seconds = Field(default=5.0, description="How often lag is read from the broker")
    stalled_after_s: Seconds = Field(
        default=180.0, description="Commits standing still for this long while there is lag end the process"
    )
