"""One attempt at a job of which one of its kind runs in a sandbox at a time: its turn.

Whoever takes a turn waits for the one before, ends what an attempt that died has left at work, keeps its lease while it
works, and notes why it failed. Nothing that it wrote counts before its record is done, so whoever comes next may begin
at any point.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from jobs.catalog.job_records import JobBusy, JobRecord, StaleJob
from jobs.catalog.records import Attempt, Busy, DatasetBusy
from jobs.errors import Conflict, EngineAway, StoreError, TesseraError
from jobs.lake.staged import remove_staged
from jobs.lake.store import Store
from jobs.session.client import interrupt, new_session_id, recorded_as
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.session.running import run_job
from jobs.settings import Settings

logger = logging.getLogger(__name__)

Record = TypeVar("Record", bound=JobRecord)
# Why a job failed whose attempt said nothing.
LEFT = "cancelled, or killed, before it was done"


@dataclass(frozen=True)
class Records(Generic[Record]):
    """What a catalog does with the records of one kind of job.

    Args:
        begin: (record id, attempt, the attempt that it takes over), see `Ledger.begin`.
        renew: (record id, attempt), see `Ledger.renew`.
        fail: (record id, attempt id, reason, whether for good, run), see `Ledger.fail`.
        find: (record id).
    """

    begin: Callable[[str, Attempt, Attempt | None], Record]
    renew: Callable[[str, Attempt], Record]
    fail: Callable[[str, str, str, bool, str], Record]
    find: Callable[[str], Record]


@dataclass
class Turn(Generic[Record]):
    """One attempt at a job that holds its lease.

    Args:
        settings: of this installation.
        engine: where Spark work is done.
        records: of its kind.
        record: the job, as it was when the attempt began.
        attempt: who runs it; its session is that of the Spark job that runs now.
        progress: shows how far it is.
        has_spark: whether a Spark job of this attempt was begun.
    """

    settings: Settings
    engine: Engine
    records: Records[Record]
    record: Record
    attempt: Attempt
    progress: LogProgress
    has_spark: bool = False

    def renew(self) -> None:
        """Let the lease run on; Conflict when another attempt took over."""
        self.records.renew(self.record.id, self.attempt)

    def spark(self, function: Callable[..., Any], plan: BaseModel) -> Any:  # what `function` returns
        """Run a job's function on the engine, by a session that is on the record first."""
        self.attempt = self.attempt.model_copy(update={"session_id": new_session_id()})
        self.renew()
        self.has_spark = True
        return run_job(self.settings, self.engine, function, plan, self.attempt.session_id, self.progress)

    def end_spark(self) -> None:
        """End the Spark job that runs now, or may run still; StoreError when nobody can say whether it does."""
        if self.has_spark:
            seconds = self.settings.ingest.interrupt_timeout_seconds
            interrupt(self.settings, self.engine, self.attempt.session_id, seconds)


def take_turn(
    settings: Settings,
    engine: Engine,
    records: Records[Record],
    record_id: str,
    run: str,
    work: Callable[[Turn[Record]], Record],
    progress: LogProgress | None = None,
    wait_seconds: float = 0,
) -> Record:
    """Run one attempt at a job. One that is done is returned as it is.

    Args:
        settings: of this installation.
        engine: where the Spark work is done.
        records: of its kind, in the sandbox.
        record_id: the job.
        run: who asks, noted with the record and in every commit.
        work: does the job, and makes its record done.
        progress: shows how far it is; to the log by default.
        wait_seconds: how long to wait while another job of the kind runs.

    Raises:
        JobBusy: another one still runs.
        TesseraError: of any kind; the job is FAILED with the reason. When the engine is away it stays at work, for the
            same command to take up again.
        SystemExit: this process was told to end; whoever sent the signal closes the job, or runs it again.
    """
    progress = progress or LogProgress()
    attempt = new_attempt(settings, engine, run)
    record = _begin(settings, records, record_id, attempt, progress, wait_seconds)
    if record.status == record.done:
        return record
    turn = Turn(settings, engine, records, record, attempt, progress)
    try:
        with kept_renewed(turn.renew, turn.end_spark, attempt.lease_seconds):
            return work(turn)
    except BaseException as failed:
        _fail(turn, failed)
        raise


def take_over(
    settings: Settings, records: Records[Record], record_id: str, run: str, progress: LogProgress | None = None
) -> Turn[Record]:
    """Take a job that is at work over from whoever runs it, after its Spark work is ended, to close it another way.

    Args:
        settings: of this installation.
        records: of its kind, in the sandbox.
        record_id: the job.
        run: who asks.
        progress: shows how far it is; to the log by default.

    Returns:
        a turn on the engine of the former attempt; its record is done when that attempt came to its end meanwhile.

    Raises:
        StoreError: the engine is away; nothing is changed.
    """
    progress = progress or LogProgress()
    engine = Engine.parse(records.find(record_id).engine or settings.engine.spark)
    attempt = new_attempt(settings, engine, run)
    record = _begin(settings, records, record_id, attempt, progress, 0)
    return Turn(settings, engine, records, record, attempt, progress)


