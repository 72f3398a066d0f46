"""A refresh run by this process: by `tessera refresh`, or by a task of the DAG."""

import logging
import time

from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt
from jobs.catalog.refreshes import Refresh, RefreshBusy, RefreshStatus, StaleRefresh
from jobs.errors import StoreError, TesseraError
from jobs.ingest.service.running import kept_renewed, new_attempt
from jobs.ingest.staged import remove_staged
from jobs.lake.store import Store
from jobs.profiles import job
from jobs.profiles.models import RefreshResult
from jobs.profiles.service.planning import planned, publish
from jobs.session.client import interrupt
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.session.running import run_job
from jobs.settings import Settings

logger = logging.getLogger(__name__)


def run_refresh(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    record_id: str,
    run: str,
    progress: LogProgress | None = None,
    wait_seconds: float = 0,
) -> Refresh:
    """Run one attempt at a refresh, and publish it. One that is PUBLISHED is returned as it is.

    Args:
        catalog: opened in the sandbox to work in.
        settings: of this installation.
        engine: where the Spark work is done.
        record_id: the refresh.
        run: who asks, noted with the record and in every commit.
        progress: shows how far it is; to the log by default.
        wait_seconds: how long to wait while another refresh of the sandbox runs.

    Raises:
        RefreshBusy: another one still runs.
        TesseraError: of any kind; the refresh is FAILED with the reason. When the engine is away it stays PROCESSING,
            unseen by readers, for the same command to take up again.
        SystemExit: this process was told to end; whoever sent the signal closes the refresh, or runs it again.
    """
    progress = progress or LogProgress()
    attempt = new_attempt(settings, engine, run)
    record = _begin(catalog, settings, record_id, attempt, progress, wait_seconds)
    if record.status is RefreshStatus.PUBLISHED:
        return record
    seconds = settings.ingest.interrupt_timeout_seconds
    try:
        with kept_renewed(
            lambda: catalog.renew_refresh(record_id, attempt),
            lambda: interrupt(settings, engine, attempt.session_id, seconds),
            attempt.lease_seconds,
        ):
            begun = planned(catalog, settings, record, attempt)
            result = RefreshResult(sandbox=catalog.sandbox)
            if begun.plan is not None:
                result = run_job(settings, engine, job.run, begun.plan, attempt.session_id, progress)
        return publish(catalog, begun, result)
    except BaseException as failed:
        _fail(catalog, record_id, attempt, failed)
        raise


def close_refresh(catalog: Catalog, settings: Settings, record_id: str, run: str) -> Refresh:
    """Close a refresh that its run leaves behind; one that another run works at is left to it."""
    record = catalog.refresh(record_id)
    same_run = record.run.split("/")[:2] == run.split("/")[:2]
    if record.status is RefreshStatus.PROCESSING and same_run and record.attempt:
        try:
            _end_work_of(settings, record)
            reason = record.reason or "cancelled, or killed, before it was done"
            catalog.fail_refresh(record_id, record.attempt, reason, final=True, run=run)
        except TesseraError as refused:
            logger.warning("refresh %s is left PROCESSING, unseen by readers: %s", record_id, refused)
    return catalog.refresh(record_id)


def _begin(
    catalog: Catalog,
    settings: Settings,
    refresh_id: str,
    attempt: Attempt,
    progress: LogProgress,
    wait_seconds: float,
) -> Refresh:
    gives_up_at = time.monotonic() + wait_seconds
    takes_over, told = None, False
    while True:
        try:
            return catalog.begin_refresh(refresh_id, attempt, takes_over)
        except RefreshBusy as busy:
            if time.monotonic() > gives_up_at:
                raise
            if not told:
                progress.say(f"waiting: {busy}")
                told = True
            time.sleep(settings.ingest.poll_seconds)
        except StaleRefresh as stale:
            if stale.holder.attempt == takes_over:
                raise
            _end_work_of(settings, stale.holder)
            takes_over = stale.holder.attempt


def _end_work_of(settings: Settings, holder: Refresh) -> None:
    logger.info("ending the Spark work of attempt %s (session %s)", holder.attempt, holder.session_id)
    if holder.session_id and holder.engine:
        seconds = settings.ingest.interrupt_timeout_seconds
        interrupt(settings, Engine.parse(holder.engine), holder.session_id, seconds)
    if holder.attempt:
        remove_staged(Store(settings.store_root, holder.sandbox), holder.attempt)


def _fail(catalog: Catalog, refresh_id: str, attempt: Attempt, failed: BaseException) -> None:
    """Record a failure without hiding it behind another one."""
    is_told_to_end = isinstance(failed, SystemExit)
    reason = "cancelled: its process was told to end" if is_told_to_end else str(failed) or type(failed).__name__
    try:
        catalog.fail_refresh(
            refresh_id,
            attempt.id,
            reason,
            final=not (is_told_to_end or isinstance(failed, StoreError)),
            run=attempt.run,
        )
    except TesseraError as also:
        logger.warning("refresh %s: the failure could not be recorded: %s", refresh_id, also)
