"""What a catalog does with system jobs; the rules are in `job_records` and `system_job_records`."""

from collections.abc import Collection
from typing import Any

from jobs.catalog import system_job_records
from jobs.catalog.records import Attempt, Batch
from jobs.catalog.system_job_records import SYSTEM_JOBS
from jobs.catalog.system_jobs import Asked, SystemJob, SystemJobPage
from jobs.catalog.transactions import Transactions
from jobs.faults import Fault


class SystemJobCatalog(Transactions):
    """The part of the catalog that keeps system jobs."""

    def create_system_job(
        self, asked: Asked, requested_by: str = "", run: str = "", on_behalf_of: str = ""
    ) -> SystemJob:
        """Record a system job that is asked for; it is NEW. See `system_job_records.create`."""
        with self._writing(Fault.CREATE_SYSTEM_JOB) as scope:
            return system_job_records.create(scope, asked, requested_by, run, on_behalf_of)

    def edit_system_job(self, job_id: str, asked: Asked, edited_by: str = "", run: str = "") -> SystemJob:
        """Let a NEW job ask for something else; see `system_job_records.edit`."""
        with self._writing(Fault.EDIT_SYSTEM_JOB) as scope:
            return system_job_records.edit(scope, job_id, asked, edited_by, run)

    def plan_system_job(self, job_id: str, plan: dict[str, Any], planned_after: int, run: str = "") -> SystemJob:
        """Keep the plan of a NEW job; see `system_job_records.plan`."""
        with self._writing(Fault.PLAN_SYSTEM_JOB) as scope:
            return system_job_records.plan(scope, job_id, plan, planned_after, run)

    def approve_system_job(self, job_id: str, plan_number: int, by: str, run: str = "") -> SystemJob:
        """Note who approved of a plan; see `system_job_records.approve`. Whether they may is the caller's to say."""
        with self._writing(Fault.APPROVE_SYSTEM_JOB) as scope:
            return system_job_records.approve(scope, job_id, plan_number, by, run)

    def begin_system_job(
        self, job_id: str, attempt: Attempt, takes_over: Attempt | None = None, needs_approval: bool = False
    ) -> SystemJob:
        """Let an attempt run a system job; see `Ledger.begin` for the errors.

        Raises:
            Conflict: also when it has no plan, its plan was not approved of, or its time has not come.
        """
        with self._writing(Fault.BEGIN_SYSTEM_JOB) as scope:
            return system_job_records.ledger(needs_approval).begin(scope, job_id, attempt, takes_over)

    def renew_system_job(self, job_id: str, attempt: Attempt) -> SystemJob:
        """Let its lease run for another span from now; Conflict when the attempt does not run it any more."""
        with self._writing(Fault.RENEW_LEASE) as scope:
            return SYSTEM_JOBS.renew(scope, job_id, attempt)

    def note_system_job(self, job_id: str, attempt: Attempt, stage: str, percent: int) -> SystemJob:
        """Note how far an attempt is; Conflict when it does not run the job any more."""
        with self._writing(Fault.NOTE_SYSTEM_JOB) as scope:
            return system_job_records.note(scope, job_id, attempt, stage, percent)

    def apply_system_job(
        self, job_id: str, worker: Attempt, attempt: Attempt, result: dict[str, Any], sources: Collection[str] = ()
    ) -> Batch:
        """Delete, in one transaction; `attempt` is that of the job's batch. See `system_job_records.apply`."""
        with self._writing(Fault.APPLY_SYSTEM_JOB) as scope:
            return system_job_records.apply(scope, job_id, worker, attempt, result, sources)

    def ask_again(self, job_id: str, attempt: Attempt, plan: dict[str, Any], reason: str) -> SystemJob:
        """Make a job that has begun NEW again with another plan, which nobody has approved of yet."""
        with self._writing(Fault.ASK_AGAIN) as scope:
            return system_job_records.ask_again(scope, job_id, attempt, plan, reason)

    def finish_system_job(self, job_id: str, attempt: Attempt, result: dict[str, Any]) -> SystemJob:
        """Make a system job SUCCESS with what it did; see `Ledger.finish`."""
        with self._writing(Fault.FINISH_SYSTEM_JOB) as scope:
            return system_job_records.finish(scope, job_id, attempt, result)

    def fail_system_job(self, job_id: str, attempt_id: str, reason: str, final: bool, run: str = "") -> SystemJob:
        """Note that an attempt failed, for good or until its retry; Conflict when it does not run it any more.

        Called after the attempt's Spark work is gone.
        """
        with self._writing(Fault.FAIL_SYSTEM_JOB) as scope:
            return SYSTEM_JOBS.fail(scope, job_id, attempt_id, reason, final, run)

    def cancel_system_job(self, job_id: str, reason: str, run: str = "") -> SystemJob:
        """Make a NEW job CANCELLED with a reason; see `Ledger.cancel` for the errors."""
        with self._writing(Fault.CANCEL_SYSTEM_JOB) as scope:
            return SYSTEM_JOBS.cancel(scope, job_id, None, run, reason)

    def remove_system_job(self, job_id: str, run: str = "") -> None:
        """Remove the record of a job; see `system_job_records.remove`."""
        with self._writing(Fault.REMOVE_SYSTEM_JOB) as scope:
            system_job_records.remove(scope, job_id, run)

    def system_job(self, job_id: str) -> SystemJob:
        """Return a system job; NotFound when the sandbox has none of that id."""
        with self._reading() as scope:
            return SYSTEM_JOBS.found(scope, job_id)

    def system_jobs(self, start: int = 0, limit: int = 100) -> SystemJobPage:
        """List system jobs, the oldest first: page `start`, from 0, of pages of `limit`."""
        with self._reading() as scope:
            return system_job_records.page(scope, start, limit)

    def system_job_of(self, run: str) -> SystemJob | None:
        """Return the system job that a run, <dag>/<run>, asked for; None when there is none."""
        with self._reading() as scope:
            return system_job_records.of_run(scope, run)

    def unfinished_deletion(self) -> SystemJob | None:
        """Return a system job whose data is deleted and that is not at its end; None when there is none."""
        with self._reading() as scope:
            return system_job_records.unfinished(scope)

    def left_system_jobs(self) -> list[SystemJob]:
        """List the system jobs that are IN-PROGRESS and that nobody works at any more."""
        with self._reading() as scope:
            return system_job_records.left(scope)
