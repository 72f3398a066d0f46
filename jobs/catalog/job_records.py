"""The records of jobs of which one of a kind runs in a place at a time.

```
NEW ──begin──► at work ──finish──► done
                 │  ▲ └─begin by the next attempt
                 ▼  └──begin
               FAILED
```

Each kind has its own words for *at work* and *done*, and some can be cancelled: from NEW, or by the attempt that holds
it. The place is the sandbox, or what a column of the kind names in it. A job holds its place by a lease, like an
attempt at a batch: whoever stops renewing it can be taken over, after its Spark work is ended. Every function of a
ledger runs in the caller's transaction.
"""

import secrets
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import select

from jobs.catalog.job_schema import JobRow
from jobs.catalog.records import Attempt, Busy
from jobs.catalog.schema import EventRow
from jobs.catalog.scope import Scope
from jobs.errors import Conflict, NotFound, shortened

_NEW, _FAILED = "NEW", "FAILED"
_REASON_CHARACTERS = 4000


class JobRecord(BaseModel):
    """Record of one job; a copy, as it was when it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    noun: ClassVar[str]
    at_work: ClassVar[StrEnum]
    done: ClassVar[StrEnum]
    cancelled: ClassVar[StrEnum | None] = None

    id: str
    sandbox: str
    status: StrEnum
    request: dict[str, Any] = {}
    run: str = Field(default="", description="Run that created it, then the run of its last attempt")
    attempt: str | None = Field(default=None, description="Id of the last attempt")
    session_id: str = Field(default="", description="Spark session that does its work now")
    engine: str = ""
    result: dict[str, Any] | None = Field(default=None, description="What the last attempt did")
    reason: str | None = Field(default=None, description="Why the last attempt failed")
    expires_at: AwareDatetime | None = Field(default=None, description="End of the lease unless it is renewed")
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @property
    def place(self) -> str:
        """Where no other job of the kind runs beside it, in words."""
        return f"sandbox {self.sandbox!r}"


class JobBusy(Busy):
    """Another job of the kind is at work in the same place; wait until its lease is free or has expired."""

    def __init__(self, holder: JobRecord) -> None:
        self.holder = holder
        until = holder.expires_at and holder.expires_at.isoformat(timespec="seconds")
        super().__init__(
            f"{holder.noun} {holder.id!r} of {holder.place} is running ({holder.run or 'unnamed run'}, "
            f"lease until {until}); one runs at a time, so wait for it or cancel it"
        )


class StaleJob(Conflict):
    """A former attempt may still have work running: end its session, and begin again with `takes_over=attempt`."""

    def __init__(self, holder: JobRecord) -> None:
        self.holder = holder
        self.attempt = Attempt(id=str(holder.attempt), session_id=holder.session_id, engine=holder.engine)
        super().__init__(f"{holder.noun} {holder.id!r} was left by attempt {holder.attempt!r}; end its work first")


Row = TypeVar("Row", bound=JobRow)
Record = TypeVar("Record", bound=JobRecord)


class Ledger(Generic[Row, Record]):
    """The records of one kind of job.

    Args:
        row: their table.
        record: what is read of it.
        on_begin: what else an attempt that begins changes in the row, before its status.
        on_take: looks at a job whose lease expired before another one takes its place; may raise Busy.
        place: column that names the place in which one runs at a time; empty: the sandbox as a whole.
    """

    def __init__(
        self,
        row: type[Row],
        record: type[Record],
        on_begin: Callable[[Scope, Row], None] = lambda scope, row: None,
        on_take: Callable[[Scope, Row], None] = lambda scope, row: None,
        place: str = "",
    ) -> None:
        self._row = row
        self._record = record
        self._on_begin = on_begin
        self._on_take = on_take
        self._place = place

    def create(self, scope: Scope, request: dict[str, Any], run: str, record_id: str = "", **more: Any) -> Record:
        """Record a job that is asked for; without an id it gets one. `more` are columns of its own kind."""
        row = self._row(
            sandbox=scope.sandbox,
            id=record_id or f"{scope.now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
            status=_NEW,
            request=request,
            run=run,
            session_id="",
            engine="",
            created_at=scope.now,
            updated_at=scope.now,
            **more,
        )
        scope.session.add(row)
        scope.record(self._record.noun, row.id, None, _NEW, run)
        scope.session.flush()
        return self.read(row)

    def waiting(self, scope: Scope, request: dict[str, Any], run: str, shared: bool = True) -> Record | None:
        """Return the job that was asked for in the same words and has not begun.

        Args:
            scope: the transaction.
            request: what is asked.
            run: <dag>/<run>/…; None is returned for a command.
            shared: whether another run of the DAG may have asked for it.
        """
        if "/" not in run:
            # Each command is about to begin its own, and of two attempts at one job the second ends the first.
            return None
        asking = "/".join(run.split("/")[: 1 if shared else 2])
        own = self._row.run.startswith(f"{asking}/", autoescape=True)
        asked = select(self._row).where(self._row.sandbox == scope.sandbox, self._row.status == _NEW, own)
        rows = scope.session.scalars(asked.order_by(self._row.created_at))
        return next((self.read(row) for row in rows if row.request == request), None)

    def begin(self, scope: Scope, record_id: str, attempt: Attempt, takes_over: Attempt | None) -> Record:
        """Let an attempt run a job. One that is done is returned as it is.

        Raises:
            NotFound: no such job.
            JobBusy: another one is running.
            Busy: the lease of another one expired, and it has to come to its end all the same.
            StaleJob: a former attempt, at this one or at one whose lease expired, is not the one in `takes_over`, or
                went on to another Spark session since that one was ended.
            Conflict: it was cancelled, or another process began at the same moment.
        """
        row = self.locked(scope, record_id)
        if row.status == self._record.done:
            return self.read(row)
        if row.status == self._record.cancelled:
            raise Conflict(f"{self._record.noun} {record_id!r} was cancelled; ask for it anew")
        holder = self._holder(scope, row)
        if holder is not None:
            if holder.id != row.id and holder.expires_at is not None and holder.expires_at > scope.now:
                raise JobBusy(self.read(holder))
            if holder.id != row.id:
                self._on_take(scope, holder)
            if takes_over is None or (holder.attempt, holder.session_id) != (takes_over.id, takes_over.session_id):
                raise StaleJob(self.read(holder))
            if holder.id != row.id:
                reason = f"attempt {holder.attempt} stopped renewing its lease, and {row.id} took its place"
                self.move(scope, holder, _FAILED, attempt.run, reason)
                scope.session.flush()
        self._on_begin(scope, row)
        row.attempt, row.engine, row.session_id = attempt.id, attempt.engine, attempt.session_id
        row.run = attempt.run or row.run
        row.expires_at = scope.now + timedelta(seconds=attempt.lease_seconds)
        self.move(scope, row, self._record.at_work, attempt.run)
        scope.session.flush()
        return self.read(row)

    def renew(self, scope: Scope, record_id: str, attempt: Attempt) -> Record:
        """Let the lease run for another span from now, and note the attempt's present Spark session and its engine.

        Raises:
            Conflict: the attempt does not run it any more.
        """
        row = self.held(scope, record_id, attempt.id)
        row.expires_at = scope.now + timedelta(seconds=attempt.lease_seconds)
        row.session_id, row.engine = attempt.session_id, attempt.engine
        return self.read(row)

    def finish(
        self,
        scope: Scope,
        record_id: str,
        attempt: Attempt,
        result: dict[str, Any],
        also: Callable[[Row], None] = lambda row: None,
    ) -> Record:
        """Make a job done with its result; again by the same attempt it is returned as it is.

        Args:
            scope: the transaction.
            record_id: the job.
            attempt: who runs it.
            result: what it did.
            also: what else appears together with it.

        Raises:
            Conflict: the attempt does not run it any more.
        """
        row = self.locked(scope, record_id)
        if row.status == self._record.done and row.attempt == attempt.id:
            return self.read(row)
        row = self.held(scope, record_id, attempt.id)
        row.result = result
        also(row)
        self.move(scope, row, self._record.done, attempt.run)
        scope.session.flush()
        return self.read(row)

    def fail(
        self,
        scope: Scope,
        record_id: str,
        attempt_id: str,
        reason: str,
        final: bool,
        run: str,
        result: dict[str, Any] | None = None,
    ) -> Record:
        """Note why an attempt failed, and what it did. Without `final` it stays at work for a retry, its lease expired.

        Raises:
            Conflict: the attempt does not run it any more.
        """
        row = self.held(scope, record_id, attempt_id)
        reason = _cleaned(reason)
        row.result = result
        if final:
            self.move(scope, row, _FAILED, run, reason)
        else:
            row.expires_at, row.reason, row.updated_at = scope.now, reason, scope.now
            note = f"attempt {attempt_id} failed: {reason}"
            scope.record(self._record.noun, row.id, row.status, row.status, run, note)
        return self.read(row)

    def cancel(
        self, scope: Scope, record_id: str, attempt: Attempt | None, run: str, reason: str = "cancelled"
    ) -> Record:
        """Cancel a job that has not begun, or the one that an attempt holds, after its Spark work is gone.

        One that was cancelled before is returned as it is.

        Raises:
            NotFound: no such job.
            Conflict: without an attempt, it has begun or is over; with one, the attempt does not run it any more.
        """
        row = self.locked(scope, record_id)
        if row.status == self._record.cancelled:
            return self.read(row)
        row = row if attempt is None else self.held(scope, record_id, attempt.id)
        if attempt is None and row.status != _NEW:
            over = "at work" if row.status == self._record.at_work else f"{row.status} already"
            raise Conflict(f"{self._record.noun} {record_id!r} is {over}; only one that is not over can be cancelled")
        self.move(scope, row, str(self._record.cancelled), run, _cleaned(reason))
        return self.read(row)

    def found(self, scope: Scope, record_id: str) -> Record:
        """Return a job; NotFound when there is none."""
        return self.read(self.locked(scope, record_id))

    def came_to_nothing(self, scope: Scope, attempt_id: str) -> bool:
        """Tell whether an attempt began a job and has not made it done; of one that was never here nothing is said."""
        done = select(self._row.id).where(
            self._row.sandbox == scope.sandbox, self._row.status == self._record.done, self._row.attempt == attempt_id
        )
        # By the events, since a row tells of its last attempt only.
        began = select(EventRow.id).where(
            EventRow.sandbox == scope.sandbox,
            EventRow.kind == self._record.noun,
            EventRow.to_status == self._record.at_work,
            EventRow.note == _noted(attempt_id),
        )
        return scope.session.scalar(done) is None and scope.session.scalar(began.limit(1)) is not None

    def listed(self, scope: Scope, limit: int) -> list[Record]:
        """List jobs, those asked for last first."""
        wanted = select(self._row).where(self._row.sandbox == scope.sandbox)
        newest = wanted.order_by(self._row.created_at.desc(), self._row.id.desc())
        return [self.read(row) for row in scope.session.scalars(newest.limit(limit))]

    def read(self, row: Row) -> Record:
        """Return a row as a record."""
        return self._record.model_validate({name: getattr(row, name) for name in self._record.model_fields})

    def locked(self, scope: Scope, record_id: str) -> Row:
        """Return a job's row, which nobody else changes in this transaction; NotFound when there is none."""
        key = (scope.sandbox, record_id)
        row = scope.session.get(self._row, key, populate_existing=True, with_for_update=True)
        if row is None:
            raise NotFound(f"no {self._record.noun} {shortened(record_id)} in sandbox {scope.sandbox!r}")
        return row

    def _holder(self, scope: Scope, row: Row) -> Row | None:
        at_work = self._row.status == self._record.at_work
        wanted = select(self._row).where(self._row.sandbox == scope.sandbox, at_work)
        if self._place:
            wanted = wanted.where(getattr(self._row, self._place) == getattr(row, self._place))
        return scope.session.scalar(wanted.with_for_update().execution_options(populate_existing=True))

    def held(self, scope: Scope, record_id: str, attempt_id: str) -> Row:
        """Return the row of a job that an attempt runs; Conflict when it does not any more."""
        row = self.locked(scope, record_id)
        if row.status != self._record.at_work or row.attempt != attempt_id:
            raise Conflict(
                f"attempt {attempt_id!r} does not run {self._record.noun} {record_id!r} any more: it is {row.status} "
                f"(last attempt {row.attempt!r}); it was cancelled or taken over meanwhile"
            )
        return row

    def move(self, scope: Scope, row: Row, to: str, run: str, reason: str | None = None) -> None:
        """Bring a job to another status, and write it down."""
        before, row.status, row.reason, row.updated_at = row.status, to, reason, scope.now
        if to != self._record.at_work:
            row.expires_at = None
        scope.record(self._record.noun, row.id, before, to, run, reason or _noted(row.attempt))


def _noted(attempt_id: str | None) -> str:
    return f"attempt {attempt_id}"


def _cleaned(reason: str) -> str:
    """Give a reason the form that every database keeps."""
    return reason.replace("\0", "").encode(errors="replace").decode()[:_REASON_CHARACTERS]
