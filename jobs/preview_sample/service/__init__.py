"""What may happen to a preview: asked for when it is due, run by one attempt at a time, closed; and its reports shown.

Reports count once the catalog calls their preview DONE; until then the ones of before are the newest.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from jobs.catalog.database import Catalog, utc_now
from jobs.catalog.previews import Preview, PreviewStatus
from jobs.errors import InvalidRequest
from jobs.preview_sample.models import PreviewParams, PreviewResult
from jobs.preview_sample.service.planning import Due as Due, due as due
from jobs.session.engines import Engine
from jobs.settings import Settings

if TYPE_CHECKING:
    from jobs.session.progress import LogProgress


def accept(catalog: Catalog, settings: Settings, params: PreviewParams, run: str) -> Preview:
    """Write the record of a preview that is asked for; nothing runs yet.

    Raises:
        InvalidRequest: the instant is to come, or the sandbox is not the catalog's.
    """
    del settings
    _check_instant(params.as_of, utc_now())
    if params.sandbox not in (None, catalog.sandbox):
        raise InvalidRequest(f"sandbox {params.sandbox!r}: this catalog was opened for {catalog.sandbox!r}")
    return catalog.create_preview(params.model_dump(mode="json", exclude={"sandbox"}), params.as_of, run)


def run(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    record_id: str,
    run: str,
    progress: "LogProgress | None" = None,
    wait_seconds: float = 0,
) -> Preview:
    """Run one attempt at an accepted preview; while another one of the sandbox runs, raise JobBusy."""
    from jobs.preview_sample.service.running import run_preview

    return run_preview(catalog, settings, engine, record_id, run, progress, wait_seconds)


def close(catalog: Catalog, settings: Settings, record_id: str, run: str) -> str:
    """Close a preview whose run has ended, however it did; returns the line that sums it up."""
    from jobs.preview_sample.service.running import close_preview

    return summary(close_preview(catalog, settings, record_id, run))


def summary(record: Preview) -> str:
    """Say in one line what became of a preview."""
    if record.status is not PreviewStatus.DONE or record.result is None:
        return f"preview {record.id} is {record.status}" + (f": {record.reason}" if record.reason else "")
    result = PreviewResult.model_validate(record.result)
    total = next(row for row in result.changes if row.kind == "total")
    change = "" if total.change is None else f" ({total.change:+d} since the report before)"
    how = "exact" if result.status.sampling_ratio == 1 else f"a sample of {result.status.sampling_ratio:.2%}"
    return (
        f"preview {record.id}: {total.profiles} profiles{change} of {result.status.total_fragment_count} fragments, "
        f"{len(result.dataset)} datasets, {len(result.namespace)} namespaces; {how}; in {result.seconds:.0f} s"
    )


def _check_instant(as_of: datetime | None, now: datetime) -> None:
    if as_of is not None and as_of > now:
        raise InvalidRequest(
            f"as of {as_of.isoformat()}: that is to come; leave it out for now, or name an earlier one"
        )
