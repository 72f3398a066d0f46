"""What may happen to a system job: asked for, edited, planned, approved of or rejected, carried out, closed, removed.

Nothing is held while a job waits. Whoever carries it out holds the dataset, counts again what would go, and asks again
when that is not what was approved of. The data counts no more from one transaction of the catalog on; tables, views and
reports follow, and the job is SUCCESS when a cut without the data is published. `planning`, `accepting` and `approving`
load no Spark.
"""

from typing import TYPE_CHECKING

from jobs.catalog.database import Catalog
from jobs.catalog.system_jobs import SystemJob, SystemJobStatus
from jobs.errors import NotFound
from jobs.session.engines import Engine
from jobs.settings import Settings
from jobs.system_jobs.models import Plan, SystemJobParams, SystemJobResult
from jobs.system_jobs.service.accepting import accept as accept, edit as edit, remove as remove
from jobs.system_jobs.service.approving import approve as approve, reject as reject

if TYPE_CHECKING:
    from jobs.session.progress import LogProgress


def dry_run(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    params: SystemJobParams,
    progress: "LogProgress | None" = None,
) -> Plan:
    """Say what a deletion would do; no record is made. Errors as of `accept` and `plan`."""
    from jobs.system_jobs.service.effects import effect_of

    return effect_of(catalog, settings, engine, params, progress)


def plan(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    record_id: str,
    run: str,
    progress: "LogProgress | None" = None,
) -> SystemJob:
    """Count what a NEW job would delete, and keep it as its plan; an approval of a former one lapses.

    One that is not NEW is returned as it is.

    Raises:
        NotFound: no such job.
        Conflict: the batch was deleted by another job, or the job was edited meanwhile.
        StoreError: the store or the engine refused.
    """
    from jobs.system_jobs.service.effects import plan_job

    return plan_job(catalog, settings, engine, record_id, run, progress)


def run(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    record_id: str,
    run: str,
    progress: "LogProgress | None" = None,
    wait_seconds: float = 0,
) -> SystemJob:
    """Carry a job out, from wherever a former attempt left it; one that is SUCCESS is returned as it is.

    Returns:
        The job: SUCCESS; or NEW again, its reason beginning with PLAN_CHANGED, when what would go is not what was
        planned any more: then nothing was deleted, and its new plan is to be approved of.

    Raises:
        JobBusy, DatasetBusy: another job or batch of the dataset is at work.
        Conflict: it has no plan, waits for approval or for its time, or was cancelled; its batch was deleted meanwhile.
        TesseraError: of any kind; the job is FAILED with the reason, and nothing was deleted. After that moment, or
            when the engine is away, it stays IN-PROGRESS, for the same command to take up again.
    """
    from jobs.system_jobs.service.running import run_system_job

    return run_system_job(catalog, settings, engine, record_id, run, progress, wait_seconds)


def close(catalog: Catalog, settings: Settings, record_id: str, run: str) -> str:
    """Close a job whose run has ended, however it did; returns the line that sums it up.

    One that is NEW still is CANCELLED. One that had deleted its data is left IN-PROGRESS, to be run to its end.
    """
    from jobs.system_jobs.service.ending import close_system_job

    try:
        return summary(close_system_job(catalog, settings, record_id, run))
    except NotFound:
        return f"system job {record_id} was removed meanwhile"


def summary(record: SystemJob) -> str:
    """Say in one line what became of a system job."""
    what = f"batch {record.batch_id} of {record.dataset_id}" if record.batch_id else f"dataset {record.dataset_id}"
    name = f"system job {record.id} ({what})"
    if record.status is not SystemJobStatus.SUCCESS or record.result is None:
        return f"{name} is {record.status}" + (f": {record.reason}" if record.reason else "")
    result = SystemJobResult.model_validate(record.result)
    again = f", {result.removed.applied_again} events applied again" if result.removed.applied_again else ""
    cut = f"; cut {result.cut} is without them" if result.cut is not None else ""
    return (
        f"{name}: {result.removed.fragments} fragments and {result.removed.events} events deleted{again}{cut}; "
        f"in {result.seconds:.0f} s"
    )
