"""Export jobs that nobody works at any more: closed, after their datasets have their former rows again.

Otherwise the next job to the dataset would do so, and there may never be one. Until then analysts may read rows that no
job vouches for, and the job's cut is kept from vacuum.
"""

from collections.abc import Iterator
from datetime import timedelta

from jobs.catalog.exports import ExportJob, ExportStatus
from jobs.errors import Conflict, TesseraError
from jobs.exports.service import give_up
from jobs.maintenance.models import Done
from jobs.maintenance.service.work import Work

_REASON = "its run ended without closing it; closed by maintenance"


def close_orphan_exports(work: Work) -> Done:
    """Close export jobs whose lease expired long ago; counts them, and tells those that were never begun."""
    patience = timedelta(minutes=work.settings.maintenance.orphan_minutes)
    at_work = work.catalog.exports_at_work()
    left = [job for job in at_work if job.expires_at is not None and job.expires_at + patience <= work.now]
    return sum((_closed(work, job) for job in left), Done(notes=tuple(_waiting(work))))


def _closed(work: Work, job: ExportJob) -> Done:
    name = f"export job {job.id} to {job.dataset_id}"
    try:
        closed = give_up(work.catalog, work.settings, job.id, work.run, _REASON)
    except Conflict as busy:
        return Done(notes=(f"{name}: left, somebody works at it again: {busy}",))
    except TesseraError as refused:
        return Done(errors=(f"{name} could not be closed: {refused}",))
    if closed.status is not ExportStatus.FAILED:
        return Done(notes=(f"{name}: left, it is {closed.status}",))
    return Done(count=1, notes=(f"{name} is FAILED, the dataset has its former rows: {closed.reason}",))


def _waiting(work: Work) -> Iterator[str]:
    bound = work.now - timedelta(hours=work.settings.maintenance.new_hours)
    late = [job.id for job in work.catalog.exports(status=ExportStatus.NEW).jobs if job.created_at < bound]
    if late:
        yield f"export jobs that are NEW and were never begun: {', '.join(late)}; left as they are"
