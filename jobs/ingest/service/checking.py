"""What an ingest would refuse, found by the job's own reading and judging; nothing is recorded or kept."""

import uuid
from datetime import UTC, datetime

from jobs.catalog.database import Catalog
from jobs.catalog.records import Batch, BatchStatus
from jobs.errors import Conflict
from jobs.ingest import job
from jobs.ingest.models import CheckPlan, CheckResult, IngestParams
from jobs.ingest.service.batches import IngestService
from jobs.ingest.service.files import headers
from jobs.lake.commits import CommitInfo
from jobs.session.client import new_session_id
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.session.running import run_job
from jobs.settings import Settings


def check(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    params: IngestParams,
    shown: int = 20,
    progress: LogProgress | None = None,
) -> CheckResult:
    """Judge the files of a request as `ingest` would, now.

    Takes no lease, so another batch may end between the check and the ingest; no row's rule depends on that, except
    through the instant (`ttl_days`) and a definition applied meanwhile.

    Args:
        catalog: opened in the sandbox to work in.
        settings: of this installation.
        engine: where the Spark work is done.
        params: what would be asked of `ingest`.
        shown: refused rows to show.
        progress: shows how far it is.

    Raises:
        TesseraError: what `ingest` would raise, except that a batch with too many refused rows is an answer here.
    """
    plan = _plan(catalog, settings, params, shown)
    result: CheckResult = run_job(settings, engine, job.check, plan, new_session_id(), progress)
    return result


def _plan(catalog: Catalog, settings: Settings, params: IngestParams, shown: int) -> CheckPlan:
    service = IngestService(catalog, settings)
    files = service.examine(params)
    _refuse_older_instant(catalog, params, service.create(params, files, "check", dry_run=True))
    record, now = catalog.dataset(params.dataset), datetime.now(UTC)
    # An id of its own: what it stages cannot meet what the batch itself stages.
    own = f"check-{uuid.uuid4().hex}"
    return CheckPlan(
        dataset=record.definition,
        namespaces=tuple(catalog.namespaces()),
        store_root=settings.store_root,
        sandbox=catalog.sandbox,
        generation=record.generation,
        in_profile=record.definition.enabled,
        batch_id=own,
        seq=record.last_seq + 1,
        at=params.at or max(now, record.last_at or now),
        files=tuple(files),
        headers=headers(files, record.definition),
        bounds=settings.ingest,
        commit=CommitInfo(job="check", batch=own, attempt=own),
        shown=shown,
    )


def _refuse_older_instant(catalog: Catalog, params: IngestParams, batch: Batch) -> None:
    last = catalog.dataset(params.dataset).last_at
    is_waiting = batch.status in (BatchStatus.NEW, BatchStatus.FAILED)
    if is_waiting and params.at is not None and last is not None and params.at < last:
        raise Conflict(
            f"ingestion instant {params.at.isoformat()}: dataset {params.dataset!r} is at {last.isoformat()}; an "
            "instant never goes back, so give that one or a later one"
        )
