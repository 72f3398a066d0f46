"""Which export jobs there are, and which one's rows a dataset has. Every function runs in the caller's transaction."""

from typing import Any

from sqlalchemy import and_, func, or_, select

from jobs.catalog.exports import ExportJob, ExportPage, ExportStatus
from jobs.catalog.job_records import Ledger
from jobs.catalog.job_schema import CutRow, ExportJobRow
from jobs.catalog.records import DELETION_PREFIX, BatchStatus
from jobs.catalog.refreshes import Refresh, RefreshStatus
from jobs.catalog.schema import EventRow
from jobs.catalog.scope import Scope
from jobs.catalog.system_jobs import SystemJob, SystemJobStatus


def _pin_cut(scope: Scope, row: ExportJobRow) -> None:
    """Let every attempt in a row read one cut; a job that failed for good and is run again reads the newest.

    So does one that is run again after something was deleted from the Profile store: the cut of before has it still.
    """
    if row.status != ExportStatus.PROCESSING or _deleted_since(scope, row.cut):
        row.cut = scope.session.scalar(select(func.max(CutRow.number)).where(CutRow.sandbox == scope.sandbox))
    row.began_at = scope.now


def _deleted_since(scope: Scope, cut: int | None) -> bool:
    """Tell whether a deletion came after a cut, by the order of events: a clock may be set back."""
    published = (
        select(func.max(EventRow.id))
        .join(CutRow, (CutRow.sandbox == EventRow.sandbox) & (CutRow.refresh_id == EventRow.record_id))
        .where(
            CutRow.sandbox == scope.sandbox,
            CutRow.number == cut,
            EventRow.kind == Refresh.noun,
            EventRow.to_status == RefreshStatus.PUBLISHED,
        )
    )
    applied = and_(
        EventRow.kind == "batch",
        EventRow.to_status == BatchStatus.ACTIVE,
        func.substr(EventRow.record_id, 1, len(DELETION_PREFIX)) == DELETION_PREFIX,
    )
    # A cut that was begun before the deletion and published after it has the data, too; the deletion's own has not.
    ended = and_(EventRow.kind == SystemJob.noun, EventRow.to_status == SystemJobStatus.SUCCESS)
    deleted = select(func.max(EventRow.id)).where(EventRow.sandbox == scope.sandbox, or_(applied, ended))
    return (scope.session.scalar(deleted) or 0) > (scope.session.scalar(published) or 0)


EXPORTS = Ledger(ExportJobRow, ExportJob, on_begin=_pin_cut, place="dataset_id")


def create(scope: Scope, dataset_id: str, request: dict[str, Any], run: str) -> ExportJob:
    """Record an export job that is asked for; NotFound when there is no such dataset."""
    # Locked, so that on PostgreSQL two jobs to one dataset never take one number; others repeat.
    scope.dataset(dataset_id, lock=True)
    highest = select(func.max(ExportJobRow.number)).where(ExportJobRow.sandbox == scope.sandbox)
    number = (scope.session.scalar(highest) or 0) + 1
    return EXPORTS.create(scope, request, run, record_id=str(number), number=number, dataset_id=dataset_id)


def page(scope: Scope, limit: int, before: int | None, status: ExportStatus | None) -> ExportPage:
    """List jobs, the newest first: those with a number below `before`, of one status if one is given."""
    wanted = select(ExportJobRow).where(ExportJobRow.sandbox == scope.sandbox)
    if before is not None:
        wanted = wanted.where(ExportJobRow.number < before)
    if status is not None:
        wanted = wanted.where(ExportJobRow.status == status)
    rows = scope.session.scalars(wanted.order_by(ExportJobRow.number.desc()).limit(limit + 1)).all()
    jobs = tuple(EXPORTS.read(row) for row in rows[:limit])
    return ExportPage(jobs=jobs, following=jobs[-1] if len(rows) > limit and jobs else None)


def newest(scope: Scope, dataset_id: str) -> ExportJob | None:
    """Return the job whose rows a dataset has: the one that SUCCEEDED last; None when none did."""
    ended = and_(
        EventRow.sandbox == ExportJobRow.sandbox,
        EventRow.kind == ExportJob.noun,
        EventRow.record_id == ExportJobRow.id,
        EventRow.to_status == ExportStatus.SUCCEEDED,
    )
    succeeded = (
        select(ExportJobRow)
        .join(EventRow, ended)
        .where(
            ExportJobRow.sandbox == scope.sandbox,
            ExportJobRow.dataset_id == dataset_id,
            ExportJobRow.status == ExportStatus.SUCCEEDED,
        )
    )
    # By the order of events: a job may end after one with a higher number, and a clock may be set back.
    row = scope.session.scalar(succeeded.order_by(EventRow.id.desc()).limit(1))
    return None if row is None else EXPORTS.read(row)


def at_work(scope: Scope) -> list[ExportJob]:
    """List the jobs that are PROCESSING."""
    wanted = select(ExportJobRow).where(
        ExportJobRow.sandbox == scope.sandbox, ExportJobRow.status == ExportStatus.PROCESSING
    )
    return [EXPORTS.read(row) for row in scope.session.scalars(wanted.order_by(ExportJobRow.number))]