def is_left(record: JobRecord, run: str) -> bool:
    """Tell whether a job is at work by the run that a closing task belongs to: its own attempts are over then.

    Args:
        record: the job.
        run: <dag>/<run>/<task>/<try> of the closing task.
    """
    return record.status == record.at_work and record.run.split("/")[:2] == run.split("/")[:2]


def close_left(settings: Settings, records: Records[Record], record_id: str, run: str) -> Record:
    """Close a job that its run leaves behind; one that another run works at is left to it.

    Args:
        settings: of this installation.
        records: of its kind, in the sandbox.
        record_id: the job.
        run: <dag>/<run>/<task>/<try> of the closing task.
    """
    record = records.find(record_id)
    if is_left(record, run) and record.attempt:
        try:
            _end_work_of(settings, record)
            reason = record.reason or LEFT
            records.fail(record_id, record.attempt, reason, True, run)
        except TesseraError as refused:
            logger.warning("%s %s is left %s, unseen by readers: %s", record.noun, record_id, record.status, refused)
    return records.find(record_id)


def new_attempt(settings: Settings, engine: Engine, run: str) -> Attempt:
    """Make the record of a new attempt on an engine."""
    return Attempt(
        id=uuid.uuid4().hex,
        session_id=new_session_id(),
        engine=recorded_as(settings, engine),
        run=run,
        lease_seconds=settings.ingest.lease_seconds,
    )


@contextmanager
def kept_renewed(renew: Callable[[], object], end_work: Callable[[], None], lease_seconds: float) -> Iterator[None]:
    """Keep a lease while the block runs.

    Args:
        renew: lets it run for another span; raises Conflict when it is lost.
        end_work: ends what the holder does, when it is lost.
        lease_seconds: the span.

    Raises:
        Conflict: the lease was lost to another holder.
    """
    ended = threading.Event()
    lost: list[Conflict] = []

    def keep() -> None:
        while not ended.wait(lease_seconds / 3):
            try:
                renew()
            except Conflict as refused:
                lost.append(refused)
                end_work()
                return
            except StoreError as refused:
                logger.warning("the lease was not renewed, trying again: %s", refused)

    renewing = threading.Thread(target=keep, name="lease", daemon=True)
    renewing.start()
    try:
        yield
    except Exception as failed:
        if lost:
            raise lost[0] from failed
        raise
    finally:
        ended.set()
        renewing.join()


def _begin(
    settings: Settings,
    records: Records[Record],
    record_id: str,
    attempt: Attempt,
    progress: LogProgress,
    wait_seconds: float,
) -> Record:
    gives_up_at = time.monotonic() + wait_seconds
    takes_over: Attempt | None = None
    told = False
    while True:
        try:
            return records.begin(record_id, attempt, takes_over)
        except (JobBusy, DatasetBusy) as busy:
            if time.monotonic() > gives_up_at:
                raise
            if not told:
                progress.say(f"waiting: {busy}")
                told = True
            time.sleep(settings.ingest.poll_seconds)
        except StaleJob as stale:
            # Once more when it went on to another session meanwhile, as one does that undoes what it wrote.
            _end_work_of(settings, stale.holder)
            takes_over = stale.attempt


def _end_work_of(settings: Settings, holder: JobRecord) -> None:
    logger.info("ending the Spark work of attempt %s (session %s)", holder.attempt, holder.session_id)
    if holder.session_id and holder.engine:
        seconds = settings.ingest.interrupt_timeout_seconds
        interrupt(settings, Engine.parse(holder.engine), holder.session_id, seconds)
    if holder.attempt:
        remove_staged(Store(settings.store_root, holder.sandbox), holder.attempt)


def _fail(turn: Turn[Record], failed: BaseException) -> None:
    """Record a failure without hiding it behind another one."""
    is_told_to_end = isinstance(failed, SystemExit)
    reason = "cancelled: its process was told to end" if is_told_to_end else str(failed) or type(failed).__name__
    # What is busy now, or away, will be free or back.
    final = not (is_told_to_end or isinstance(failed, StoreError | Busy))
    try:
        if isinstance(failed, EngineAway):
            # Else whoever comes next would wait for an engine that may never have been there.
            turn.attempt = turn.attempt.unbegun()
            turn.renew()
        turn.records.fail(turn.record.id, turn.attempt.id, reason, final, turn.attempt.run)
    except TesseraError as also:
        logger.warning("%s %s: the failure could not be recorded: %s", turn.record.noun, turn.record.id, also)
