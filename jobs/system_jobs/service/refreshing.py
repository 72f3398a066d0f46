"""Bringing profiles and reports up to date after a deletion: a new cut is published, and previewed."""

from collections.abc import Callable

from jobs.catalog.database import Catalog
from jobs.catalog.previews import PreviewStatus
from jobs.catalog.system_jobs import SystemJob
from jobs.errors import StoreError
from jobs.preview_sample import service as previews
from jobs.preview_sample.models import PreviewParams, PreviewResult
from jobs.profiles import service as refreshes
from jobs.profiles.models import RefreshParams
from jobs.system_jobs.models import Removed
from jobs.turns import Turn


def bring_up_to_date(
    catalog: Catalog, turn: Turn[SystemJob], before_reports: Callable[[], None], removed: Removed
) -> tuple[str | None, str | None]:
    """Publish a cut without what a job deleted, and reports of it, unless both are there.

    Args:
        catalog: opened in the sandbox.
        turn: an attempt at the job, whose data is deleted.
        before_reports: called before the reports are made.
        removed: what was deleted; when it is nothing, the reports stay as they are.

    Returns:
        ids of the refresh and of the preview that this attempt ran; None for what it did not have to.

    Raises:
        JobBusy: another refresh or preview still runs.
        StoreError: the store or the engine refused.
    """
    refresh = None
    # Asked first: one that publishes meanwhile is seen at least by what it published. It may have been planned before
    # the data was deleted.
    is_refreshing = catalog.is_refreshing()
    if is_refreshing or is_behind(catalog, turn.record):
        refresh = _refreshed(catalog, turn)
        if is_behind(catalog, turn.record):
            raise StoreError(f"refresh {refresh} published a cut that still has what was deleted; run the job again")
    before_reports()
    is_nothing = removed == Removed(fragments=0, events=0) and not turn.record.lake
    return refresh, None if is_nothing else _previewed(catalog, turn)


def is_behind(catalog: Catalog, job: SystemJob) -> bool:
    """Tell whether the newest cut still has what a job deleted, or lacks what took its place."""
    present = {one.batch_id: one.counts for one in catalog.graph_batches(job.dataset_id)}
    taken = {one.batch_id: one.is_counted for one in catalog.taken_batches() if one.dataset_id == job.dataset_id}
    has_it = any(is_counted and not present.get(name, False) for name, is_counted in taken.items())
    is_linked = any(name not in present for name in taken)
    lacks = job.deletion_id in present and job.deletion_id not in taken
    return has_it or is_linked or lacks


def _refreshed(catalog: Catalog, turn: Turn[SystemJob]) -> str:
    settings, run = turn.settings, turn.attempt.run
    # Its own, and not one that another deletion waits with: whoever runs that would end this one's work.
    record = refreshes.accept(catalog, settings, RefreshParams(), run, shared=False)
    wait = settings.ingest.wait_seconds
    return refreshes.run(catalog, settings, turn.engine, record.id, run, turn.progress, wait).id


def _previewed(catalog: Catalog, turn: Turn[SystemJob]) -> str | None:
    """Make the reports of the newest cut, unless they are there or there is no cut."""
    cut, newest = catalog.cut(), catalog.newest_preview()
    if cut is None:
        return None
    if newest is not None and newest.result is not None:
        is_there = PreviewResult.model_validate(newest.result).status.cut == cut.number
        if newest.status is PreviewStatus.DONE and is_there:
            return newest.id
    settings, run = turn.settings, turn.attempt.run
    record = previews.accept(catalog, settings, PreviewParams(), run)
    return previews.run(catalog, settings, turn.engine, record.id, run, turn.progress, settings.ingest.wait_seconds).id
