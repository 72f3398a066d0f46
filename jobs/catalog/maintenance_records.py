"""Maintenances as records: at most one runs in a sandbox. Every function runs in the caller's transaction.

```
NEW ──begin──► RUNNING ──end──► DONE
                 │  ▲ └─begin by the next attempt
                 ▼  └──begin
               FAILED
```

A maintenance holds its place by a lease, like an attempt at a batch: whoever stops renewing it can be taken over, after
its Spark work is ended.
"""

import secrets
from datetime import timedelta
from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import select

from jobs.catalog.records import Attempt
from jobs.catalog.schema import MaintenanceRow
from jobs.catalog.scope import Scope
from jobs.errors import Conflict, NotFound, shortened


class MaintenanceStatus(StrEnum):
    """Where a maintenance is in its life."""

    NEW = "NEW"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


class Maintenance(BaseModel):
    """Record of one maintenance; a copy, as it was when it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    sandbox: str
    status: MaintenanceStatus
    request: dict[str, Any] = {}
    run: str = Field(default="", description="Run that created it, then the run of its last attempt")
    attempt: str | None = Field(default=None, description="Id of the last attempt")
    session_id: str = Field(default="", description="Spark session that does its work now")
    engine: str = ""
    result: dict[str, Any] | None = Field(default=None, description="What the last attempt did, step by step")
    reason: str | None = Field(default=None, description="Why the last attempt failed")
    expires_at: AwareDatetime | None = Field(default=None, description="End of the lease unless it is renewed")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class MaintenanceBusy(Conflict):
    """Another maintenance of the sandbox is running."""

    def __init__(self, holder: Maintenance) -> None:
        self.holder = holder
        super().__init__(
            f"maintenance {holder.id!r} of sandbox {holder.sandbox!r} is running ({holder.run or 'unnamed run'}, lease "
            f"until {holder.expires_at and holder.expires_at.isoformat(timespec='seconds')}); one runs at a time, so "
            "wait for it or cancel it"
        )


class StaleMaintenance(Conflict):
    """A former attempt may still have work running: end its session, and begin again with `takes_over`."""

    def __init__(self, holder: Maintenance) -> None:
        self.holder = holder
        super().__init__(f"maintenance {holder.id!r} was left by attempt {holder.attempt!r}; end its work first")


def create(scope: Scope, request: dict[str, Any], run: str) -> Maintenance:
    """Record a maintenance that is asked for."""
    row = MaintenanceRow(
        sandbox=scope.sandbox,
        id=f"{scope.now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        status=MaintenanceStatus.NEW,
        request=request,
        run=run,
        session_id="",
        engine="",
        created_at=scope.now,
        updated_at=scope.now,
    )
    scope.session.add(row)
    scope.record("maintenance", row.id, None, MaintenanceStatus.NEW, run)
    scope.session.flush()
    return _as_record(row)


def begin(scope: Scope, maintenance_id: str, attempt: Attempt, takes_over: str | None) -> Maintenance:
    """Let an attempt run a maintenance. One that is DONE is returned as it is.

    Raises:
        NotFound: no such maintenance.
        MaintenanceBusy: another one is running.
        StaleMaintenance: a former attempt, at this one or at one whose lease expired, is not the one in `takes_over`.
        Conflict: another process began at the same moment.
    """
    row = _row(scope, maintenance_id)
    if row.status == MaintenanceStatus.DONE:
        return _as_record(row)
    holder = _running(scope)
    if holder is not None:
        if holder.id != row.id and holder.expires_at is not None and holder.expires_at > scope.now:
            raise MaintenanceBusy(_as_record(holder))
        if holder.attempt != takes_over:
            raise StaleMaintenance(_as_record(holder))
        if holder.id != row.id:
            reason = f"attempt {holder.attempt} stopped renewing its lease"
            _move(scope, holder, MaintenanceStatus.FAILED, attempt.run, reason)
            scope.session.flush()
    row.attempt, row.engine, row.session_id = attempt.id, attempt.engine, attempt.session_id
    row.run = attempt.run or row.run
    row.reason = None
    row.expires_at = scope.now + timedelta(seconds=attempt.lease_seconds)
    _move(scope, row, MaintenanceStatus.RUNNING, attempt.run)
    scope.session.flush()
    return _as_record(row)


def renew(scope: Scope, maintenance_id: str, attempt: Attempt) -> Maintenance:
    """Let the lease run for another span from now, and note the attempt's present Spark session.

    Raises:
        Conflict: the attempt does not run it any more.
    """
    row = _held(scope, maintenance_id, attempt)
    row.expires_at = scope.now + timedelta(seconds=attempt.lease_seconds)
    row.session_id = attempt.session_id
    return _as_record(row)


def end(
    scope: Scope, maintenance_id: str, attempt: Attempt, result: dict[str, Any] | None, reason: str | None
) -> Maintenance:
    """Make it DONE with its result, or FAILED when there is a reason.

    Raises:
        Conflict: the attempt does not run it any more.
    """
    row = _held(scope, maintenance_id, attempt)
    row.result = result
    status = MaintenanceStatus.DONE if reason is None else MaintenanceStatus.FAILED
    _move(scope, row, status, attempt.run, reason)
    return _as_record(row)


def listed(scope: Scope, limit: int) -> list[Maintenance]:
    """List maintenances, the newest first."""
    wanted = select(MaintenanceRow).where(MaintenanceRow.sandbox == scope.sandbox)
    rows = scope.session.scalars(wanted.order_by(MaintenanceRow.created_at.desc()).limit(limit))
    return [_as_record(row) for row in rows]


def found(scope: Scope, maintenance_id: str) -> Maintenance:
    """Return a maintenance; NotFound when there is none."""
    return _as_record(_row(scope, maintenance_id))


def _row(scope: Scope, maintenance_id: str) -> MaintenanceRow:
    key = (scope.sandbox, maintenance_id)
    row = scope.session.get(MaintenanceRow, key, populate_existing=True, with_for_update=True)
    if row is None:
        raise NotFound(f"no maintenance {shortened(maintenance_id)} in sandbox {scope.sandbox!r}")
    return row


def _running(scope: Scope) -> MaintenanceRow | None:
    wanted = select(MaintenanceRow).where(
        MaintenanceRow.sandbox == scope.sandbox, MaintenanceRow.status == MaintenanceStatus.RUNNING
    )
    return scope.session.scalar(wanted.with_for_update().execution_options(populate_existing=True))


def _held(scope: Scope, maintenance_id: str, attempt: Attempt) -> MaintenanceRow:
    row = _row(scope, maintenance_id)
    if row.status != MaintenanceStatus.RUNNING or row.attempt != attempt.id:
        raise Conflict(
            f"attempt {attempt.id!r} does not run maintenance {maintenance_id!r} any more: it is {row.status} (last "
            f"attempt {row.attempt!r}); stop this attempt's work"
        )
    return row


def _move(scope: Scope, row: MaintenanceRow, to: MaintenanceStatus, run: str, reason: str | None = None) -> None:
    before, row.status, row.updated_at = row.status, to, scope.now
    if to is not MaintenanceStatus.RUNNING:
        row.expires_at, row.reason = None, reason
    scope.record("maintenance", row.id, before, to, run, reason or f"attempt {row.attempt}")


def _as_record(row: MaintenanceRow) -> Maintenance:
    return Maintenance.model_validate({name: getattr(row, name) for name in Maintenance.model_fields})
