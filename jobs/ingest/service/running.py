"""A whole ingest in this process: what `tessera ingest` does without a platform."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt, Batch, BatchStatus, DatasetBusy
from jobs.errors import Conflict, StoreError, TesseraError
from jobs.ingest import job
from jobs.ingest.models import IngestParams, IngestPlan, IngestResult
from jobs.ingest.service.batches import IngestService
from jobs.session.client import interrupt, new_session_id
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.session.running import run_job
from jobs.settings import Settings

logger = logging.getLogger(__name__)


def ingest(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    params: IngestParams,
    run: str = "cli",
    progress: LogProgress | None = None,
) -> Batch:
    """Accept a batch, run it, and record how it ended.

    A batch that is ACTIVE already is returned with its stored result; nothing is written. While another batch of the
    dataset runs, this one waits, up to `ingest.wait_seconds`.

    Args:
        catalog: opened in the sandbox to work in.
        settings: of this installation.
        engine: where the Spark work is done.
        params: what is asked.
        run: who asks, noted with the batch.
        progress: shows how far it is; to the log by default.

    Raises:
        TesseraError: of any kind; the batch is FAILED with the reason, its rows are removed, its quarantine stays.
            When the engine is away the rows cannot be removed: then the batch stays PROCESSING, unseen by readers, for
            the same command to take up again.
    """
    service = IngestService(catalog, settings)
    progress = progress or LogProgress()
    batch = service.accept(params, run)
    if batch.status is BatchStatus.ACTIVE:
        return batch
    attempt = new_attempt(settings, engine, run)
    plan = _begin(service, batch.id, attempt, settings, progress.say)
    if plan is None:
        return catalog.batch(batch.id)
    try:
        with renewed(catalog, settings, engine, attempt):
            result: IngestResult = run_job(settings, engine, job.run, plan, attempt.session_id, progress)
    except BaseException as failed:
        _fail(service, settings, engine, plan, attempt, failed)
        raise
    return service.finish(plan, attempt, result)


def new_attempt(settings: Settings, engine: Engine, run: str) -> Attempt:
    """Make the record of a new attempt on an engine."""
    return Attempt(
        id=uuid.uuid4().hex,
        session_id=new_session_id(),
        engine=str(engine),
        run=run,
        lease_seconds=settings.ingest.lease_seconds,
    )


@contextmanager
def renewed(catalog: Catalog, settings: Settings, engine: Engine, attempt: Attempt) -> Iterator[None]:
    """Keep an attempt's lease while the block runs. When the lease is lost the attempt's Spark work is ended.

    Raises:
        Conflict: the lease was lost to another attempt.
    """
    ended = threading.Event()
    lost: list[Conflict] = []

    def renew() -> None:
        while not ended.wait(attempt.lease_seconds / 3):
            try:
                catalog.renew(attempt)
            except Conflict as refused:
                lost.append(refused)
                interrupt(settings, engine, attempt.session_id, settings.ingest.interrupt_timeout_seconds)
                return
            except StoreError as refused:
                logger.warning("the lease was not renewed, trying again: %s", refused)

    renewing = threading.Thread(target=renew, name=f"lease-{attempt.id}", daemon=True)
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
    service: IngestService, batch_id: str, attempt: Attempt, settings: Settings, say: Callable[[str], None]
) -> IngestPlan | None:
    told = ""
    gives_up_at = time.monotonic() + settings.ingest.wait_seconds
    while True:
        try:
            return service.begin(batch_id, attempt)
        except DatasetBusy as busy:
            if time.monotonic() > gives_up_at:
                raise
            holder = busy.lease
            if holder.attempt.id != told:
                say(
                    f"waiting for batch {holder.batch_id} of {holder.dataset_id} ({holder.attempt.run or 'unnamed run'})"
                )
                told = holder.attempt.id
            time.sleep(settings.ingest.poll_seconds)


def _fail(
    service: IngestService,
    settings: Settings,
    engine: Engine,
    plan: IngestPlan,
    attempt: Attempt,
    failed: BaseException,
) -> None:
    """Record a failure without hiding it behind another one."""
    reason = str(failed) or type(failed).__name__
    try:
        if not isinstance(failed, StoreError):
            run_job(settings, engine, job.drop, plan, new_session_id())
        service.fail(plan.batch_id, attempt, reason, final=not isinstance(failed, StoreError))
    except TesseraError as also:
        logger.warning("batch %s: the failure could not be recorded: %s", plan.batch_id, also)
