"""System jobs as records, and the transaction by which data leaves. Every function runs in the caller's transaction.

`apply` is the moment of a deletion: the dataset's generation, or the mark on the batch, and the job's own batch change
together, so a reader of the catalog sees all of the data or nothing of it. Tables follow; whatever lies there of a
batch that does not count is read by nobody.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select, update

from jobs.catalog import attempts, registry
from jobs.catalog.batches import as_batch
from jobs.catalog.job_records import Ledger
from jobs.catalog.job_schema import SystemJobRow
from jobs.catalog.records import DELETED_BY, Attempt, Batch, BatchStatus, Busy
from jobs.catalog.schema import BatchRow, EventRow
from jobs.catalog.scope import Scope, changed_rows
from jobs.catalog.system_jobs import (
    EDITED_BY,
    ON_BEHALF_OF,
    Asked,
    RequestType,
    SystemJob,
    SystemJobPage,
    SystemJobStatus,
)
from jobs.errors import Conflict


def ledger(needs_approval: bool = False) -> Ledger[SystemJobRow, SystemJob]:
    """Return the ledger of system jobs, one at a time in a dataset.

    Args:
        needs_approval: whether a job begins only when its present plan was approved of.
    """

    def check(scope: Scope, row: SystemJobRow) -> None:
        if row.status == SystemJobStatus.IN_PROGRESS:
            # It met all of this when it began, and what it has deleted has to come to its end.
            return
        if row.not_before is not None and row.not_before > scope.now:
            raise Conflict(f"system job {row.id!r} is not to begin before {row.not_before.isoformat()}")
        if row.plan is None:
            raise Conflict(f"system job {row.id!r} has no plan yet; plan it first, and see what would go")
        if needs_approval and row.approved_plan_number != row.plan_number:
            raise Conflict(
                f"system job {row.id!r} waits for somebody to approve of its plan {row.plan_number} "
                "(system_jobs.approval)"
            )
        # NEW meanwhile, it can be rejected still.
        attempts.refuse_when_held(scope, row.dataset_id, SYSTEM_JOBS.read(row).deletion_id)

    return Ledger(SystemJobRow, SystemJob, on_begin=check, on_take=_refuse_when_deleted, place="dataset_id")


def _refuse_when_deleted(scope: Scope, row: SystemJobRow) -> None:
    """Let a job whose data is deleted never be FAILED: what follows would be done by nobody."""
    if _has_deleted(scope, row):
        raise Busy(
            f"system job {row.id!r} of dataset {row.dataset_id!r} has deleted its data and is not at its end; "
            f"`tessera delete run {row.id}` brings it there, then another one can begin"
        )


def _has_deleted(scope: Scope, row: SystemJobRow) -> bool:
    deletion = scope.find_batch(SYSTEM_JOBS.read(row).deletion_id)
    if deletion is None or deletion.request.get(DELETED_BY) != row.id:
        return False
    return deletion.status == BatchStatus.ACTIVE


SYSTEM_JOBS = ledger()


def create(scope: Scope, asked: Asked, requested_by: str, run: str, on_behalf_of: str) -> SystemJob:
    """Record a system job that is asked for; NotFound when there is no such dataset.

    Args:
        scope: the transaction.
        asked: what is to be deleted.
        requested_by: who asks. Empty: whom the catalog was opened for.
        run: run that asks.
        on_behalf_of: who else asks, and can approve of it as little. Empty: nobody else.
    """
    scope.dataset(asked.dataset_id)
    more = asked.model_dump() | {
        "request_type": asked.request_type,
        "requested_by": requested_by or scope.actor,
        "plan_number": 0,
        "percent": 0,
        "stage": "",
    }
    request = asked.model_dump(mode="json") | {ON_BEHALF_OF: on_behalf_of}
    return SYSTEM_JOBS.create(scope, request, run, **more)


def edit(scope: Scope, job_id: str, asked: Asked, edited_by: str, run: str) -> SystemJob:
    """Let a job that has not begun ask for something else; its plan and its approval lapse.

    Raises:
        NotFound: no such job, or no such dataset.
        Conflict: it has begun, or is over; or it began before, and is to be of another dataset now.
    """
    scope.dataset(asked.dataset_id)
    row = _new(scope, job_id, "edited")
    before = SYSTEM_JOBS.read(row)
    changed = [name for name in Asked.model_fields if getattr(before, name) != getattr(asked, name)]
    if not changed:
        return before
    if "dataset_id" in changed and row.attempt is not None:
        # Its batch is one of that dataset.
        raise Conflict(
            f"system job {job_id!r} has begun once, and stays one of dataset {row.dataset_id!r}; reject it, and ask "
            f"for a deletion from {asked.dataset_id!r} anew"
        )
    for name, value in asked.model_dump().items():
        setattr(row, name, value)
    editors = dict.fromkeys((*before.edited_by, edited_by or scope.actor))
    people = {ON_BEHALF_OF: before.on_behalf_of, EDITED_BY: list(editors)}
    row.request_type, row.request = asked.request_type, asked.model_dump(mode="json") | people
    row.plan, row.reason = None, None
    _number(scope, row, run, f"edited: other {', '.join(changed)}; its plan and approval lapse")
    return SYSTEM_JOBS.read(row)


def plan(scope: Scope, job_id: str, found: dict[str, Any], planned_after: int, run: str) -> SystemJob:
    """Keep what would go of a job that has not begun; an approval of a former plan lapses.

    Args:
        scope: the transaction.
        job_id: the job.
        found: the plan.
        planned_after: number that the job's plan had when this one was begun.
        run: who planned it.

    Raises:
        NotFound: no such job.
        Conflict: it has begun, is over, or was edited or planned meanwhile.
    """
    row = _new(scope, job_id, "planned")
    if row.plan_number != planned_after:
        raise Conflict(f"system job {job_id!r} was edited or planned meanwhile; look at it, and plan it again")
    row.plan = found
    _number(scope, row, run, "planned")
    return SYSTEM_JOBS.read(row)


def approve(scope: Scope, job_id: str, plan_number: int, by: str, run: str) -> SystemJob:
    """Note who approved of a plan; the same person once more changes nothing.

    Raises:
        NotFound: no such job.
        Conflict: it has begun or is over, or that is not its present plan.
    """
    row = _new(scope, job_id, "approved of")
    if row.plan is None or row.plan_number != plan_number:
        there = "it has none" if row.plan is None else f"its present one is {row.plan_number}"
        raise Conflict(f"system job {job_id!r}: plan {plan_number} holds no more, {there}; look at it and decide anew")
    if row.approved_plan_number != plan_number or row.approved_by != by:
        row.approved_by, row.approved_at, row.approved_plan_number = by, scope.now, plan_number
        row.updated_at = scope.now
        scope.record(SystemJob.noun, row.id, row.status, row.status, run, f"plan {plan_number} approved of by {by}")
    return SYSTEM_JOBS.read(row)


def note(scope: Scope, job_id: str, attempt: Attempt, stage: str, percent: int) -> SystemJob:
    """Note how far an attempt is; Conflict when it does not run the job any more."""
    row = SYSTEM_JOBS.held(scope, job_id, attempt.id)
    row.stage, row.percent, row.updated_at = stage, percent, scope.now
    scope.record(SystemJob.noun, row.id, row.status, row.status, attempt.run, f"{stage}, {percent} %")
    return SYSTEM_JOBS.read(row)


def ask_again(scope: Scope, job_id: str, attempt: Attempt, found: dict[str, Any], reason: str) -> SystemJob:
    """Make a job that has begun NEW again with another plan; its approval lapses.

    Raises:
        Conflict: the attempt does not run the job any more.
    """
    row = SYSTEM_JOBS.held(scope, job_id, attempt.id)
    row.plan, row.plan_number, row.percent, row.stage = found, row.plan_number + 1, 0, ""
    row.approved_by = row.approved_at = row.approved_plan_number = None
    SYSTEM_JOBS.move(scope, row, SystemJobStatus.NEW, attempt.run, reason)
    scope.session.flush()
    return SYSTEM_JOBS.read(row)


def finish(scope: Scope, job_id: str, attempt: Attempt, result: dict[str, Any]) -> SystemJob:
    """Make a job SUCCESS; see `Ledger.finish`."""

    def complete(row: SystemJobRow) -> None:
        row.percent, row.stage = 100, ""

    return SYSTEM_JOBS.finish(scope, job_id, attempt, result, also=complete)


def remove(scope: Scope, job_id: str, run: str) -> None:
    """Remove the record of a job; what it deleted stays deleted.

    Raises:
        NotFound: no such job.
        Conflict: it is at work, or was left after it had deleted: run it again, so that it comes to its end.
    """
    row = SYSTEM_JOBS.locked(scope, job_id)
    if row.status == SystemJobStatus.IN_PROGRESS:
        is_live = row.expires_at is not None and row.expires_at > scope.now
        if is_live or _has_deleted(scope, row):
            how = "at work" if is_live else "not at its end, though its data is deleted: run it again"
            raise Conflict(f"system job {job_id!r} is {how}; one that is at work cannot be removed")
    scope.record(SystemJob.noun, row.id, row.status, "REMOVED", run, "the request; data is as it was")
    scope.session.delete(row)


def page(scope: Scope, start: int, limit: int) -> SystemJobPage:
    """List jobs, those asked for first first: page `start`, from 0, of pages of `limit`."""
    wanted = select(SystemJobRow).where(SystemJobRow.sandbox == scope.sandbox)
    total = scope.session.scalar(select(func.count()).select_from(wanted.subquery())) or 0
    ordered = wanted.order_by(SystemJobRow.created_at, SystemJobRow.id).offset(start * limit).limit(limit)
    jobs = tuple(SYSTEM_JOBS.read(row) for row in scope.session.scalars(ordered))
    return SystemJobPage(jobs=jobs, start=start, limit=limit, total=total)


def of_run(scope: Scope, run: str) -> SystemJob | None:
    """Return the job that a run, <dag>/<run>, asked for; None when there is none.

    By the event of its creation: the run on its record is that of the last attempt, which may be anybody's.
    """
    prefix = f"{run}/"
    made = (
        (EventRow.sandbox == SystemJobRow.sandbox)
        & (EventRow.kind == SystemJob.noun)
        & (EventRow.record_id == SystemJobRow.id)
        & EventRow.from_status.is_(None)
    )
    wanted = select(SystemJobRow).join(EventRow, made)
    wanted = wanted.where(SystemJobRow.sandbox == scope.sandbox, func.substr(EventRow.run, 1, len(prefix)) == prefix)
    row = scope.session.scalar(wanted.order_by(EventRow.id.desc()).limit(1))
    return None if row is None else SYSTEM_JOBS.read(row)


def left(scope: Scope) -> list[SystemJob]:
    """List the jobs that are IN-PROGRESS and that nobody works at any more."""
    wanted = select(SystemJobRow).where(
        SystemJobRow.sandbox == scope.sandbox,
        SystemJobRow.status == SystemJobStatus.IN_PROGRESS,
        SystemJobRow.expires_at <= scope.now,
    )
    return [SYSTEM_JOBS.read(row) for row in scope.session.scalars(wanted.order_by(SystemJobRow.created_at))]


def unfinished(scope: Scope) -> SystemJob | None:
    """Return a job whose data is deleted and that is not at its end: the newest cut may have the data still."""
    at_work = select(SystemJobRow).where(
        SystemJobRow.sandbox == scope.sandbox, SystemJobRow.status == SystemJobStatus.IN_PROGRESS
    )
    rows = scope.session.scalars(at_work.order_by(SystemJobRow.created_at))
    return next((SYSTEM_JOBS.read(row) for row in rows if _has_deleted(scope, row)), None)


def apply(
    scope: Scope, job_id: str, worker: Attempt, attempt: Attempt, result: dict[str, Any], sources: Collection[str] = ()
) -> Batch:
    """Delete, as far as readers of the catalog go, and make the job's batch ACTIVE; repeating it changes nothing.

    A dataset goes to its next generation; a batch is marked as removed, and what the job's batch wrote counts from now
    on in its place. With `lake` the rows that landed are marked as gone, and so are their links.

    Args:
        scope: the transaction.
        job_id: the system job.
        worker: who runs it.
        attempt: who holds the dataset for the job's batch.
        result: what was deleted.
        sources: batches whose landed rows were those of the batch that is deleted; with `lake` they go, too.

    Raises:
        Conflict: the worker does not run the job any more, the attempt does not hold the dataset, or the batch was
            removed by another job.
    """
    job = SYSTEM_JOBS.found(scope, job_id)
    dataset = scope.dataset(job.dataset_id, lock=True)
    row = scope.batch(job.deletion_id)
    if row.status == BatchStatus.ACTIVE and row.attempt == attempt.id:
        return as_batch(row)
    SYSTEM_JOBS.held(scope, job_id, worker.id)
    attempts.held(scope, attempt, row.id)
    if job.lake:
        _mark_landed(scope, job, sources)
    # Of a dataset that is emptied nothing is written, so that nothing is in the graph.
    row.in_profile = job.request_type is RequestType.DELETE_EE_BATCH
    scope.session.flush()
    if job.request_type is RequestType.TRUNCATE_DATASET:
        done = attempts.finish(scope, row.id, attempt, result)
        registry.switch_generation(scope, dataset.id, dataset.generation, dataset.generation + 1, attempt.run)
        return done
    _mark_removed(scope, job, attempt.run)
    return attempts.finish(scope, row.id, attempt, result)


def _mark_removed(scope: Scope, job: SystemJob, run: str) -> None:
    batch_id = str(job.batch_id)
    marked = scope.session.execute(
        update(BatchRow)
        .where(BatchRow.sandbox == scope.sandbox, BatchRow.id == batch_id, BatchRow.removed_by.is_(None))
        .values(removed_by=job.id, updated_at=scope.now)
        .execution_options(synchronize_session=False)
    )
    if changed_rows(marked) != 1:
        other = scope.batch(batch_id).removed_by
        raise Conflict(f"batch {batch_id!r} was removed from the Profile store by system job {other!r} already")
    note = f"removed from the Profile store by system job {job.id}"
    scope.record("batch", batch_id, BatchStatus.ACTIVE, BatchStatus.ACTIVE, run, note)


def _mark_landed(scope: Scope, job: SystemJob, sources: Collection[str]) -> None:
    marked = update(BatchRow).where(
        BatchRow.sandbox == scope.sandbox,
        BatchRow.dataset_id == job.dataset_id,
        BatchRow.status == BatchStatus.ACTIVE,
        BatchRow.lake_removed_by.is_(None),
    )
    if job.batch_id is not None:
        marked = marked.where(BatchRow.id.in_({job.batch_id, *sources}))
    values = {"lake_removed_by": job.id, "updated_at": scope.now}
    scope.session.execute(marked.values(**values).execution_options(synchronize_session=False))


def _new(scope: Scope, job_id: str, what: str) -> SystemJobRow:
    row = SYSTEM_JOBS.locked(scope, job_id)
    if row.status != SystemJobStatus.NEW:
        raise Conflict(f"system job {job_id!r} is {row.status}; only one that is NEW can be {what}")
    return row


def _number(scope: Scope, row: SystemJobRow, run: str, what: str) -> None:
    """Give a job's plan its next number, which no approval is of."""
    row.plan_number += 1
    row.approved_by = row.approved_at = row.approved_plan_number = None
    row.updated_at = scope.now
    scope.record(SystemJob.noun, row.id, row.status, row.status, run, f"{what} (plan {row.plan_number})")
    scope.session.flush()
