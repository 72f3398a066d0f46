"""What the catalog answers: batches, their files and attempts, datasets, events; and how a dataset can be taken.

Life of a batch; every arrow is a compare-and-set and writes an event:

```
NEW ──begin──► PROCESSING ──finish──► ACTIVE
                 │  ▲ └─begin by the next attempt keeps `seq` and `at`
                 ▼  └──begin: new `seq`, new `at`
               FAILED
```
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from jobs.catalog.definitions import BatchId, Dataset
from jobs.errors import Conflict

# In the request of a batch that is a deletion: its system job.
DELETED_BY = "system_job"
# How the ids of such batches begin, and of no other.
DELETION_PREFIX = "deletion-"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BatchStatus(StrEnum):
    """Where a batch is in its life."""

    NEW = "NEW"
    PROCESSING = "PROCESSING"
    ACTIVE = "ACTIVE"
    FAILED = "FAILED"


class InputFile(_Record):
    """One file of a batch, as it was when the batch was created."""

    path: str = Field(description="Absolute path, or URL")
    name: str = Field(description="Base name; files of a batch are read in this order")
    size_bytes: int = Field(ge=0)
    modified_ns: int = Field(
        default=0, description="When it was changed last, in nanoseconds since 1970; 0 where it is not known"
    )
    digest: str = Field(
        default="", description="SHA-256 of the bytes as hexadecimal digits; empty where it is not known"
    )
    format: str = Field(default="", description="json, csv, parquet, ...")
    compression: str = Field(default="", description="gzip, or empty")
    multiline: bool = Field(default=False, description="CSV with values that hold line ends: read by one task")

    @property
    def content(self) -> tuple[str, int, str]:
        """What makes it the same file in another attempt: its name and content, not where it lies."""
        return self.name, self.size_bytes, self.digest


class Attempt(_Record):
    """One try of running a batch; whoever holds the lease of the dataset is an attempt."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(description="Unique for every try")
    session_id: str = Field(
        default="", description="Spark session that does its work; interrupted before another attempt begins"
    )
    engine: str = Field(default="", description="Engine that runs the session, as Engine.parse reads it")
    run: str = Field(default="", description="Who runs it: <dag>/<run>/<try>, or cli")
    lease_seconds: float = Field(default=60, gt=0, description="Seconds until the lease expires unless renewed")

    def unbegun(self) -> "Attempt":
        """Return the attempt as one that nobody has to end: the engine opened no session for it."""
        return self.model_copy(update={"session_id": "", "engine": ""})


class Lease(_Record):
    """Who holds a dataset."""

    dataset_id: str
    batch_id: str
    attempt: Attempt
    acquired_at: AwareDatetime
    expires_at: AwareDatetime


class Batch(_Record):
    """Record of one batch; a copy, as it was when it was read."""

    id: BatchId
    sandbox: str
    dataset_id: str
    status: BatchStatus
    seq: int | None = Field(default=None, description="Order of the batch in its dataset; given at entering PROCESSING")
    at: AwareDatetime | None = Field(default=None, description="Ingestion instant; given together with seq")
    requested_at: AwareDatetime | None = Field(default=None, description="Ingestion instant that the request asks for")
    files: tuple[InputFile, ...] = ()
    request: dict[str, Any] = {}
    attempt: str | None = Field(default=None, description="Id of the last attempt")
    attempts: int = Field(default=0, description="Attempts begun so far")
    session_id: str = ""
    engine: str = ""
    run: str = Field(default="", description="Run that created it, then the run of its last attempt")
    result: dict[str, Any] | None = Field(default=None, description="What the attempt that finished returned")
    reason: str | None = Field(default=None, description="Why the last attempt failed")
    in_profile: bool = Field(
        default=False,
        description="Whether the dataset was enabled when it began",
    )
    generation: int | None = Field(default=None, description="Generation of the Profile tables it was begun for")
    applied_from: AwareDatetime | None = Field(default=None, description="Since when it counts in the Profile store")
    removed_by: str | None = Field(default=None, description="System job that removed it from the Profile store")
    lake_removed_by: str | None = Field(default=None, description="System job that removed its rows and links, too")
    created_at: AwareDatetime
    updated_at: AwareDatetime
    already_active: bool = Field(default=False, description="Set by begin_attempt: `result` is the answer already")

    @property
    def deleted_by(self) -> str | None:
        """System job whose deletion this batch is; null for a batch of rows."""
        return self.request.get(DELETED_BY)


