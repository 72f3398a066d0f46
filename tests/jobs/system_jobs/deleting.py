"""Deletions as a command does them, and in the tests' session without views; and what lies in a store."""

import hashlib
import uuid
from pathlib import Path
from typing import Any

from jobs.catalog.records import DELETED_BY, Attempt
from jobs.catalog.system_jobs import SystemJob
from jobs.lake.commits import CommitInfo
from jobs.preview_sample.models import PreviewResult
from jobs.profiles.models import RefreshResult
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.system_jobs import job
from jobs.system_jobs.models import CleanPlan, Deleted, DeletePlan, Plan, SystemJobParams, SystemJobResult
from jobs.system_jobs.service import accept, plan, run
from jobs.system_jobs.service.planning import clean_plan, delete_plan
from tests.jobs.ingest.workshop import Silent, Workshop


def asked(workshop: Workshop, **params: Any) -> SystemJob:
    return accept(workshop.catalog, workshop.settings, SystemJobParams(**params), "test", "cli:ann")


def planned(workshop: Workshop, engine: Engine, record: SystemJob) -> Plan:
    """Plan a job, and return its plan."""
    return Plan.model_validate(plan(workshop.catalog, workshop.settings, engine, record.id, "test").plan)


def ran(workshop: Workshop, engine: Engine, record: SystemJob, progress: LogProgress | None = None) -> SystemJob:
    return run(workshop.catalog, workshop.settings, engine, record.id, "test", progress)


def result_of(record: SystemJob) -> SystemJobResult:
    assert record.result is not None, record.reason
    return SystemJobResult.model_validate(record.result)


def delete(workshop: Workshop, dataset: str, batch: str | None = None) -> Deleted:
    """Delete in the tests' session, and take it out of the tables; views are left as they are."""
    catalog, attempt = workshop.catalog, Attempt(id=uuid.uuid4().hex, run="test")
    record = asked(workshop, dataset=dataset, batch=batch)
    catalog.plan_system_job(record.id, {}, 0)
    record = catalog.begin_system_job(record.id, attempt)
    request = {"deletes": batch, DELETED_BY: record.id}
    catalog.create_batch(dataset, record.deletion_id, [], None, request, "test")
    holder = Attempt(id=uuid.uuid4().hex, run="test")
    own = workshop.service.begin_deletion(record.deletion_id, holder)
    assert own is not None
    wanted = delete_plan(catalog, record.asked, own)
    # As it goes to a driver in another process.
    assert DeletePlan.model_validate_json(wanted.model_dump_json()) == wanted
    found = job.delete(workshop.spark, wanted, Silent())
    catalog.apply_system_job(record.id, attempt, holder, found.model_dump(mode="json"))
    commit = CommitInfo(job="delete", batch=record.deletion_id, attempt=attempt.id)
    cleaning = clean_plan(catalog, workshop.settings, record.asked, record.id, commit)
    if cleaning is not None:
        job.clean(workshop.spark, CleanPlan.model_validate_json(cleaning.model_dump_json()), Silent())
    catalog.finish_system_job(record.id, attempt, {})
    return found


def reported(workshop: Workshop) -> PreviewResult:
    """The newest report."""
    newest = workshop.catalog.newest_preview()
    assert newest is not None
    return PreviewResult.model_validate(newest.result)


def foretold(plan: Plan) -> dict[str, tuple[int, int, int]]:
    """What a plan says of each policy: profiles that vanish, change and appear."""
    return {one.policy: (one.vanish, one.change, one.appear) for one in plan.policies}


def came_to(workshop: Workshop) -> dict[str, tuple[int, int, int]]:
    """The same as the newest refresh counted it: of an id that ends it knows whether its identities stayed."""
    result = RefreshResult.model_validate(workshop.catalog.refreshes(1)[0].result)
    return {name: (view.vanished + view.merged, view.changed, view.created) for name, view in result.views.items()}


def files_below(*folders: Path) -> dict[str, str]:
    """The digest of every file below folders, logs included."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
