"""A system job carried out by this process: by `tessera delete`, or by a task of the DAG.

The deletion is a batch of the dataset: while it is at work no other batch is, and an attempt that died is ended before
the next one begins. Once that batch is ACTIVE the data is deleted, whatever happens next; everything after may be done
again.
"""

import logging
import time
from dataclasses import dataclass
from functools import partial

from jobs.catalog.database import Catalog
from jobs.catalog.records import DELETED_BY, Batch, BatchStatus
from jobs.catalog.system_jobs import SystemJob
from jobs.errors import NotFound
from jobs.ingest.models import IngestPlan
from jobs.ingest.service.batches import IngestService
from jobs.ingest.service.running import note_failure, renewed, when_free
from jobs.lake.commits import CommitInfo
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.session.running import run_job
from jobs.settings import Settings
from jobs.system_jobs import job
from jobs.system_jobs.models import Deleted, Effect, EffectPlan, Plan, Removed, SystemJobResult
from jobs.system_jobs.service.effects import counted
from jobs.system_jobs.service.planning import clean_plan, delete_plan, taken_from_lake
from jobs.system_jobs.service.refreshing import bring_up_to_date
from jobs.turns import Records, Turn, new_attempt, take_turn

logger = logging.getLogger(__name__)

PLAN_CHANGED = "PLAN_CHANGED"
_UNFINISHED = "its data is deleted, and what follows is not done; run it again: "


def run_system_job(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    record_id: str,
    run: str,
    progress: LogProgress | None = None,
    wait_seconds: float = 0,
) -> SystemJob:
    """Carry a system job out; see `jobs.system_jobs.service.run`."""

    def work(turn: Turn[SystemJob]) -> SystemJob:
        return _Carrying(catalog, turn, wait_seconds).out()

    records = records_of(catalog, settings)
    return take_turn(settings, engine, records, record_id, run, work, progress, wait_seconds)


def records_of(catalog: Catalog, settings: Settings) -> Records[SystemJob]:
    """Return what a catalog does with system jobs. One whose data is deleted never fails for good."""

    def fail(record_id: str, attempt_id: str, reason: str, final: bool, run: str) -> SystemJob:
        if has_deleted(catalog, catalog.system_job(record_id)):
            final, reason = False, f"{_UNFINISHED}{reason.removeprefix(_UNFINISHED)}"
        return catalog.fail_system_job(record_id, attempt_id, reason, final, run)

    begin = partial(catalog.begin_system_job, needs_approval=settings.system_jobs.approval)
    return Records(begin, catalog.renew_system_job, fail, catalog.system_job)


def has_deleted(catalog: Catalog, record: SystemJob) -> bool:
    """Tell whether the data of a job is deleted."""
    try:
        deletion = catalog.batch(record.deletion_id)
    except NotFound:
        return False
    return deletion.status is BatchStatus.ACTIVE and deletion.deleted_by == record.id


