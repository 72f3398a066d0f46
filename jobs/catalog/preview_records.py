"""Which previews count. Every function runs in the caller's transaction."""

from datetime import datetime, timedelta

from sqlalchemy import select

from jobs.catalog.job_records import Ledger
from jobs.catalog.job_schema import PreviewRow
from jobs.catalog.previews import Preview, PreviewStatus
from jobs.catalog.scope import Scope

PREVIEWS = Ledger(PreviewRow, Preview)


def newest(
    scope: Scope, status: PreviewStatus, since: datetime | None = None, before: datetime | None = None
) -> Preview | None:
    """Return the preview of a status with the latest instant in [since, before); None when there is none."""
    wanted = select(PreviewRow).where(PreviewRow.sandbox == scope.sandbox, PreviewRow.status == status)
    if since is not None:
        wanted = wanted.where(PreviewRow.at >= since)
    if before is not None:
        wanted = wanted.where(PreviewRow.at < before)
    # Of two of one instant the one that was asked for later.
    order = (PreviewRow.at.desc(), PreviewRow.created_at.desc(), PreviewRow.id.desc())
    row = scope.session.scalar(wanted.order_by(*order).limit(1))
    return None if row is None else PREVIEWS.read(row)


def next_instant(scope: Scope) -> datetime:
    """Return now; or an instant after the newest reports, which may have been made before a clock was set back."""
    last = newest(scope, PreviewStatus.DONE)
    return scope.now if last is None else max(scope.now, last.at + timedelta(microseconds=1))


def failed_ids(scope: Scope, limit: int) -> list[str]:
    """List the newest previews that failed for good: their rows in `reports/*` count no more."""
    wanted = select(PreviewRow.id).where(PreviewRow.sandbox == scope.sandbox, PreviewRow.status == PreviewStatus.FAILED)
    return list(scope.session.scalars(wanted.order_by(PreviewRow.created_at.desc()).limit(limit)))
