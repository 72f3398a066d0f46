"""Who agrees to a deletion, or does not. Nothing here runs Spark."""

from jobs.catalog.database import Catalog
from jobs.catalog.system_jobs import SystemJob
from jobs.errors import Conflict
from jobs.settings import Settings


def approve(catalog: Catalog, settings: Settings, record_id: str, by: str, plan_number: int, run: str) -> SystemJob:
    """Note that somebody approves of a plan of a NEW job.

    Args:
        catalog: opened in the sandbox.
        settings: say whether whoever asked may approve, and who may.
        record_id: the job.
        by: who approves, `<where>:<user>`.
        plan_number: the plan that they have seen.
        run: run that asks.

    Raises:
        NotFound: no such job.
        Conflict: they asked for the deletion themselves or edited it, or are not among those who may approve; the plan
            is not the present one any more; or the job is not NEW.
    """
    job = catalog.system_job(record_id)
    bounds = settings.system_jobs
    same = next((asker for asker in job.askers if _user(asker) == _user(by)), None)
    if bounds.four_eyes and same is not None:
        did = "edited" if same in job.edited_by else "asked for"
        raise Conflict(
            f"system job {record_id!r} was {did} by {same!r}, and {by!r} is the same user: somebody else has to "
            "approve of it (system_jobs.four_eyes)"
        )
    if bounds.approvers and not {by, _user(by)} & set(bounds.approvers):
        raise Conflict(
            f"system job {record_id!r}: {by!r} is none of {', '.join(bounds.approvers)}, who may approve of deletions "
            "(system_jobs.approvers)"
        )
    return catalog.approve_system_job(record_id, plan_number, by, run)


def reject(catalog: Catalog, settings: Settings, record_id: str, by: str, reason: str, run: str) -> SystemJob:
    """Make a NEW job CANCELLED: rejected by somebody, or for a reason of nobody's.

    Raises:
        NotFound: no such job.
        Conflict: it is at work, or over.
    """
    del settings
    told = f"rejected by {by}" + (f": {reason}" if reason else "") if by else reason or "cancelled"
    return catalog.cancel_system_job(record_id, told, run)


def _user(name: str) -> str:
    """Return the user of a name like airflow:ann: the same person wherever they ask."""
    return name.rpartition(":")[2]
