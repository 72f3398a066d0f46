"""What may happen to a refresh: asked for, run by one attempt at a time, published or failed.

Published means one transaction of the catalog: the cut, the batches in it, and the end of the refresh. Until then no
reader sees anything of it, so a refresh that fails leaves nothing to remove: the next one drops its runs. `planning`
loads no Spark; `running` does the Spark work.
"""

from typing import TYPE_CHECKING

from jobs.catalog.database import Catalog
from jobs.catalog.refreshes import Refresh, RefreshStatus
from jobs.errors import InvalidRequest
from jobs.profiles.models import RefreshParams, RefreshResult
from jobs.profiles.service.planning import is_behind as is_behind
from jobs.session.engines import Engine
from jobs.settings import Settings

if TYPE_CHECKING:
    from jobs.session.progress import LogProgress


def accept(catalog: Catalog, settings: Settings, params: RefreshParams, run: str, shared: bool = True) -> Refresh:
    """Write the record of a refresh, or return one that waits already: see `create_refresh` of the catalog."""
    del settings
    if params.sandbox not in (None, catalog.sandbox):
        raise InvalidRequest(f"sandbox {params.sandbox!r}: this catalog was opened for {catalog.sandbox!r}")
    return catalog.create_refresh(params.model_dump(mode="json", exclude={"sandbox"}), run, shared)


def run(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    record_id: str,
    run: str,
    progress: "LogProgress | None" = None,
    wait_seconds: float = 0,
) -> Refresh:
    """Run one attempt at an accepted refresh; while another one of the sandbox runs, raise JobBusy."""
    from jobs.profiles.service.running import run_refresh

    return run_refresh(catalog, settings, engine, record_id, run, progress, wait_seconds)


def close(catalog: Catalog, settings: Settings, record_id: str, run: str) -> str:
    """Close a refresh whose run has ended, however it did; returns the line that sums it up."""
    from jobs.profiles.service.running import close_refresh

    return summary(close_refresh(catalog, settings, record_id, run))


def summary(record: Refresh) -> str:
    """Say in one line what became of a refresh."""
    if record.status is not RefreshStatus.PUBLISHED or record.result is None:
        return f"refresh {record.id} is {record.status}" + (f": {record.reason}" if record.reason else "")
    result = RefreshResult.model_validate(record.result)
    if not result.views:
        return f"refresh {record.id}: nothing new"
    taken = sum(result.batches.values())
    told = [
        f"{policy}: {view.profiles} profiles ({view.created} created, {view.changed} changed, {view.merged} merged, "
        f"{view.unchanged} unchanged, {view.vanished} vanished)"
        for policy, view in result.views.items()
    ]
    left_out = [f"{policy}: {why}" for policy, why in result.left_out.items()]
    return f"refresh {record.id}: {taken} batches in {result.seconds:.0f} s; " + "; ".join((*told, *left_out))
