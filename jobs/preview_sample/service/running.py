"""A preview run by this process: by `tessera preview`, or by a task of the DAG."""

from jobs.catalog.database import Catalog
from jobs.catalog.previews import Preview
from jobs.preview_sample import job
from jobs.preview_sample.models import PreviewResult
from jobs.preview_sample.service.planning import planned
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.settings import Settings
from jobs.turns import Records, Turn, close_left, take_turn


def run_preview(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    record_id: str,
    run: str,
    progress: LogProgress | None = None,
    wait_seconds: float = 0,
) -> Preview:
    """Run one attempt at a preview, and record its reports; arguments and errors are those of `take_turn`.

    Until it is done the reports of before stay the newest.
    """

    def count(turn: Turn[Preview]) -> Preview:
        result: PreviewResult = turn.spark(job.run, planned(catalog, settings, turn.record, turn.attempt))
        return catalog.finish_preview(record_id, turn.attempt, result.document())

    return take_turn(settings, engine, _records(catalog), record_id, run, count, progress, wait_seconds)


def close_preview(catalog: Catalog, settings: Settings, record_id: str, run: str) -> Preview:
    """Close a preview that its run leaves behind; one that another run works at is left to it."""
    return close_left(settings, _records(catalog), record_id, run)


def _records(catalog: Catalog) -> Records[Preview]:
    return Records(catalog.begin_preview, catalog.renew_preview, catalog.fail_preview, catalog.preview)
