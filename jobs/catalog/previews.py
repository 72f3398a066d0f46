"""What a preview of the Profile store is as a record.

```
NEW ──begin──► RUNNING ──finish──► DONE
                 │  ▲ └─begin by the next attempt
                 ▼  └──begin
               FAILED
```

Readers take the reports of previews that are DONE. While another one is at work they get those of before.
"""

from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobs.catalog.records import Busy
from jobs.errors import Conflict


class PreviewStatus(StrEnum):
    """Where a preview is in its life."""

    NEW = "NEW"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


class Preview(BaseModel):
    """Record of one preview; a copy, as it was when it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    sandbox: str
    status: PreviewStatus
    at: AwareDatetime = Field(description="Instant of the report")
    request: dict[str, Any] = {}
    run: str = Field(default="", description="Run that created it, then the run of its last attempt")
    attempt: str | None = Field(default=None, description="Id of the last attempt")
    session_id: str = Field(default="", description="Spark session that does its work now")
    engine: str = ""
    result: dict[str, Any] | None = Field(default=None, description="Every report")
    reason: str | None = Field(default=None, description="Why the last attempt failed")
    expires_at: AwareDatetime | None = Field(default=None, description="End of the lease unless it is renewed")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class PreviewBusy(Busy):
    """Another preview of the sandbox is running."""

    def __init__(self, holder: Preview) -> None:
        self.holder = holder
        until = holder.expires_at and holder.expires_at.isoformat(timespec="seconds")
        super().__init__(
            f"preview {holder.id!r} of sandbox {holder.sandbox!r} is running ({holder.run or 'unnamed run'}, lease "
            f"until {until}); one runs at a time, so wait for it or cancel it"
        )


class StalePreview(Conflict):
    """A former attempt may still have work running: end its session, and begin again with `takes_over`."""

    def __init__(self, holder: Preview) -> None:
        self.holder = holder
        super().__init__(f"preview {holder.id!r} was left by attempt {holder.attempt!r}; end its work first")
