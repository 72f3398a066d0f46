"""Attempts at batches: the lease of a dataset, and what only its holder may do.

Every function runs in the caller's transaction; locks are taken in one order: dataset, lease, batch. Kept here:

- Batches of a dataset are serial: one is PROCESSING exactly while an attempt at it holds the dataset's lease.
- `seq` only grows within a dataset. A retry of a PROCESSING batch keeps it. A batch that FAILED for good and is run
  again gets a new one: meanwhile later batches may have been folded into the base of a table, and a fold leaves behind,
  per key, the highest `seq` it merged, so rows under the old number would be passed over.
- For the same reason a lease that another batch takes over makes its own batch FAILED.
- `at` never decreases within a dataset, counting the batches that are PROCESSING or ACTIVE.
- Clocks decide who may *try* to take over a lease (expired); who may finish is decided by holding it (fencing).
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from jobs.catalog import registry
from jobs.catalog.batches import as_batch, refuse_deleted
from jobs.catalog.records import DELETED_BY, Attempt, Batch, BatchStatus, DatasetBusy, Lease, StaleAttempt
from jobs.catalog.schema import BatchRow, DatasetRow, LeaseRow
from jobs.catalog.scope import Scope, changed_rows
from jobs.errors import Conflict

_REASON_CHARACTERS = 4000


def begin(scope: Scope, batch_id: str, attempt: Attempt, takes_over: str | None) -> Batch:
    """Take the dataset's lease and bring the batch to PROCESSING; repeating it with the same attempt changes nothing.

    Whether the rows go to the Profile store, and to which generation, is decided here once for the batch: by what the
    dataset is when it enters PROCESSING.

    Raises:
        NotFound: no such batch.
        DatasetBusy: a live attempt at another batch holds the dataset.
        StaleAttempt: a former attempt at this batch, or an expired one, holds it and is not the one in `takes_over`.
        Conflict: the batch asks for an instant before the dataset's last one; or what it brought was deleted since.
    """
    dataset = scope.dataset(scope.batch(batch_id).dataset_id, lock=True)
    row = scope.batch(batch_id)
    if row.status == BatchStatus.ACTIVE:
        refuse_deleted(scope, row)
        return as_batch(row, already_active=True)
    lease = _lease_of(scope, dataset.id)
    if lease is not None and lease.attempt == attempt.id and lease.batch_id == batch_id:
        lease.expires_at = scope.now + timedelta(seconds=attempt.lease_seconds)
        return as_batch(row)
    note = f"attempt {attempt.id}"
    if lease is not None:
        _refuse_unless_taken_over(scope, lease, batch_id, takes_over)
        _give_up(scope, lease, batch_id, attempt)
        note += f", taking over from {lease.attempt} of batch {lease.batch_id}"
    _write_lease(scope, lease, dataset.id, batch_id, attempt)
    _enter(scope, row, dataset, attempt, note)
    return as_batch(scope.batch(batch_id))


def begin_removal(scope: Scope, batch_id: str, attempt: Attempt, takes_over: str | None) -> Batch:
    """Hold the dataset of a FAILED batch, which stays FAILED, while what is left of its rows is removed.

    A rerun of the batch finds the removal as a former attempt and ends it first; another batch waits.

    Raises:
        NotFound: no such batch.
        Conflict: the batch is not FAILED.
        DatasetBusy: an attempt at a batch holds the dataset, or may be taken up again.
        StaleAttempt: a former removal holds it and is not the one in `takes_over`.
    """
    dataset = scope.dataset(scope.batch(batch_id).dataset_id, lock=True)
    row = scope.batch(batch_id)
    if row.status != BatchStatus.FAILED:
        raise Conflict(f"batch {batch_id!r} is {row.status}; only what is left of a FAILED one is removed")
    lease = _lease_of(scope, dataset.id)
    if lease is not None and lease.attempt != attempt.id:
        if lease.expires_at > scope.now or scope.batch(lease.batch_id).status == BatchStatus.PROCESSING:
            raise DatasetBusy(as_lease(lease))
        if lease.attempt != takes_over:
            raise StaleAttempt(as_lease(lease))
    _write_lease(scope, lease, dataset.id, batch_id, attempt)
    note = f"attempt {attempt.id} removes what is left of its rows"
    scope.record("batch", batch_id, BatchStatus.FAILED, BatchStatus.FAILED, attempt.run, note)
    return as_batch(row)


def end_removal(scope: Scope, attempt: Attempt) -> None:
    """Release the dataset after a removal; Conflict when the attempt does not hold it any more."""
    scope.session.delete(held(scope, attempt))


def renew(scope: Scope, attempt: Attempt) -> Lease:
    """Let the lease run for another span from now.

    Raises:
        Conflict: the attempt no longer holds its lease.
    """
    extended = scope.session.execute(
        update(LeaseRow)
        .where(LeaseRow.sandbox == scope.sandbox, LeaseRow.attempt == attempt.id)
        .values(expires_at=scope.now + timedelta(seconds=attempt.lease_seconds))
    )
    if changed_rows(extended) != 1:
        raise Conflict(
            f"attempt {attempt.id!r} holds no lease any more: its batch ended or another attempt took over; "
            "stop its work"
        )
    return as_lease(held(scope, attempt))


def finish(scope: Scope, batch_id: str, attempt: Attempt, result: dict[str, Any]) -> Batch:
    """Make the batch ACTIVE, store its result and release the dataset; repeating it changes nothing.

    Raises:
        Conflict: the attempt does not hold the dataset for this batch.
    """
    dataset = scope.dataset(scope.batch(batch_id).dataset_id, lock=True)
    row = scope.batch(batch_id)
    if row.status == BatchStatus.ACTIVE and row.attempt == attempt.id:
        return as_batch(row)
    lease = held(scope, attempt, batch_id)
    applied = scope.now if row.in_profile and row.generation == dataset.generation else None
    _move(scope, row, BatchStatus.PROCESSING, BatchStatus.ACTIVE, result=result, reason=None, applied_from=applied)
    scope.session.delete(lease)
    scope.record("batch", batch_id, BatchStatus.PROCESSING, BatchStatus.ACTIVE, attempt.run, f"attempt {attempt.id}")
    return as_batch(scope.batch(batch_id))


def fail(scope: Scope, batch_id: str, attempt: Attempt, reason: str, final: bool) -> Batch:
    """Note why an attempt failed; with `final` the batch is FAILED and the dataset free.

    Without `final` the batch stays PROCESSING, to be taken up by a retry, and its lease counts as expired: another
    batch may take the dataset over, which makes this one FAILED. Whoever comes next ends the session that the attempt
    has here.

    Raises:
        Conflict: the attempt does not hold the dataset for this batch.
    """
    scope.dataset(scope.batch(batch_id).dataset_id, lock=True)
    row = scope.batch(batch_id)
    if row.status == BatchStatus.FAILED and row.attempt == attempt.id:
        return as_batch(row)
    lease = held(scope, attempt, batch_id)
    # PostgreSQL takes no zero in a text, neither database half a character of a file name that is not UTF-8.
    reason = reason.replace("\0", "").encode(errors="replace").decode()[:_REASON_CHARACTERS]
    after = BatchStatus.FAILED if final else BatchStatus.PROCESSING
    begun = {"session_id": attempt.session_id, "engine": attempt.engine}
    _move(scope, row, BatchStatus.PROCESSING, after, reason=reason, **begun)
    if final:
        scope.session.delete(lease)
    else:
        lease.expires_at, lease.session_id, lease.engine = scope.now, attempt.session_id, attempt.engine
    scope.record(
        "batch", batch_id, BatchStatus.PROCESSING, after, attempt.run, f"attempt {attempt.id} failed: {reason}"
    )
    return as_batch(scope.batch(batch_id))


def refuse_when_held(scope: Scope, dataset_id: str, batch_id: str) -> None:
    """Raise DatasetBusy while a live attempt at another batch than this one holds a dataset."""
    lease = _lease_of(scope, dataset_id)
    if lease is not None and lease.batch_id != batch_id and lease.expires_at > scope.now:
        raise DatasetBusy(as_lease(lease))


def leases(scope: Scope) -> list[Lease]:
    """List who holds which dataset, the longest held first."""
    wanted = select(LeaseRow).where(LeaseRow.sandbox == scope.sandbox).order_by(LeaseRow.acquired_at)
    return [as_lease(row) for row in scope.session.scalars(wanted)]


def as_lease(row: LeaseRow) -> Lease:
    """Copy a row into the record that callers get."""
    return Lease(
        dataset_id=row.dataset_id,
        batch_id=row.batch_id,
        attempt=Attempt(
            id=row.attempt,
            session_id=row.session_id,
            engine=row.engine,
            run=row.run,
            lease_seconds=row.lease_seconds,
        ),
        acquired_at=row.acquired_at,
        expires_at=row.expires_at,
    )


def _lease_of(scope: Scope, dataset_id: str) -> LeaseRow | None:
    return scope.session.get(LeaseRow, (scope.sandbox, dataset_id), populate_existing=True, with_for_update=True)


def _refuse_unless_taken_over(scope: Scope, lease: LeaseRow, batch_id: str, takes_over: str | None) -> None:
    if lease.batch_id != batch_id and lease.expires_at > scope.now:
        raise DatasetBusy(as_lease(lease))
    if takes_over != lease.attempt:
        raise StaleAttempt(as_lease(lease))


def _give_up(scope: Scope, lease: LeaseRow, batch_id: str, attempt: Attempt) -> None:
    """Make the batch of an expired lease FAILED when another batch takes its dataset."""
    # It is FAILED already when the lease was held to remove its rows.
    if lease.batch_id == batch_id or scope.batch(lease.batch_id).status == BatchStatus.FAILED:
        return
    reason = f"attempt {lease.attempt} stopped renewing its lease, and batch {batch_id} took the dataset over"
    _move(scope, scope.batch(lease.batch_id), BatchStatus.PROCESSING, BatchStatus.FAILED, reason=reason)
    scope.record("batch", lease.batch_id, BatchStatus.PROCESSING, BatchStatus.FAILED, attempt.run, reason)


def _write_lease(scope: Scope, lease: LeaseRow | None, dataset_id: str, batch_id: str, attempt: Attempt) -> None:
    values = {
        "batch_id": batch_id,
        "attempt": attempt.id,
        "session_id": attempt.session_id,
        "engine": attempt.engine,
        "run": attempt.run,
        "lease_seconds": attempt.lease_seconds,
        "acquired_at": scope.now,
        "expires_at": scope.now + timedelta(seconds=attempt.lease_seconds),
    }
    if lease is None:
        scope.session.add(LeaseRow(sandbox=scope.sandbox, dataset_id=dataset_id, **values))
        scope.session.flush()
        return
    key = (LeaseRow.sandbox == scope.sandbox, LeaseRow.dataset_id == dataset_id, LeaseRow.attempt == lease.attempt)
    if changed_rows(scope.session.execute(update(LeaseRow).where(*key).values(**values))) != 1:
        raise Conflict(f"dataset {dataset_id!r}: another attempt took its lease at the same moment; begin again")


def _enter(scope: Scope, row: BatchRow, dataset: DatasetRow, attempt: Attempt, note: str) -> None:
    before = BatchStatus(row.status)
    values: dict[str, Any] = {
        "attempt": attempt.id,
        "attempts": row.attempts + 1,
        "session_id": attempt.session_id,
        "engine": attempt.engine,
        "run": attempt.run or row.run,
    }
    if before is not BatchStatus.PROCESSING:
        dataset.last_seq += 1
        values |= {
            "seq": dataset.last_seq,
            "at": _instant(scope, row),
            "in_profile": dataset.enabled,
            "generation": dataset.generation,
            "reason": None,
        }
        note += f", seq {dataset.last_seq}"
    _move(scope, row, before, BatchStatus.PROCESSING, **values)
    scope.record("batch", row.id, before, BatchStatus.PROCESSING, attempt.run, note)


def _instant(scope: Scope, row: BatchRow) -> datetime:
    last = registry.last_at(scope, row.dataset_id)
    if DELETED_BY in row.request:
        # It brings no rows, and keeps nobody from sending those once more that it deletes.
        return last or scope.now
    if row.requested_at is None:
        return scope.now if last is None else max(scope.now, last)
    if last is not None and row.requested_at < last:
        raise Conflict(
            f"batch {row.id!r} asks for the ingestion instant {row.requested_at.isoformat()}, but dataset "
            f"{row.dataset_id!r} is at {last.isoformat()}; an instant never goes back, so give that one or a later one"
        )
    return row.requested_at


def _move(scope: Scope, row: BatchRow, before: BatchStatus, after: BatchStatus, **values: Any) -> None:
    """Change a batch's status by compare-and-set."""
    moved = scope.session.execute(
        update(BatchRow)
        .where(BatchRow.sandbox == scope.sandbox, BatchRow.id == row.id, BatchRow.status == before)
        .values(status=after, updated_at=scope.now, **values)
        .execution_options(synchronize_session=False)
    )
    if changed_rows(moved) != 1:
        raise Conflict(f"batch {row.id!r} is not {before} any more: another process changed it; look again and repeat")


