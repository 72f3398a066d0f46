"""Previews as records: at most one runs in a sandbox. Every function runs in the caller's transaction."""

import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from jobs.catalog.previews import Preview, PreviewBusy, PreviewStatus, StalePreview
from jobs.catalog.records import Attempt
from jobs.catalog.schema import PreviewRow
from jobs.catalog.scope import Scope
from jobs.errors import Conflict, NotFound, shortened

_KIND = "preview"
_REASON_CHARACTERS = 4000


def create(scope: Scope, request: dict[str, Any], at: datetime | None, run: str) -> Preview:
    """Record a preview that is asked for.

    Args:
        scope: the transaction.
        request: what was asked.
        at: instant of the report; None: now.
        run: who asks.
    """
    row = PreviewRow(
        sandbox=scope.sandbox,
        id=f"{scope.now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        status=PreviewStatus.NEW,
        at=at or scope.now,
        request=request,
        run=run,
        session_id="",
        engine="",
        created_at=scope.now,
        updated_at=scope.now,
    )
    scope.session.add(row)
    scope.record(_KIND, row.id, None, PreviewStatus.NEW, run)
    scope.session.flush()
    return _as_record(row)


def begin(scope: Scope, preview_id: str, attempt: Attempt, takes_over: str | None) -> Preview:
    """Let an attempt run a preview. One that is DONE is returned as it is.

    Raises:
        NotFound: no such preview.
        PreviewBusy: another one is running.
        StalePreview: a former attempt, at this one or at one whose lease expired, is not the one in `takes_over`.
        Conflict: another process began at the same moment.
    """
    row = _row(scope, preview_id)
    if row.status == PreviewStatus.DONE:
        return _as_record(row)
    holder = _running(scope)
    if holder is not None:
        if holder.id != row.id and holder.expires_at is not None and holder.expires_at > scope.now:
            raise PreviewBusy(_as_record(holder))
        if holder.attempt != takes_over:
            raise StalePreview(_as_record(holder))
        if holder.id != row.id:
            reason = f"attempt {holder.attempt} stopped renewing its lease"
            _move(scope, holder, PreviewStatus.FAILED, attempt.run, reason)
            scope.session.flush()
    row.attempt, row.engine, row.session_id = attempt.id, attempt.engine, attempt.session_id
    row.run = attempt.run or row.run
    row.expires_at = scope.now + timedelta(seconds=attempt.lease_seconds)
    _move(scope, row, PreviewStatus.RUNNING, attempt.run)
    scope.session.flush()
    return _as_record(row)


def renew(scope: Scope, preview_id: str, attempt: Attempt) -> Preview:
    """Let its lease run for another span from now; Conflict when the attempt does not run it any more."""
    row = _held(scope, preview_id, attempt.id)
    row.expires_at = scope.now + timedelta(seconds=attempt.lease_seconds)
    return _as_record(row)


def finish(scope: Scope, preview_id: str, attempt: Attempt, result: dict[str, Any]) -> Preview:
    """Make it DONE with its reports, which readers see from now on.

    Raises:
        Conflict: the attempt does not run it any more.
    """
    row = _row(scope, preview_id)
    if row.status == PreviewStatus.DONE and row.attempt == attempt.id:
        return _as_record(row)
    row = _held(scope, preview_id, attempt.id)
    row.result = result
    _move(scope, row, PreviewStatus.DONE, attempt.run)
    return _as_record(row)


def fail(scope: Scope, preview_id: str, attempt_id: str, reason: str, final: bool, run: str) -> Preview:
    """Note why an attempt failed. Without `final` it stays RUNNING for a retry, its lease expired.

    Raises:
        Conflict: the attempt does not run it any more.
    """
    row = _held(scope, preview_id, attempt_id)
    reason = reason.replace("\0", "").encode(errors="replace").decode()[:_REASON_CHARACTERS]
    if final:
        _move(scope, row, PreviewStatus.FAILED, run, reason)
    else:
        row.expires_at, row.reason, row.updated_at = scope.now, reason, scope.now
        scope.record(_KIND, row.id, row.status, row.status, run, f"attempt {attempt_id} failed: {reason}")
    return _as_record(row)


def found(scope: Scope, preview_id: str) -> Preview:
    """Return a preview; NotFound when there is none."""
    return _as_record(_row(scope, preview_id))


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
    return None if row is None else _as_record(row)


def failed_ids(scope: Scope, limit: int) -> list[str]:
    """List the newest previews that failed for good: their rows in `reports/*` count no more."""
    wanted = select(PreviewRow.id).where(PreviewRow.sandbox == scope.sandbox, PreviewRow.status == PreviewStatus.FAILED)
    return list(scope.session.scalars(wanted.order_by(PreviewRow.created_at.desc()).limit(limit)))


def listed(scope: Scope, limit: int) -> list[Preview]:
    """List previews, those asked for last first."""
    wanted = select(PreviewRow).where(PreviewRow.sandbox == scope.sandbox)
    rows = scope.session.scalars(wanted.order_by(PreviewRow.created_at.desc(), PreviewRow.id.desc()).limit(limit))
    return [_as_record(row) for row in rows]


def _row(scope: Scope, preview_id: str) -> PreviewRow:
    key = (scope.sandbox, preview_id)
    row = scope.session.get(PreviewRow, key, populate_existing=True, with_for_update=True)
    if row is None:
        raise NotFound(f"no preview {shortened(preview_id)} in sandbox {scope.sandbox!r}")
    return row


def _running(scope: Scope) -> PreviewRow | None:
    wanted = select(PreviewRow).where(PreviewRow.sandbox == scope.sandbox, PreviewRow.status == PreviewStatus.RUNNING)
    return scope.session.scalar(wanted.with_for_update().execution_options(populate_existing=True))


def _held(scope: Scope, preview_id: str, attempt_id: str) -> PreviewRow:
    row = _row(scope, preview_id)
    if row.status != PreviewStatus.RUNNING or row.attempt != attempt_id:
        raise Conflict(
            f"attempt {attempt_id!r} does not run preview {preview_id!r} any more: it is {row.status} (last attempt "
            f"{row.attempt!r}); stop this attempt's work"
        )
    return row


def _move(scope: Scope, row: PreviewRow, to: PreviewStatus, run: str, reason: str | None = None) -> None:
    before, row.status, row.reason, row.updated_at = row.status, to, reason, scope.now
    if to is not PreviewStatus.RUNNING:
        row.expires_at = None
    scope.record(_KIND, row.id, before, to, run, reason or f"attempt {row.attempt}")


def _as_record(row: PreviewRow) -> Preview:
    return Preview.model_validate({name: getattr(row, name) for name in Preview.model_fields})
