"""Deletions at which nobody works any more.

One whose data is deleted is not undone but brought to its end: its tables, the profiles and the reports follow. Another
one is FAILED, and has deleted nothing.
"""

from datetime import timedelta

from jobs.catalog.records import Busy
from jobs.catalog.system_jobs import SystemJob, SystemJobStatus
from jobs.errors import NotFound, TesseraError
from jobs.maintenance.models import Done
from jobs.maintenance.service.work import Work
from jobs.system_jobs.service.ending import end
from jobs.system_jobs.service.running import has_deleted, run_system_job


def close_orphan_deletions(work: Work) -> Done:
    """End the system jobs whose lease expired long ago; counts them."""
    # Read one by one: bringing one to its end takes long, and meanwhile somebody may run the next.
    return sum((_ended(work, job.id) for job in work.catalog.left_system_jobs()), Done())


def _is_orphan(work: Work, job: SystemJob) -> bool:
    patience = timedelta(minutes=work.settings.maintenance.orphan_minutes)
    if job.status is not SystemJobStatus.IN_PROGRESS or job.expires_at is None:
        return False
    return job.expires_at + patience <= work.now


def _ended(work: Work, job_id: str) -> Done:
    try:
        job = work.catalog.system_job(job_id)
        if not _is_orphan(work, job):
            return Done()
        if has_deleted(work.catalog, job):
            run_system_job(work.catalog, work.settings, work.engine, job.id, work.run)
            return Done(count=1, notes=(f"system job {job.id}: its data was deleted; the rest is done now",))
        reason = "its run ended without closing it; closed by maintenance"
        end(work.catalog, work.settings, job, work.run, reason)
    except NotFound:
        return Done()  # It came to its end meanwhile, and was removed.
    except Busy as busy:
        return Done(notes=(f"system job {job_id}: left for now: {busy}",))
    except TesseraError as refused:
        return Done(errors=(f"system job {job_id} could not be ended: {refused}",))
    return Done(count=1, notes=(f"system job {job_id} is FAILED: {reason}",))
