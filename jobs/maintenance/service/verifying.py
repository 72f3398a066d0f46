"""Comparing a random slice of the profiles with what fragments and links make anew."""

from jobs.errors import NotFound
from jobs.maintenance.models import Done
from jobs.maintenance.service.work import Work
from jobs.verification import job
from jobs.verification.service import make_plan


def verify(work: Work) -> Done:
    """Compare a slice of the newest cut; counts the differences, of which there should be none.

    What is told has no value of a profile: `tessera verify` shows them.
    """
    try:
        plan = make_plan(work.catalog, work.settings, f"{work.turn.attempt.id}-verify", full=False)
    except NotFound as nothing:
        return Done(notes=(str(nothing),))
    result = work.spark(job.run, plan)
    where = sorted({f"{one.table} {one.column}" for one in result.differences})
    errors = (f"{result.summary}; in {', '.join(where)}; see `tessera verify`",) if result.drift else ()
    return Done(count=result.drift, notes=(result.summary,), errors=errors)
