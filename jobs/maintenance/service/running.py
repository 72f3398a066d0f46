"""A maintenance run by this process: by `tessera maintain`, or by a task of the DAG."""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from jobs.catalog.database import Catalog
from jobs.catalog.maintenances import Maintenance
from jobs.errors import Conflict, TesseraError
from jobs.maintenance.models import Done, MaintenanceParams, MaintenanceResult, Step, StepReport
from jobs.maintenance.service.old_files import drop_old_files
from jobs.maintenance.service.orphans import close_orphans
from jobs.maintenance.service.purging import purge
from jobs.maintenance.service.upkeep import compact, fold, vacuum
from jobs.maintenance.service.verifying import verify
from jobs.maintenance.service.work import Work
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.settings import Settings
from jobs.turns import Records, Turn, close_left, take_turn

logger = logging.getLogger(__name__)

_STEPS: Mapping[Step, tuple[Callable[[Work], Done], str]] = {
    Step.ORPHANS: (close_orphans, "batches and jobs"),
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
    wait_seconds: float = 0,
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
        wait_seconds: how long to wait while another maintenance of the sandbox runs.

    Raises:
        JobBusy, TesseraError, SystemExit: see `take_turn`.
    """
    began = time.monotonic()
    reports: list[StepReport] = []

    def done() -> MaintenanceResult:
        return MaintenanceResult(steps=tuple(reports), seconds=round(time.monotonic() - began, 1))

    def fail(record_id: str, attempt_id: str, reason: str, final: bool, by: str) -> Maintenance:
        return catalog.fail_maintenance(record_id, attempt_id, reason, final, by, done().document())

    def do(turn: Turn[Maintenance]) -> Maintenance:
        asked = MaintenanceParams.model_validate(turn.record.request)
        work = Work(catalog, turn, now or datetime.now(UTC))
        for step in Step:
            if step in asked.steps:
                turn.renew()
                reports.append(_report(step, work))
        result = done()
        if result.failure is not None:
            return fail(turn.record.id, turn.attempt.id, result.failure, True, run)
        return catalog.finish_maintenance(turn.record.id, turn.attempt, result.document())

    records = Records(catalog.begin_maintenance, catalog.renew_maintenance, fail, catalog.maintenance)
    return take_turn(settings, engine, records, maintenance_id, run, do, progress, wait_seconds)


def close_maintenance(catalog: Catalog, settings: Settings, maintenance_id: str, run: str) -> Maintenance:
    """Close a maintenance that its run leaves behind; one that another run works at is left to it."""
    records = Records(
        catalog.begin_maintenance, catalog.renew_maintenance, catalog.fail_maintenance, catalog.maintenance
    )
    return close_left(settings, records, maintenance_id, run)


def _report(step: Step, work: Work) -> StepReport:
    function, unit = _STEPS[step]
    began = time.monotonic()
    try:
        done = function(work)
    except Conflict as overtaken:
        # Lost to another attempt: nothing more is this one's to do.
        work.turn.renew()
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
