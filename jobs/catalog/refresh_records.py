"""Refreshes, cuts and the batches in them as records. Every function runs in the caller's transaction.

Publishing a refresh is one transaction: its cut, the batches that it took, and its own end appear together, so a reader
sees all of a refresh or nothing. `number` only grows; a refresh that failed for good gets a new one when it is run
again, so that what it wrote under the old one is never taken for published.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select

from jobs.catalog.job_records import Ledger
from jobs.catalog.job_schema import CutRow, RefreshRow, TakenBatchRow
from jobs.catalog.records import Attempt, BatchStatus
from jobs.catalog.refreshes import Cut, CutTable, GraphBatch, Refresh, RefreshStatus, TakenBatch
from jobs.catalog.schema import BatchRow
from jobs.catalog.scope import Scope


def _number(scope: Scope, row: RefreshRow) -> None:
    if row.status != RefreshStatus.PROCESSING:
        highest = select(func.max(RefreshRow.number)).where(RefreshRow.sandbox == scope.sandbox)
        row.number = (scope.session.scalar(highest) or 0) + 1
    row.attempts += 1


REFRESHES = Ledger(RefreshRow, Refresh, on_begin=_number)


def create(scope: Scope, request: dict[str, Any], run: str, shared: bool) -> Refresh:
    """Record a refresh that is asked for.

    Args:
        scope: the transaction.
        request: what is asked.
        run: who asks.
        shared: one that the same DAG asked for, in the same words, and that has not begun is the answer; otherwise
            one that the same run of it asked for.
    """
    return REFRESHES.waiting(scope, request, run, shared) or REFRESHES.create(scope, request, run, attempts=0)


def is_refreshing(scope: Scope) -> bool:
    """Tell whether a refresh is PROCESSING."""
    at_work = select(RefreshRow.id).where(
        RefreshRow.sandbox == scope.sandbox, RefreshRow.status == RefreshStatus.PROCESSING
    )
    return scope.session.scalar(at_work.limit(1)) is not None


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

    def add_cut(row: RefreshRow) -> None:
        if not tables:
            return
        number, documents = row.number or 0, [table.model_dump(mode="json") for table in tables]
        scope.session.add(
            CutRow(sandbox=scope.sandbox, number=number, refresh_id=row.id, at=scope.now, tables=documents)
        )
        _take(scope, number, batches)

    return REFRESHES.finish(scope, refresh_id, attempt, result, also=add_cut)


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
    """List the ACTIVE batches of a dataset that went to the Profile store, also those that were removed from it.

    One whose links were removed, too, is not in the graph any more.
    """
    dataset = scope.dataset(dataset_id)
    wanted = select(BatchRow).where(
        BatchRow.sandbox == scope.sandbox,
        BatchRow.dataset_id == dataset_id,
        BatchRow.status == BatchStatus.ACTIVE,
        BatchRow.in_profile,
        BatchRow.lake_removed_by.is_(None),
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
    present_ids = {batch.batch_id for present in batches.values() for batch in present}
    for batch_id, row in known.items():
        if row.dataset_id in batches and batch_id not in present_ids:
            scope.session.delete(row)


def _table(document: Mapping[str, Any]) -> CutTable:
    return CutTable.model_validate(document)
