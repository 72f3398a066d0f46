"""A maintenance run by this process: by `tessera maintain`, or by a task of the DAG."""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from jobs.catalog.database import Catalog
from jobs.catalog.maintenance_records import (
    Maintenance,
    MaintenanceBusy,
    MaintenanceStatus,
    StaleMaintenance,
)
from jobs.catalog.records import Attempt
from jobs.errors import Conflict, TesseraError
from jobs.ingest.service.running import kept_renewed, new_attempt
from jobs.maintenance.models import Done, MaintenanceParams, MaintenanceResult, Step, StepReport
from jobs.maintenance.service.old_files import drop_old_files
from jobs.maintenance.service.orphans import close_orphans
from jobs.maintenance.service.purging import purge
from jobs.maintenance.service.upkeep import compact, fold, vacuum
from jobs.maintenance.service.verifying import verify
from jobs.maintenance.service.work import Work
from jobs.session.client import interrupt
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.settings import Settings

logger = logging.getLogger(__name__)

_STEPS: Mapping[Step, tuple[Callable[[Work], Done], str]] = {
    Step.ORPHANS: (close_orphans, "batches"),
    Step.FOLD: (fold, "runs"),
    Step.COMPACT: (compact, "batches"),
    Step.VERIFY: (verify, "differences"),
    Step.PURGE: (purge, "leftovers"),
    Step.VACUUM: (vacuum, "files"),
    Step.LOGS: (drop_old_files, "files"),
}


def maintain(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    maintenance_id: str,
    run: str,
    progress: LogProgress | None = None,
    now: datetime | None = None,
) -> Maintenance:
    """Run a recorded maintenance, and record how it ended. One that is DONE is returned as it is.

    A step that fails keeps the others from nothing; the record is FAILED then, naming the step.

    Args:
        catalog: opened in the sandbox to work in.
        settings: of this installation.
        engine: where the Spark work is done; without it the steps that need none are done all the same.
        maintenance_id: the record.
        run: who asks, noted with the record and in every commit.
        progress: shows how far it is; to the log by default.
        now: what ages are measured against; default: this machine's clock.

    Raises:
        MaintenanceBusy: another maintenance of the sandbox is running.
        Conflict: another attempt took over.
        SystemExit: this process was told to end; the record is FAILED.
    """
    attempt = new_attempt(settings, engine, run)
    record = _take(catalog, settings, maintenance_id, attempt)
    if record.status is MaintenanceStatus.DONE:
        return record
    asked = MaintenanceParams.model_validate(record.request)
    work = Work(catalog, settings, engine, maintenance_id, attempt, now or datetime.now(UTC), progress or LogProgress())
    began = time.monotonic()
    reports: list[StepReport] = []
    try:
        with kept_renewed(work.renew, work.end_spark, attempt.lease_seconds):
            for step in Step:
                if step in asked.steps:
                    work.renew()
                    reports.append(_report(step, work))
    except BaseException as ended:
        reason = "cancelled: its process was told to end" if isinstance(ended, SystemExit) else str(ended)
        _fail(work, _result(reports, began), reason or type(ended).__name__)
        raise
    result = _result(reports, began)
    return catalog.end_maintenance(maintenance_id, work.attempt, result.document(), result.failure)


def close_maintenance(catalog: Catalog, settings: Settings, maintenance_id: str, run: str) -> Maintenance:
    """Close a maintenance that its run leaves behind; one that another run works at is left to it."""
    record = catalog.maintenance(maintenance_id)
    same_run = record.run.split("/")[:2] == run.split("/")[:2]
    if record.status is not MaintenanceStatus.RUNNING or not same_run:
        return record
    closing = new_attempt(settings, Engine.parse(record.engine), run)
    try:
        _take(catalog, settings, maintenance_id, closing)
        return catalog.end_maintenance(maintenance_id, closing, record.result, "cancelled, or killed, before the end")
    except TesseraError as refused:
        logger.warning("maintenance %s is left RUNNING; the next one takes over: %s", maintenance_id, refused)
        return catalog.maintenance(maintenance_id)


def _take(catalog: Catalog, settings: Settings, maintenance_id: str, attempt: Attempt) -> Maintenance:
    takes_over, expected = None, None
    while True:
        try:
            return catalog.begin_maintenance(maintenance_id, attempt, takes_over)
        except MaintenanceBusy as busy:
            # One that was killed does not renew its lease; a live one is found out when it does.
            expires = busy.holder.expires_at
            is_long = expires is None or expires - datetime.now(UTC) > timedelta(seconds=attempt.lease_seconds)
            if is_long or expected not in (None, expires):
                raise
            expected = expires
            time.sleep(settings.ingest.poll_seconds)
        except StaleMaintenance as stale:
            holder = stale.holder
            if holder.attempt == takes_over:
                raise
            logger.info("ending what maintenance %s left at work", holder.id)
            seconds = settings.ingest.interrupt_timeout_seconds
            if holder.session_id and holder.engine:
                interrupt(settings, Engine.parse(holder.engine), holder.session_id, seconds)
            takes_over = holder.attempt


def _report(step: Step, work: Work) -> StepReport:
    function, unit = _STEPS[step]
    began = time.monotonic()
    try:
        done = function(work)
    except Conflict as overtaken:
        # Lost to another attempt: nothing more is this one's to do.
        work.renew()
        done = Done(errors=(str(overtaken),))
    except Exception as failed:
        # Whatever one step meets, the others are done.
        logger.warning("%s failed", step, exc_info=not isinstance(failed, TesseraError))
        done = Done(errors=(str(failed) or type(failed).__name__,))
    report = StepReport(**done.model_dump(), step=step, unit=unit, seconds=round(time.monotonic() - began, 1))
    logger.info("%s, in %.1f s", report.line, report.seconds)
    for told in (*report.errors, *report.notes):
        logger.info("  %s", told)
    return report


def _result(reports: list[StepReport], began: float) -> MaintenanceResult:
    return MaintenanceResult(steps=tuple(reports), seconds=round(time.monotonic() - began, 1))


def _fail(work: Work, result: MaintenanceResult, reason: str) -> None:
    """Record a failure without hiding it behind another one."""
    try:
        work.catalog.end_maintenance(work.maintenance_id, work.attempt, result.document(), reason)
    except TesseraError as also:
        logger.warning("maintenance %s: the failure could not be recorded: %s", work.maintenance_id, also)
