"""What may happen to an export job: asked for, run by one attempt at a time, cancelled, closed; and how it is shown.

A dataset has the rows of its last job that SUCCEEDED. Each job replaces them in one commit; whoever ends a job in
another way (`ending`) first puts the former rows back, if the job came as far as that commit.
"""

from typing import TYPE_CHECKING

from jobs.catalog.database import Catalog
from jobs.catalog.exports import ExportJob, ExportStatus
from jobs.exports.models import ExportResult
from jobs.exports.service.accepting import accept as accept
from jobs.session.engines import Engine
from jobs.settings import Settings

if TYPE_CHECKING:
    from jobs.session.progress import LogProgress


def run(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    record_id: str,
    run: str,
    progress: "LogProgress | None" = None,
    wait_seconds: float = 0,
) -> ExportJob:
    """Run one attempt at an accepted export job; while another one writes the same dataset, raise JobBusy."""
    from jobs.exports.service.running import run_export

    return run_export(catalog, settings, engine, record_id, run, progress, wait_seconds)


def close(catalog: Catalog, settings: Settings, record_id: str, run: str) -> str:
    """Close an export job whose run has ended, however it did; returns the line that sums it up.

    One that is NEW still is CANCELLED, one at work is FAILED, and the dataset has its former rows.
    """
    from jobs.exports.service.ending import close_export

    return summary(close_export(catalog, settings, record_id, run))


def give_up(catalog: Catalog, settings: Settings, record_id: str, run: str, reason: str) -> ExportJob:
    """Make an export job FAILED at which nobody works any more; one that came to its end meanwhile is left as it is.

    Args:
        catalog: opened in the job's sandbox.
        settings: of this installation.
        record_id: the job, at work; its Spark work is ended, and its dataset gets its former rows.
        run: who gives it up.
        reason: why, unless the record says so already.

    Raises:
        TesseraError: it could not be done; the job is at work still.
    """
    from jobs.exports.service.ending import give_up_export

    return give_up_export(catalog, settings, record_id, run, reason)


def cancel(catalog: Catalog, settings: Settings, record_id: str, run: str) -> ExportJob:
    """Cancel an export job; its Spark work is ended, and the dataset has its former rows.

    Raises:
        NotFound: no such job.
        Conflict: it is over.
        StoreError: its engine is away, so that nobody can say whether its work goes on; nothing is changed.
    """
    from jobs.exports.service.ending import cancel_export

    return cancel_export(catalog, settings, record_id, run)


def summary(record: ExportJob) -> str:
    """Say in one line what became of an export job."""
    name = f"export job {record.id} to {record.dataset_id}"
    if record.status is not ExportStatus.SUCCEEDED or record.result is None:
        return f"{name} is {record.status}" + (f": {record.reason}" if record.reason else "")
    result = ExportResult.model_validate(record.result)
    left_out = f", {result.left_out} left out for too many identities" if result.left_out else ""
    version = result.tables[f"exports/{record.dataset_id}"].version
    return (
        f"{name}: {result.profiles} profiles of policy {result.policy_id} as of cut {result.cut}{left_out}; "
        f"version {version} of the table, in {result.seconds:.0f} s"
    )
