"""What an export job is to read and write, as the catalog has it at the begin of an attempt."""

from jobs.catalog.database import Catalog
from jobs.catalog.exports import ExportJob
from jobs.catalog.records import Attempt
from jobs.catalog.refreshes import Cut
from jobs.errors import Conflict
from jobs.exports.models import EventSource, EventsPlan, ExportParams, ExportPlan
from jobs.exports.service.choosing import attributes, event_leaves, policy_of, view_of
from jobs.ingest.models import BatchOrder
from jobs.lake.commits import CommitInfo
from jobs.settings import Settings

COMMIT_JOB = "export"


def planned(catalog: Catalog, settings: Settings, job: ExportJob, attempt: Attempt) -> ExportPlan:
    """Plan an attempt at an export job that was begun: it reads the cut that the job is pinned to.

    Raises:
        InvalidRequest, Conflict: since it was asked for, what it names became something else.
    """
    params = ExportParams.model_validate(job.request)
    cut = catalog.cut(job.cut) if job.cut is not None else None
    if cut is None:
        raise Conflict(f"export job {job.id}: there are no profiles yet; `tessera refresh` makes them")
    policy = policy_of(catalog, params)
    return ExportPlan(
        store_root=settings.store_root,
        sandbox=catalog.sandbox,
        job_id=job.id,
        dataset=catalog.dataset(job.dataset_id).definition,
        cut=cut.number,
        policy_id=policy.id,
        policy_version=policy.version,
        view=view_of(catalog, settings, policy, cut),
        leaves=attributes(catalog, settings, params),
        codes=tuple(namespace.code for namespace in catalog.namespaces()),
        max_identities=settings.graph.max_identities,
        updated_after=params.updated_after,
        empty_profiles=params.empty_profiles,
        events=_events(catalog, settings, params, cut),
        copies=params.copies,
        commit=CommitInfo(job=COMMIT_JOB, batch=job.batch_id, attempt=attempt.id, run=attempt.run),
    )


def _events(catalog: Catalog, settings: Settings, params: ExportParams, cut: Cut) -> EventsPlan | None:
    if not params.events:
        return None
    # What was taken later is not in this cut, and what counts no more is not to be read again.
    counted = {one.batch_id for one in catalog.taken_batches() if one.is_counted and one.taken_by <= cut.number}
    sources = []
    for record in catalog.datasets():
        table = cut.table(f"events/{record.id}")
        batches = [one for one in catalog.graph_batches(record.id) if one.batch_id in counted] if table else []
        if table and batches:
            sources.append(
                EventSource(
                    dataset=record.definition,
                    store_root=settings.store_root,
                    sandbox=catalog.sandbox,
                    generation=table.generation,
                    batches=tuple(BatchOrder(batch_id=one.batch_id, seq=one.seq) for one in batches),
                    version=table.version,
                )
            )
    return EventsPlan(
        leaves=event_leaves(catalog, params),
        after=params.events_after,
        until=params.events_until,
        sources=tuple(sources),
    )
