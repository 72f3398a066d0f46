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
from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobs.catalog.job_records import JobRecord


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RefreshStatus(StrEnum):
    """Where a refresh is in its life."""

    NEW = "NEW"
    PROCESSING = "PROCESSING"
    PUBLISHED = "PUBLISHED"
    FAILED = "FAILED"


class Refresh(JobRecord):
    """Record of one refresh."""

    noun: ClassVar[str] = "refresh"
    at_work: ClassVar[StrEnum] = RefreshStatus.PROCESSING
    done: ClassVar[StrEnum] = RefreshStatus.PUBLISHED

    status: RefreshStatus
    number: int | None = Field(default=None, description="Order among the refreshes; given at entering PROCESSING")
    attempts: int = 0


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
