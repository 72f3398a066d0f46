"""A refresh run by this process: by `tessera refresh`, or by a task of the DAG."""

from jobs.catalog.database import Catalog
from jobs.catalog.refreshes import Refresh
from jobs.profiles import job
from jobs.profiles.models import RefreshResult
from jobs.profiles.service.planning import planned, publish
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.settings import Settings
from jobs.turns import Records, Turn, close_left, take_turn


def run_refresh(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    record_id: str,
    run: str,
    progress: LogProgress | None = None,
    wait_seconds: float = 0,
) -> Refresh:
    """Run one attempt at a refresh, and publish it; arguments and errors are those of `take_turn`."""

    def refresh(turn: Turn[Refresh]) -> Refresh:
        begun = planned(catalog, settings, turn.record, turn.attempt)
        result = RefreshResult(sandbox=catalog.sandbox)
        if begun.plan is not None:
            result = turn.spark(job.run, begun.plan)
        return publish(catalog, begun, result)

    return take_turn(settings, engine, _records(catalog), record_id, run, refresh, progress, wait_seconds)


def close_refresh(catalog: Catalog, settings: Settings, record_id: str, run: str) -> Refresh:
    """Close a refresh that its run leaves behind; one that another run works at is left to it."""
    return close_left(settings, _records(catalog), record_id, run)


def _records(catalog: Catalog) -> Records[Refresh]:
    return Records(catalog.begin_refresh, catalog.renew_refresh, catalog.fail_refresh, catalog.refresh)
