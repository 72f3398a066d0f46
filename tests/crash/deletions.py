"""Deletions as the DAG does them: the job that is there is gone on with, so a command that was killed is run again."""

from jobs.catalog.database import Catalog
from jobs.catalog.system_jobs import Asked, SystemJob, SystemJobStatus
from jobs.session.engines import Engine
from jobs.settings import Settings
from jobs.system_jobs.models import Plan, Removed
from jobs.system_jobs.service import approve, edit, plan, reject, remove, run

_ANN, _BOB = "upkeep:ann", "upkeep:bob"


def delete(catalog: Catalog, settings: Settings, dataset: str, batch: str | None = None) -> None:
    """Ask for a deletion, plan it, let another one approve of it, and carry it out."""
    _carry_out(catalog, settings, _asked(catalog, dataset, batch, ""), None)


def with_lake(catalog: Catalog, settings: Settings, dataset: str, batch: str | None = None) -> None:
    """The same, and its rows in the lake and their links go, too."""
    _carry_out(catalog, settings, _asked(catalog, dataset, batch, "", lake=True), None)


def stale(catalog: Catalog, settings: Settings, dataset: str, batch: str | None = None) -> None:
    """The same by a plan that holds no more; the job asks again."""
    asked = Asked(dataset_id=dataset, batch_id=batch)
    former = Plan(
        request_type=asked.request_type,
        dataset=dataset,
        batch=batch,
        removed=Removed(fragments=99, events=99),
        rows_by_batch={},
        bytes=0,
        taken_at="2026-01-01T00:00:00Z",
    )
    _carry_out(catalog, settings, _asked(catalog, dataset, batch, "stale"), former)


def withdraw(catalog: Catalog, settings: Settings, dataset: str) -> None:
    """Ask for a deletion, change it, reject it, and remove the request."""
    job = _asked(catalog, dataset, None, "withdrawn")
    if job.status is SystemJobStatus.NEW:
        edit(catalog, settings, job.id, {"lake": True}, "upkeep")
        reject(catalog, settings, job.id, _BOB, "not this one", "upkeep")
    remove(catalog, settings, job.id, "upkeep")


COMMANDS = {"delete": delete, "delete-lake": with_lake, "stale": stale, "withdraw": withdraw}


def _asked(catalog: Catalog, dataset: str, batch: str | None, note: str, lake: bool = False) -> SystemJob:
    """Return the job that was asked for before, else ask for it, whether or not it can be done."""
    asked = Asked(dataset_id=dataset, batch_id=batch, note=note, lake=lake)
    before = [job for job in catalog.system_jobs().jobs if job.note == note and _key(job) == _key(asked)]
    return before[-1] if before else catalog.create_system_job(asked, _ANN, "upkeep")


def _key(asked: Asked | SystemJob) -> tuple[str, str | None, bool]:
    # A withdrawn one was edited to take the lake, too; it is told by its note.
    return asked.dataset_id, asked.batch_id, asked.lake and not asked.note


def _carry_out(catalog: Catalog, settings: Settings, job: SystemJob, former: Plan | None) -> None:
    engine = Engine.parse(settings.engine.spark)
    # Once more when it asks again.
    for _ in range(2):
        if job.status is SystemJobStatus.NEW and job.plan is None:
            if former is None:
                job = plan(catalog, settings, engine, job.id, "upkeep")
            else:
                job = catalog.plan_system_job(job.id, former.model_dump(mode="json"), job.plan_number, "upkeep")
        if job.status is SystemJobStatus.NEW and not job.is_approved:
            job = approve(catalog, settings, job.id, _BOB, job.plan_number, "upkeep")
        job = run(catalog, settings, engine, job.id, "upkeep", wait_seconds=settings.ingest.lease_seconds)
        if job.status is not SystemJobStatus.NEW:
            return