@dataclass
class _Carrying:
    """One attempt at a system job.

    Args:
        catalog: opened in the sandbox.
        turn: the attempt.
        wait_seconds: how long to wait while a batch of the dataset is at work.
    """

    catalog: Catalog
    turn: Turn[SystemJob]
    wait_seconds: float

    def out(self) -> SystemJob:
        """Delete, unless that is done, and bring everything up to date."""
        began = time.monotonic()
        self._note("deleting", 10)
        deletion = self._create()
        found = self._delete(deletion.id)
        if found is not None and not found.is_as_expected:
            return self._ask_again(found.removed)
        told = Deleted.model_validate(self.catalog.batch(deletion.id).result)
        self._note("taking it out of the tables", 40)
        plan = clean_plan(self.catalog, self.turn.settings, self._record.asked, self._record.id, self._commit)
        if plan is not None:
            self.turn.spark(job.clean, plan)
        self._note("bringing the profiles up to date", 60)
        refresh, preview = bring_up_to_date(
            self.catalog, self.turn, lambda: self._note("making the reports", 85), told.removed
        )
        cut = self.catalog.cut()
        result = SystemJobResult(
            request_type=self._record.request_type,
            dataset=self._record.dataset_id,
            batch=self._record.batch_id,
            lake=self._record.lake,
            removed=told.removed,
            tables=told.tables,
            deletion=deletion.id,
            cut=cut.number if cut else None,
            refresh=refresh,
            preview=preview,
            seconds=round(time.monotonic() - began, 1),
        )
        return self.catalog.finish_system_job(self._record.id, self.turn.attempt, result.document())

    @property
    def _record(self) -> SystemJob:
        return self.turn.record

    @property
    def _commit(self) -> CommitInfo:
        attempt = self.turn.attempt
        return CommitInfo(job="delete", batch=self._record.deletion_id, attempt=attempt.id, run=attempt.run)

    def _note(self, stage: str, percent: int) -> None:
        self.catalog.note_system_job(self._record.id, self.turn.attempt, stage, percent)
        self.turn.progress.say(f"system job {self._record.id}: {stage}")

    def _create(self) -> Batch:
        """Record the batch by which the deletion takes its place in the order of the dataset."""
        record = self._record
        request = {"deletes": record.batch_id, DELETED_BY: record.id}
        return self.catalog.create_batch(
            record.dataset_id, record.deletion_id, [], None, request, self.turn.attempt.run
        )

    def _delete(self, batch_id: str) -> Deleted | None:
        """Hold the dataset, and delete if what goes is what was planned; None when it is deleted already."""
        turn, service = self.turn, IngestService(self.catalog, self.turn.settings)
        attempt = new_attempt(turn.settings, turn.engine, turn.attempt.run)

        def begin() -> IngestPlan | None:
            # Another worker may have come meanwhile, whose work is not this one's to end.
            turn.renew()
            return service.begin_deletion(batch_id, attempt)

        own = when_free(begin, turn.settings, turn.progress.say, self.wait_seconds)
        if own is None:
            return None
        try:
            with renewed(self.catalog, turn.settings, turn.engine, attempt):
                found = self._written(own, attempt.session_id)
            if found.is_as_expected:
                result = found.model_dump(mode="json")
                sources = taken_from_lake(self.catalog, self._record.asked)
                self.catalog.apply_system_job(self._record.id, turn.attempt, attempt, result, sources)
            else:
                self.catalog.fail(batch_id, attempt, f"{PLAN_CHANGED}: nothing was deleted", final=True)
        except BaseException as failed:
            note_failure(self.catalog, turn.settings, turn.engine, own, attempt, failed)
            raise
        return found

    def _written(self, own: IngestPlan, session_id: str) -> Deleted:
        approved = Plan.model_validate(self._record.plan)
        plan = delete_plan(self.catalog, self._record.asked, own, approved)
        turn = self.turn
        found: Deleted = run_job(turn.settings, turn.engine, job.delete, plan, session_id, turn.progress)
        return found

    def _ask_again(self, found: Removed) -> SystemJob:
        """Plan again, and let the job wait for another approval."""
        before = Plan.model_validate(self._record.plan)
        self._note("planning again", 20)

        def count(planned: EffectPlan) -> Effect:
            effect: Effect = self.turn.spark(job.plan, planned)
            return effect

        record, turn = self._record, self.turn
        plan = counted(
            self.catalog, turn.settings, record.asked, record.deletion_id, turn.attempt.run, turn.attempt.id, count
        )
        reason = (
            f"{PLAN_CHANGED}: {_told(found, plan)} would go, and plan {record.plan_number} says "
            f"{_told(before.removed, before)}; nothing was deleted"
        )
        logger.info("system job %s: %s", record.id, reason)
        return self.catalog.ask_again(record.id, turn.attempt, plan.model_dump(mode="json"), reason)


def _told(removed: Removed, plan: Plan) -> str:
    again = f", {removed.applied_again} applied again," if removed.applied_again else ""
    of = f" of {plan.batches} batches" if plan.batches else ""
    lake = f" and {plan.lake_rows} rows of the lake" if plan.lake_rows else ""
    return f"{removed.fragments} fragments and {removed.events} events{again}{of}{lake}"