def held(scope: Scope, attempt: Attempt, batch_id: str | None = None) -> LeaseRow:
    """Return the lease that an attempt holds, for a batch if one is given; Conflict when it holds none any more."""
    wanted = select(LeaseRow).where(LeaseRow.sandbox == scope.sandbox, LeaseRow.attempt == attempt.id)
    lease = scope.session.scalar(wanted.with_for_update().execution_options(populate_existing=True))
    if lease is not None and batch_id in (None, lease.batch_id):
        return lease
    raise Conflict(_lost(scope, attempt, batch_id))


def _lost(scope: Scope, attempt: Attempt, batch_id: str | None) -> str:
    if batch_id is None:
        return f"attempt {attempt.id!r} holds no lease any more: its batch ended or another attempt took over"
    row = scope.batch(batch_id)
    holder = scope.session.get(LeaseRow, (scope.sandbox, row.dataset_id))
    held = f"held by attempt {holder.attempt!r} of batch {holder.batch_id!r}" if holder else "held by nobody"
    return (
        f"attempt {attempt.id!r} does not hold dataset {row.dataset_id!r} for batch {batch_id!r}: the batch is "
        f"{row.status} (last attempt {row.attempt!r}), the dataset is {held}; it was cancelled or taken over meanwhile"
    )
