"""A batch run by this process: by `tessera ingest`, or by a task of the DAG."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt, Batch, BatchStatus, DatasetBusy
from jobs.errors import EngineAway, StoreError, TesseraError
from jobs.ingest import job
from jobs.ingest.models import IngestParams, IngestPlan, IngestResult
from jobs.ingest.service.batches import IngestService
from jobs.lake.staged import remove_staged
from jobs.lake.store import Store
from jobs.session.client import interrupt
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.session.running import run_job
from jobs.settings import Settings
from jobs.turns import kept_renewed, new_attempt

logger = logging.getLogger(__name__)


def ingest(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    params: IngestParams,
    run: str = "cli",
    progress: LogProgress | None = None,
) -> Batch:
    """Accept a batch and run it; the arguments, the result and the errors are those of `accept` and `run_batch`."""
    batch = IngestService(catalog, settings).accept(params, run)
    return run_batch(catalog, settings, engine, batch.id, run, progress, settings.ingest.wait_seconds)


def run_batch(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    batch_id: str,
    run: str,
    progress: LogProgress | None = None,
    wait_seconds: float = 0,
) -> Batch:
    """Run an accepted batch, and record how it ended.

    A batch that is ACTIVE already is returned with its stored result; nothing is written.

    Args:
        catalog: opened in the sandbox to work in.
        settings: of this installation.
        engine: where the Spark work is done.
        batch_id: the batch.
        run: who asks, noted with the batch.
        progress: shows how far it is; to the log by default.
        wait_seconds: how long to wait while another batch of the dataset runs.

    Raises:
        DatasetBusy: another batch of the dataset still runs.
        TesseraError: of any kind; the batch is FAILED with the reason, its rows are removed, its quarantine stays.
            When the engine is away the rows cannot be removed: then the batch stays PROCESSING, unseen by readers, for
            the same command to take up again.
        SystemExit: this process was told to end. It may be killed before the rows are removed, so the batch stays
            PROCESSING too; whoever sent the signal closes the batch, or runs it again.
    """
    service = IngestService(catalog, settings)
    progress = progress or LogProgress()
    attempt = new_attempt(settings, engine, run)
    plan = when_free(lambda: service.begin(batch_id, attempt), settings, progress.say, wait_seconds)
    if plan is None:
        return catalog.batch(batch_id)
    try:
        with renewed(catalog, settings, engine, attempt):
            result: IngestResult = run_job(settings, engine, job.run, plan, attempt.session_id, progress)
    except BaseException as failed:
        note_failure(catalog, settings, engine, plan, attempt, failed)
        raise
    return service.finish(plan, attempt, result)


def close_batch(catalog: Catalog, settings: Settings, batch_id: str, run: str) -> str:
    """Close a batch that its run leaves behind, and say in one line what became of it.

    A batch that is still PROCESSING by an attempt of the same run was killed there: its Spark work is ended, its rows
    are removed, and it is FAILED. One that another run works at is left to it.

    Args:
        catalog: opened in the batch's sandbox.
        settings: of this installation.
        batch_id: the batch.
        run: <dag>/<run>/<task>/<try> of the closing task.
    """
    batch = catalog.batch(batch_id)
    same_run = batch.run.split("/")[:2] == run.split("/")[:2]
    if batch.status is BatchStatus.PROCESSING and same_run:
        try:
            give_up(catalog, settings, batch, run, "cancelled, or killed, before it was done")
        except TesseraError as refused:
            logger.warning("batch %s is left PROCESSING, unseen by readers: %s", batch_id, refused)
        batch = catalog.batch(batch_id)
    return summary(batch)


def give_up(catalog: Catalog, settings: Settings, batch: Batch, run: str, reason: str) -> None:
    """Make a PROCESSING batch FAILED: end its Spark work, remove its rows.

    Args:
        catalog: opened in the batch's sandbox.
        settings: of this installation.
        batch: its record, as it was when it was looked at.
        run: who gives it up.
        reason: why, unless the record says so already.

    Raises:
        TesseraError: it could not be done, or somebody works at the dataset again; the batch is as it was.
    """
    engine = Engine.parse(batch.engine or settings.engine.spark)
    removal = new_attempt(settings, engine, run)
    plan = IngestService(catalog, settings).begin_giving_up(batch, removal)
    if plan is not None:
        with renewed(catalog, settings, engine, removal):
            _remove(catalog, settings, engine, plan, removal, batch.reason or reason)


def remove_left(catalog: Catalog, settings: Settings, engine: Engine, batch_id: str, run: str) -> None:
    """Remove what is left of a FAILED batch, holding its dataset meanwhile; its quarantine stays.

    Raises:
        DatasetBusy: an attempt at a batch holds the dataset.
        TesseraError: of another kind; the dataset is free once the lease has expired, at once when the engine is away.
    """
    removal = new_attempt(settings, engine, run)
    plan = IngestService(catalog, settings).begin_removal(batch_id, removal)
    try:
        with renewed(catalog, settings, engine, removal):
            run_job(settings, engine, job.drop, plan, removal.session_id)
    except EngineAway:
        catalog.end_removal(removal)
        raise
    catalog.end_removal(removal)


def summary(batch: Batch) -> str:
    """Say in one line what became of a batch."""
    if removed_by := batch.removed_by or batch.lake_removed_by:
        return f"batch {batch.id} was deleted by system job {removed_by}"
    if batch.status is BatchStatus.ACTIVE and batch.result is not None and batch.deleted_by is None:
        result = IngestResult.model_validate(batch.result)
        versions = ", ".join(f"{name} version {written.version}" for name, written in result.tables.items())
        return f"batch {batch.id}: {result.equation} in {result.seconds:.0f} s; {versions}"
    return f"batch {batch.id} is {batch.status}" + (f": {batch.reason}" if batch.reason else "")


def renewed(catalog: Catalog, settings: Settings, engine: Engine, attempt: Attempt) -> AbstractContextManager[None]:
    """Keep an attempt's lease while the block runs. When the lease is lost the attempt's Spark work is ended.

    Raises:
        Conflict: the lease was lost to another attempt.
    """

    def end_work() -> None:
        interrupt(settings, engine, attempt.session_id, settings.ingest.interrupt_timeout_seconds)

    return kept_renewed(lambda: catalog.renew(attempt), end_work, attempt.lease_seconds)


def when_free(
    begin: Callable[[], IngestPlan | None], settings: Settings, say: Callable[[str], None], wait_seconds: float
) -> IngestPlan | None:
    """Begin an attempt as soon as no other batch of the dataset is at work.

    Args:
        begin: takes the dataset; raises DatasetBusy while another batch has it.
        settings: of this installation.
        say: told whom it waits for.
        wait_seconds: how long to wait.

    Raises:
        DatasetBusy: another batch still runs.
    """
    told = ""
    gives_up_at = time.monotonic() + wait_seconds
    while True:
        try:
            return begin()
        except DatasetBusy as busy:
            if time.monotonic() > gives_up_at:
                raise
            holder = busy.lease
            if holder.attempt.id != told:
                by = holder.attempt.run or "an unnamed run"
                say(f"waiting for batch {holder.batch_id} of {holder.dataset_id}, which {by} works at")
                told = holder.attempt.id
            time.sleep(settings.ingest.poll_seconds)


def note_failure(
    catalog: Catalog, settings: Settings, engine: Engine, plan: IngestPlan, attempt: Attempt, failed: BaseException
) -> None:
    """Record a failed attempt at a batch without hiding the failure behind another one.

    Its rows are removed, and it is FAILED; when that cannot be done, or this process was told to end, it stays
    PROCESSING.
    """
    reason = str(failed) or type(failed).__name__
    # Again, now that its session is closed: an interrupted write goes on for a moment beside the removal.
    remove_staged(Store(plan.store_root, plan.sandbox), attempt.id)
    try:
        if isinstance(failed, SystemExit):
            catalog.fail(plan.batch_id, attempt, "cancelled: its process was told to end", final=False)
        elif isinstance(failed, StoreError):
            catalog.fail(plan.batch_id, _as_left(attempt, failed), reason, final=False)
        else:
            # Conflict: this worker was taken for dead, and what lies there now is another attempt's.
            catalog.renew(attempt)
            removal = new_attempt(settings, engine, attempt.run)
            if not catalog.begin_attempt(plan.batch_id, removal, takes_over=attempt.id).already_active:
                _remove(catalog, settings, engine, plan, removal, reason)
    except TesseraError as also:
        logger.warning("batch %s: the failure could not be recorded: %s", plan.batch_id, also)


def _remove(
    catalog: Catalog, settings: Settings, engine: Engine, plan: IngestPlan, removal: Attempt, reason: str
) -> None:
    """Remove the rows of a batch, and make it FAILED.

    By an attempt of its own, which whoever runs the batch next finds and ends: the removal of a killed process could
    otherwise come after, and take, the rows of that next attempt.
    """
    try:
        run_job(settings, engine, job.drop, plan, removal.session_id)
    except TesseraError as failed:
        catalog.fail(plan.batch_id, _as_left(removal, failed), reason, final=False)
        raise
    catalog.fail(plan.batch_id, removal, reason, final=True)


def _as_left(attempt: Attempt, failed: TesseraError) -> Attempt:
    return attempt.unbegun() if isinstance(failed, EngineAway) else attempt
