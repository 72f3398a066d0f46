"""What a refresh is as a record, and the cut that it publishes.

```
NEW ──begin──► PROCESSING ──publish──► PUBLISHED
                 │  ▲ └─begin by the next attempt keeps `number`
                 ▼  └──begin: new `number`
               FAILED
```

A *cut* is one consistent state of the Profile store: which version of each table belongs together, and which batches
are in it. Readers take the newest cut and read everything by it.
"""

from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobs.catalog.records import Busy
from jobs.errors import Conflict


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RefreshStatus(StrEnum):
    """Where a refresh is in its life."""

    NEW = "NEW"
    PROCESSING = "PROCESSING"
    PUBLISHED = "PUBLISHED"
    FAILED = "FAILED"


class Refresh(_Record):
    """Record of one refresh; a copy, as it was when it was read."""

    id: str
    sandbox: str
    status: RefreshStatus
    number: int | None = Field(default=None, description="Order among the refreshes; given at entering PROCESSING")
    request: dict[str, Any] = {}
    attempt: str | None = Field(default=None, description="Id of the last attempt")
    attempts: int = 0
    session_id: str = ""
    engine: str = ""
    run: str = Field(default="", description="Run that created it, then the run of its last attempt")
    result: dict[str, Any] | None = None
    reason: str | None = Field(default=None, description="Why the last attempt failed")
    expires_at: AwareDatetime | None = Field(default=None, description="End of the lease unless it is renewed")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class CutTable(_Record):
    """One table of a cut."""

    name: str = Field(description="identities, profiles/<policy>, fragments/<dataset>, …")
    place: str = Field(description="Directory below the sandbox's: a store may be moved, or copied")
    version: int = Field(description="Version of the Delta table")
    generation: int = 0
    runs: tuple[tuple[str, int], ...] = Field(
        default=(), description="Of a table that refreshes write: its runs (refresh, number) that are not folded"
    )
    digest: str = Field(default="", description="Of a view: by which policy and fields it was made")


class Cut(_Record):
    """One consistent state of the Profile store."""

    number: int = Field(description="Number of the refresh that published it")
    refresh_id: str
    at: AwareDatetime
    tables: tuple[CutTable, ...]

    def table(self, name: str) -> CutTable | None:
        """Return a table of the cut by its name; None when the cut has none."""
        return next((table for table in self.tables if table.name == name), None)


class TakenBatch(_Record):
    """A batch whose links are in the graph, and whether its rows are in the views."""

    batch_id: str
    dataset_id: str
    taken_by: int = Field(description="Number of the refresh that took it first")
    is_counted: bool = Field(description="Whether its rows are in the profiles of the newest cut")


class GraphBatch(_Record):
    """An ACTIVE batch that went to the Profile store."""

    batch_id: str
    seq: int
    counts: bool = Field(description="Whether it counts in the dataset's present generation; its links count always")


class RefreshBusy(Busy):
    """Another refresh of the sandbox is running; wait until its lease is free or has expired."""

    def __init__(self, holder: Refresh) -> None:
        until = holder.expires_at and holder.expires_at.isoformat(timespec="seconds")
        super().__init__(
            f"refresh {holder.id!r} of sandbox {holder.sandbox!r} is running ({holder.run or 'unnamed run'}, lease "
            f"until {until}); one runs at a time, so wait for it or cancel it"
        )


class StaleRefresh(Conflict):
    """A former attempt may still have work running: end its session, and begin again with `takes_over`."""

    def __init__(self, holder: Refresh) -> None:
        self.holder = holder
        super().__init__(f"refresh {holder.id!r} was left by attempt {holder.attempt!r}; end its work first")
