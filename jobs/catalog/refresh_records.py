"""Refreshes, cuts and the batches in them as records. Every function runs in the caller's transaction.

At most one refresh of a sandbox is PROCESSING. Publishing it is one transaction: its cut, the batches that it took, and
its own end appear together, so a reader sees all of a refresh or nothing. `number` only grows; a refresh that failed
for good gets a new one when it is run again, so that what it wrote under the old one is never taken for published.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from jobs.catalog.records import Attempt, BatchStatus
from jobs.catalog.refreshes import (
    Cut,
    CutTable,
    GraphBatch,
    Refresh,
    RefreshBusy,
    RefreshStatus,
    StaleRefresh,
    TakenBatch,
)
from jobs.catalog.schema import BatchRow, CutRow, RefreshRow, TakenBatchRow
from jobs.catalog.scope import Scope
from jobs.errors import Conflict, NotFound, shortened

_KIND = "refresh"
_REASON_CHARACTERS = 4000


def create(scope: Scope, request: dict[str, Any], run: str) -> Refresh:
    """Record a refresh that is asked for; one that is asked for already and has not begun is the answer."""
    waiting = select(RefreshRow).where(RefreshRow.sandbox == scope.sandbox, RefreshRow.status == RefreshStatus.NEW)
    for row in scope.session.scalars(waiting.order_by(RefreshRow.created_at)):
        if row.request == request:
            return _as_record(row)
    row = RefreshRow(
        sandbox=scope.sandbox,
        id=f"{scope.now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        status=RefreshStatus.NEW,
        request=request,
        attempts=0,
        session_id="",
        engine="",
        run=run,
        created_at=scope.now,
        updated_at=scope.now,
    )
    scope.session.add(row)
    scope.record(_KIND, row.id, None, RefreshStatus.NEW, run)
    scope.session.flush()
    return _as_record(row)


def begin(scope: Scope, refresh_id: str, attempt: Attempt, takes_over: str | None) -> Refresh:
    """Let an attempt run a refresh. One that is PUBLISHED is returned as it is.

    Raises:
        NotFound: no such refresh.
        RefreshBusy: another one is running.
        StaleRefresh: a former attempt, at this one or at one whose lease expired, is not the one in `takes_over`.
        Conflict: another process began at the same moment.
    """
    row = _row(scope, refresh_id)
    if row.status == RefreshStatus.PUBLISHED:
        return _as_record(row)
    holder = _processing(scope)
    if holder is not None:
        if holder.id != row.id and holder.expires_at is not None and holder.expires_at > scope.now:
            raise RefreshBusy(_as_record(holder))
        if holder.attempt != takes_over:
            raise StaleRefresh(_as_record(holder))
        if holder.id != row.id:
            reason = f"attempt {holder.attempt} stopped renewing its lease, and refresh {row.id} took its place"
            _move(scope, holder, RefreshStatus.FAILED, attempt.run, reason)
            scope.session.flush()
    if row.status != RefreshStatus.PROCESSING:
        highest = select(func.max(RefreshRow.number)).where(RefreshRow.sandbox == scope.sandbox)
        row.number = (scope.session.scalar(highest) or 0) + 1
    row.attempt, row.engine, row.session_id = attempt.id, attempt.engine, attempt.session_id
    row.attempts += 1
    row.run = attempt.run or row.run
    row.expires_at = scope.now + timedelta(seconds=attempt.lease_seconds)
    _move(scope, row, RefreshStatus.PROCESSING, attempt.run)
    scope.session.flush()
    return _as_record(row)


def renew(scope: Scope, refresh_id: str, attempt: Attempt) -> Refresh:
    """Let the lease run for another span from now; Conflict when the attempt does not run it any more."""
    row = _held(scope, refresh_id, attempt.id)
    row.expires_at = scope.now + timedelta(seconds=attempt.lease_seconds)
    return _as_record(row)


def publish(
    scope: Scope,
    refresh_id: str,
    attempt: Attempt,
    result: dict[str, Any],
    tables: Sequence[CutTable],
    batches: Mapping[str, Sequence[GraphBatch]],
) -> Refresh:
    """Make a refresh PUBLISHED together with its cut and the batches in it; without tables there is no new cut.

    Args:
        scope: the transaction.
        refresh_id: the refresh.
        attempt: who runs it.
        result: its counts.
        tables: of the cut.
        batches: by dataset, every batch that is in the graph now and whether it counts.

    Raises:
        Conflict: the attempt does not run it any more.
    """
    row = _row(scope, refresh_id)
    if row.status == RefreshStatus.PUBLISHED and row.attempt == attempt.id:
        return _as_record(row)
    row = _held(scope, refresh_id, attempt.id)
    row.result = result
    if tables:
        documents = [table.model_dump(mode="json") for table in tables]
        scope.session.add(
            CutRow(sandbox=scope.sandbox, number=row.number, refresh_id=row.id, at=scope.now, tables=documents)
        )
        _take(scope, row.number or 0, batches)
    _move(scope, row, RefreshStatus.PUBLISHED, attempt.run)
    scope.session.flush()
    return _as_record(row)


def fail(scope: Scope, refresh_id: str, attempt_id: str, reason: str, final: bool, run: str) -> Refresh:
    """Note why an attempt failed. Without `final` the refresh stays PROCESSING for a retry, its lease expired.

    Raises:
        Conflict: the attempt does not run it any more.
    """
    row = _held(scope, refresh_id, attempt_id)
    reason = reason.replace("\0", "").encode(errors="replace").decode()[:_REASON_CHARACTERS]
    if final:
        _move(scope, row, RefreshStatus.FAILED, run, reason)
    else:
        row.expires_at, row.reason, row.updated_at = scope.now, reason, scope.now
        scope.record(_KIND, row.id, row.status, row.status, run, f"attempt {attempt_id} failed: {reason}")
    return _as_record(row)


def found(scope: Scope, refresh_id: str) -> Refresh:
    """Return a refresh; NotFound when there is none."""
    return _as_record(_row(scope, refresh_id))


def listed(scope: Scope, limit: int) -> list[Refresh]:
    """List refreshes, the newest first."""
    wanted = select(RefreshRow).where(RefreshRow.sandbox == scope.sandbox)
    newest = wanted.order_by(RefreshRow.created_at.desc(), RefreshRow.id.desc())
    return [_as_record(row) for row in scope.session.scalars(newest.limit(limit))]


def cut(scope: Scope, number: int | None) -> Cut | None:
    """Return a cut by its number, or the newest; None when there is none."""
    wanted = select(CutRow).where(CutRow.sandbox == scope.sandbox).order_by(CutRow.number.desc()).limit(1)
    row = scope.session.scalar(wanted if number is None else wanted.where(CutRow.number == number))
    if row is None:
        return None
    return Cut(number=row.number, refresh_id=row.refresh_id, at=row.at, tables=tuple(map(_table, row.tables)))


def taken(scope: Scope) -> list[TakenBatch]:
    """List every batch that the newest cut has in its graph."""
    rows = scope.session.scalars(select(TakenBatchRow).where(TakenBatchRow.sandbox == scope.sandbox))
    return [TakenBatch.model_validate({name: getattr(row, name) for name in TakenBatch.model_fields}) for row in rows]


def graph_batches(scope: Scope, dataset_id: str) -> list[GraphBatch]:
    """List the ACTIVE batches of a dataset that went to the Profile store, also those that were removed from it."""
    dataset = scope.dataset(dataset_id)
    wanted = select(BatchRow).where(
        BatchRow.sandbox == scope.sandbox,
        BatchRow.dataset_id == dataset_id,
        BatchRow.status == BatchStatus.ACTIVE,
        BatchRow.in_profile,
    )
    return [
        GraphBatch(
            batch_id=row.id,
            seq=row.seq or 0,
            counts=row.applied_from is not None and row.removed_by is None and row.generation == dataset.generation,
        )
        for row in scope.session.scalars(wanted.order_by(BatchRow.seq))
    ]


def _take(scope: Scope, number: int, batches: Mapping[str, Sequence[GraphBatch]]) -> None:
    wanted = select(TakenBatchRow).where(TakenBatchRow.sandbox == scope.sandbox)
    known = {row.batch_id: row for row in scope.session.scalars(wanted)}
    for dataset_id, present in batches.items():
        for batch in present:
            row = known.get(batch.batch_id)
            if row is None:
                values = {"batch_id": batch.batch_id, "dataset_id": dataset_id, "is_counted": batch.counts}
                scope.session.add(TakenBatchRow(sandbox=scope.sandbox, taken_by=number, **values))
            elif row.is_counted != batch.counts:
                row.is_counted = batch.counts


def _row(scope: Scope, refresh_id: str) -> RefreshRow:
    key = (scope.sandbox, refresh_id)
    row = scope.session.get(RefreshRow, key, populate_existing=True, with_for_update=True)
    if row is None:
        raise NotFound(f"no refresh {shortened(refresh_id)} in sandbox {scope.sandbox!r}")
    return row


def _processing(scope: Scope) -> RefreshRow | None:
    wanted = select(RefreshRow).where(
        RefreshRow.sandbox == scope.sandbox, RefreshRow.status == RefreshStatus.PROCESSING
    )
    return scope.session.scalar(wanted.with_for_update().execution_options(populate_existing=True))


def _held(scope: Scope, refresh_id: str, attempt_id: str) -> RefreshRow:
    row = _row(scope, refresh_id)
    if row.status != RefreshStatus.PROCESSING or row.attempt != attempt_id:
        raise Conflict(
            f"attempt {attempt_id!r} does not run refresh {refresh_id!r} any more: it is {row.status} (last attempt "
            f"{row.attempt!r}); stop this attempt's work"
        )
    return row


def _move(scope: Scope, row: RefreshRow, to: RefreshStatus, run: str, reason: str | None = None) -> None:
    before, row.status, row.reason, row.updated_at = row.status, to, reason, scope.now
    if to is not RefreshStatus.PROCESSING:
        row.expires_at = None
    scope.record(_KIND, row.id, before, to, run, reason or f"attempt {row.attempt}")


def _table(document: Mapping[str, Any]) -> CutTable:
    return CutTable.model_validate(document)


def _as_record(row: RefreshRow) -> Refresh:
    return Refresh.model_validate({name: getattr(row, name) for name in Refresh.model_fields})
