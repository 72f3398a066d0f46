"""A preview run by this process: by `tessera preview`, or by a task of the DAG."""

import logging
import time

from jobs.catalog.database import Catalog
from jobs.catalog.previews import Preview, PreviewBusy, PreviewStatus, StalePreview
from jobs.catalog.records import Attempt
from jobs.errors import StoreError, TesseraError
from jobs.ingest.service.running import kept_renewed, new_attempt
from jobs.preview_sample import job
from jobs.preview_sample.models import PreviewResult
from jobs.preview_sample.service.planning import planned
from jobs.session.client import interrupt
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.session.running import run_job
from jobs.settings import Settings

logger = logging.getLogger(__name__)


def run_preview(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    record_id: str,
    run: str,
    progress: LogProgress | None = None,
    wait_seconds: float = 0,
) -> Preview:
    """Run one attempt at a preview, and record its reports. One that is DONE is returned as it is.

    Args:
        catalog: opened in the sandbox to work in.
        settings: of this installation.
        engine: where the Spark work is done.
        record_id: the preview.
        run: who asks, noted with the record and in every commit.
        progress: shows how far it is; to the log by default.
        wait_seconds: how long to wait while another preview of the sandbox runs.

    Raises:
        PreviewBusy: another one still runs.
        TesseraError: of any kind; the preview is FAILED with the reason. When the engine is away it stays RUNNING for
            the same command to take up again. The reports of before stay the newest.
        SystemExit: this process was told to end; whoever sent the signal closes the preview, or runs it again.
    """
    progress = progress or LogProgress()
    attempt = new_attempt(settings, engine, run)
    record = _begin(catalog, settings, record_id, attempt, progress, wait_seconds)
    if record.status is PreviewStatus.DONE:
        return record
    seconds = settings.ingest.interrupt_timeout_seconds
    try:
        with kept_renewed(
            lambda: catalog.renew_preview(record_id, attempt),
            lambda: interrupt(settings, engine, attempt.session_id, seconds),
            attempt.lease_seconds,
        ):
            plan = planned(catalog, settings, record, attempt)
            result: PreviewResult = run_job(settings, engine, job.run, plan, attempt.session_id, progress)
        return catalog.finish_preview(record_id, attempt, result.document())
    except BaseException as failed:
        _fail(catalog, record_id, attempt, failed)
        raise


def close_preview(catalog: Catalog, settings: Settings, record_id: str, run: str) -> Preview:
    """Close a preview that its run leaves behind; one that another run works at is left to it."""
    record = catalog.preview(record_id)
    same_run = record.run.split("/")[:2] == run.split("/")[:2]
    if record.status is PreviewStatus.RUNNING and same_run and record.attempt:
        try:
            _end_work_of(settings, record)
            reason = record.reason or "cancelled, or killed, before it was done"
            catalog.fail_preview(record_id, record.attempt, reason, final=True, run=run)
        except TesseraError as refused:
            logger.warning("preview %s is left RUNNING, unseen by readers: %s", record_id, refused)
    return catalog.preview(record_id)


def _begin(
    catalog: Catalog,
    settings: Settings,
    preview_id: str,
    attempt: Attempt,
    progress: LogProgress,
    wait_seconds: float,
) -> Preview:
    gives_up_at = time.monotonic() + wait_seconds
    takes_over, told = None, False
    while True:
        try:
            return catalog.begin_preview(preview_id, attempt, takes_over)
        except PreviewBusy as busy:
            if time.monotonic() > gives_up_at:
                raise
            if not told:
                progress.say(f"waiting: {busy}")
                told = True
            time.sleep(settings.ingest.poll_seconds)
        except StalePreview as stale:
            if stale.holder.attempt == takes_over:
                raise
            _end_work_of(settings, stale.holder)
            takes_over = stale.holder.attempt


def _end_work_of(settings: Settings, holder: Preview) -> None:
    logger.info("ending the Spark work of attempt %s (session %s)", holder.attempt, holder.session_id)
    if holder.session_id and holder.engine:
        seconds = settings.ingest.interrupt_timeout_seconds
        interrupt(settings, Engine.parse(holder.engine), holder.session_id, seconds)


def _fail(catalog: Catalog, preview_id: str, attempt: Attempt, failed: BaseException) -> None:
    """Record a failure without hiding it behind another one."""
    is_told_to_end = isinstance(failed, SystemExit)
    reason = "cancelled: its process was told to end" if is_told_to_end else str(failed) or type(failed).__name__
    try:
        catalog.fail_preview(
            preview_id,
            attempt.id,
            reason,
            final=not (is_told_to_end or isinstance(failed, StoreError)),
            run=attempt.run,
        )
    except TesseraError as also:
        logger.warning("preview %s: the failure could not be recorded: %s", preview_id, also)