class BatchTally(_Record):
    """The batches of one dataset in one status."""

    dataset_id: str
    status: BatchStatus
    batches: int
    last_at: AwareDatetime | None = Field(description="Their highest ingestion instant")


class Event(_Record):
    """One change of one record."""

    kind: str = Field(description="namespace, dataset or batch")
    record_id: str
    from_status: str | None = Field(description="None for a creation")
    to_status: str
    at: AwareDatetime
    who: str
    run: str
    note: str = ""


class EnabledInterval(_Record):
    """A span in which a dataset was enabled for Profile; open ended while it is."""

    enabled_from: AwareDatetime
    enabled_until: AwareDatetime | None


class DatasetRecord(_Record):
    """A dataset as the catalog knows it."""

    definition: Dataset = Field(description="As applied; namespaces in their canonical spelling")
    generation: int = Field(description="Directory of its Profile tables that is read and written now")
    version: int = Field(description="Grows by one with every change of the definition")
    last_seq: int = Field(description="Highest seq given so far; 0 before the first batch")
    last_at: AwareDatetime | None
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @property
    def id(self) -> str:
        """Id of the dataset."""
        return self.definition.id


class Action(StrEnum):
    """What applying does to a record."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


class Change(_Record):
    """What applying does to one record."""

    kind: str = Field(description="namespace, dataset or merge policy")
    id: str
    action: Action
    details: tuple[str, ...] = ()


class ApplyReport(_Record):
    """What applying definitions did, or would do."""

    sandbox: str
    dry_run: bool
    changes: tuple[Change, ...]

    def lines(self) -> list[str]:
        """Say it for a person, one line a record."""
        told = [
            f"{c.kind} {c.id}: {c.action}" + (f" ({'; '.join(c.details)})" if c.details else "") for c in self.changes
        ]
        return [*told, "dry run: nothing was changed"] if self.dry_run else told


class Busy(Conflict):
    """Another one is at work where this one may not be at the same time; look again later."""


class DatasetBusy(Busy):
    """Another batch of the dataset is running; wait until its lease is free or has expired."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        super().__init__(
            f"dataset {lease.dataset_id!r} is busy: batch {lease.batch_id!r} runs in attempt {lease.attempt.id!r} "
            f"({lease.attempt.run or 'unnamed run'}), which holds it until {_instant(lease.expires_at)} and may renew; "
            "batches of one dataset run one after the other, so wait for it or cancel it"
        )


class StaleAttempt(Conflict):
    """A former attempt may still have work running.

    The caller interrupts `session_id` on `engine`, waits until its operations are gone, and begins again with
    `takes_over=attempt_id`.
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.attempt_id = lease.attempt.id
        self.session_id = lease.attempt.session_id
        self.engine = lease.attempt.engine
        super().__init__(
            f"dataset {lease.dataset_id!r} is still held by attempt {self.attempt_id!r} of batch {lease.batch_id!r} "
            f"(lease until {_instant(lease.expires_at)}); interrupt its Spark session {self.session_id!r} on "
            f"{self.engine or 'its engine'!r}, then take it over"
        )


def differing_files(known: Sequence[InputFile], given: Sequence[InputFile]) -> list[str]:
    """Say what differs between two sets of files, by name and content; empty when nothing does."""
    gone = Counter(f.content for f in known) - Counter(f.content for f in given)
    new = Counter(f.content for f in given) - Counter(f.content for f in known)
    told = []
    for content in sorted(gone.elements()):
        other = next((c for c in sorted(new) if c[0] == content[0]), None)
        if other is None:
            told.append(f"{content[0]} is missing")
        else:
            told.append(_other_content(content, other))
            new -= Counter([other])
    return told + [f"{name} is new" for name, _, _ in sorted(new.elements())]


def _other_content(before: tuple[str, int, str], now: tuple[str, int, str]) -> str:
    if before[1] != now[1]:
        return f"{now[0]} has {now[1]} bytes in place of {before[1]}"
    return f"{now[0]} has other bytes (sha-256 {now[2][:12] or 'unknown'}, before {before[2][:12] or 'unknown'})"


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
