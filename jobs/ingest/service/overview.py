"""What a sandbox holds and how its datasets fare, read from the catalog and the tables' logs; no Spark.

The models are the JSON documents that the command line and the REST API answer.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import Dataset, DatasetId
from jobs.catalog.records import (
    Batch,
    BatchStatus,
    BatchTally,
    DatasetRecord,
    EnabledInterval,
    Event,
    Lease,
)
from jobs.lake import reader
from jobs.lake.store import Store


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BatchesQuery(_Document):
    """Which batches are asked for."""

    dataset: DatasetId | None = None
    status: BatchStatus | None = None
    limit: int = Field(default=20, ge=1, le=10_000)


class BatchSummary(_Document):
    """One batch in a list; the counts are null until it is ACTIVE."""

    id: str
    dataset: str
    status: BatchStatus
    seq: int | None
    at: AwareDatetime | None = Field(description="Ingestion instant")
    files: int
    size_bytes: int
    read: int | None = None
    landed: int | None = None
    applied: int | None = None
    superseded: int | None = None
    duplicates: int | None = None
    quarantined: int | None = None
    reason: str | None = Field(description="Why the last attempt failed")
    removed_by: str | None = Field(default=None, description="System job that deleted it from the Profile store")
    deleted_by: str | None = Field(default=None, description="System job whose deletion it is; it has no rows then")
    run: str
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """Sum up a batch."""
        counts = ("read", "landed", "applied", "superseded", "duplicates", "quarantined")
        return cls(
            id=batch.id,
            dataset=batch.dataset_id,
            status=batch.status,
            seq=batch.seq,
            at=batch.at,
            files=len(batch.files),
            size_bytes=sum(file.size_bytes for file in batch.files),
            reason=batch.reason,
            removed_by=batch.removed_by,
            deleted_by=batch.deleted_by,
            run=batch.run,
            created_at=batch.created_at,
            updated_at=batch.updated_at,
            **{name: (batch.result or {}).get(name) for name in counts},
        )


class BatchStory(_Document):
    """One batch with everything that happened to it."""

    batch: Batch
    history: tuple[Event, ...] = Field(description="Every change, the oldest first")


class Busy(_Document):
    """Which batch holds a dataset; the others wait."""

    batch: str
    run: str
    since: AwareDatetime
    until: AwareDatetime = Field(description="End of the lease unless it is renewed")
    expired: bool = Field(description="Whether it ended already: the next batch takes the dataset over")

    @classmethod
    def of(cls, lease: Lease, now: datetime) -> Self:
        """Sum up a lease."""
        return cls(
            batch=lease.batch_id,
            run=lease.attempt.run,
            since=lease.acquired_at,
            until=lease.expires_at,
            expired=lease.expires_at <= now,
        )


class DatasetStatus(_Document):
    """How one dataset fares."""

    id: str
    kind: str
    enabled: bool = Field(description="Whether its rows go to the Profile store")
    last_batch: BatchSummary | None = Field(description="The batch that was created last, however it ended")
    last_ingested_at: AwareDatetime | None = Field(description="Highest ingestion instant of its ACTIVE batches")
    lag_seconds: float | None = Field(description="Seconds since then")
    batches: dict[BatchStatus, int] = Field(description="Number of batches by status; only those that occur")
    busy: Busy | None


class SandboxStatus(_Document):
    """How a sandbox fares."""

    sandbox: str
    as_of: AwareDatetime
    datasets: tuple[DatasetStatus, ...]


class DatasetFacts(_Document):
    """What a dataset is, and how many rows it has."""

    definition: Dataset
    version: int = Field(description="Grows by one with every change of the definition")
    generation: int = Field(description="Directory of its Profile tables that is read and written now")
    enabled_intervals: tuple[EnabledInterval, ...] = Field(description="When it was enabled for Profile")
    rows_in_lake: int = Field(description="Rows of its ACTIVE batches")
    rows_in_quarantine: int = Field(description="Refused rows of all its batches, failed ones included")
    last_seq: int
    last_at: AwareDatetime | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


def status(catalog: Catalog, now: datetime) -> SandboxStatus:
    """Say how each dataset fares.

    Args:
        catalog: opened in the sandbox.
        now: what lag and leases are measured against.
    """
    tallies: dict[str, list[BatchTally]] = {}
    for tally in catalog.batch_tallies():
        tallies.setdefault(tally.dataset_id, []).append(tally)
    leases = {lease.dataset_id: lease for lease in catalog.leases()}
    told = [_status(catalog, record, tallies.get(record.id, []), leases, now) for record in catalog.datasets()]
    return SandboxStatus(sandbox=catalog.sandbox, as_of=now, datasets=tuple(told))


def batches(catalog: Catalog, query: BatchesQuery) -> list[BatchSummary]:
    """List batches, the newest first; NotFound when the query names an unknown dataset."""
    return [BatchSummary.of(batch) for batch in catalog.batches(query.dataset, query.status, query.limit)]


def batch_story(catalog: Catalog, batch_id: str) -> BatchStory:
    """Tell everything about a batch; NotFound when the sandbox has none of that id."""
    return BatchStory(batch=catalog.batch(batch_id), history=tuple(catalog.history("batch", batch_id)))


def datasets(catalog: Catalog, store: Store) -> list[DatasetFacts]:
    """Describe every dataset, by id."""
    return [_facts(catalog, store, record) for record in catalog.datasets()]


def dataset(catalog: Catalog, store: Store, dataset_id: str) -> DatasetFacts:
    """Describe a dataset; NotFound when the sandbox has none of that id."""
    return _facts(catalog, store, catalog.dataset(dataset_id))


def _status(
    catalog: Catalog, record: DatasetRecord, tallies: list[BatchTally], leases: Mapping[str, Lease], now: datetime
) -> DatasetStatus:
    newest = catalog.batches(record.id, limit=1) if tallies else []
    last = max((t.last_at for t in tallies if t.status is BatchStatus.ACTIVE and t.last_at), default=None)
    lease = leases.get(record.id)
    return DatasetStatus(
        id=record.id,
        kind=record.definition.kind,
        enabled=record.definition.enabled,
        last_batch=BatchSummary.of(newest[0]) if newest else None,
        last_ingested_at=last,
        lag_seconds=None if last is None else (now - last).total_seconds(),
        batches={tally.status: tally.batches for tally in sorted(tallies, key=lambda tally: tally.status)},
        busy=Busy.of(lease, now) if lease else None,
    )


def _facts(catalog: Catalog, store: Store, record: DatasetRecord) -> DatasetFacts:
    lake, quarantine = reader.find(store, "lake", record.id), reader.find(store, "quarantine", record.id)
    landed = reader.rows_by_batch(lake) if lake else {}
    return DatasetFacts(
        definition=record.definition,
        version=record.version,
        generation=record.generation,
        enabled_intervals=tuple(catalog.enabled_intervals(record.id)),
        # The lake may run ahead: a batch counts once it is ACTIVE.
        rows_in_lake=sum(landed.get(batch_id, 0) for batch_id, _ in catalog.active_batches(record.id)),
        rows_in_quarantine=sum(reader.rows_by_batch(quarantine).values()) if quarantine else 0,
        last_seq=record.last_seq,
        last_at=record.last_at,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )
