"""Counting what a deletion would do. It writes nothing and holds nothing, so it is no attempt at the job."""

import time
from collections.abc import Callable

from jobs.catalog.database import Catalog, utc_now
from jobs.catalog.system_jobs import Asked, SystemJob, SystemJobStatus
from jobs.session.client import interrupt, new_session_id
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.session.running import run_job
from jobs.settings import Settings
from jobs.system_jobs import job
from jobs.system_jobs.models import Effect, EffectPlan, Plan, SystemJobParams
from jobs.system_jobs.service.accepting import resolved
from jobs.system_jobs.service.planning import as_plan, effect_plan


def effect_of(
    catalog: Catalog, settings: Settings, engine: Engine, params: SystemJobParams, progress: LogProgress | None
) -> Plan:
    """Say what a deletion would do; see `jobs.system_jobs.service.dry_run`."""
    asked = resolved(catalog, settings, params)
    return _counted(catalog, settings, engine, asked, "deletion-dry-run", "dry-run", progress)


def plan_job(
    catalog: Catalog, settings: Settings, engine: Engine, record_id: str, run: str, progress: LogProgress | None
) -> SystemJob:
    """Plan a NEW job; see `jobs.system_jobs.service.plan`."""
    record = catalog.system_job(record_id)
    if record.status is not SystemJobStatus.NEW:
        return record
    found = _counted(catalog, settings, engine, record.asked, record.deletion_id, run, progress)
    return catalog.plan_system_job(record_id, found.model_dump(mode="json"), record.plan_number, run)


def counted(
    catalog: Catalog,
    settings: Settings,
    asked: Asked,
    name: str,
    run: str,
    attempt: str,
    count: Callable[[EffectPlan], Effect],
) -> Plan:
    """Count what a deletion would do.

    Args:
        catalog: opened in the sandbox.
        settings: of this installation.
        asked: what is to be deleted.
        name: of the batch that would stand for it.
        run: run that asks.
        attempt: who counts.
        count: runs `job.plan`.
    """
    began, at = time.monotonic(), utc_now()
    planned = effect_plan(catalog, settings, asked, name, attempt, run, at)
    return as_plan(catalog, asked, planned, count(planned), at, time.monotonic() - began)


def _counted(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    asked: Asked,
    name: str,
    run: str,
    progress: LogProgress | None,
) -> Plan:
    session_id = new_session_id()

    def count(planned: EffectPlan) -> Effect:
        try:
            found: Effect = run_job(settings, engine, job.plan, planned, session_id, progress)
        except BaseException:
            interrupt(settings, engine, session_id, settings.ingest.interrupt_timeout_seconds)
            raise
        return found

    return counted(catalog, settings, asked, name, run, session_id, count)
