"""Export jobs as readers get them: the object of the guide, and lists page by page."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jobs.catalog.database import Catalog
from jobs.catalog.exports import ExportJob, ExportStatus
from jobs.errors import InvalidRequest, shortened
from jobs.exports.body import body_of
from jobs.exports.models import EXPORTS, ExportParams, ExportResult, Span

MOST, USUAL = 100, 20
# When the job was asked for, in milliseconds, and its id.
_CURSOR = re.compile(r"(\d{1,15})_(\d{1,18})")


def document(job: ExportJob) -> dict[str, Any]:
    """Return an export job as the JSON document that the guide describes; its numbers are numbers."""
    result = ExportResult.model_validate(job.result) if job.status is ExportStatus.SUCCEEDED else None
    body = dict(body_of(ExportParams.model_validate(job.request)))
    is_failed = job.status in (ExportStatus.FAILED, ExportStatus.CANCELLED)
    destination = {"datasetId": job.dataset_id, "segmentPerBatch": False, "batchId": "" if is_failed else job.batch_id}
    policy = {"id": result.policy_id, "version": result.policy_version} if result else body.get("mergePolicy", {})
    failed = job.status is ExportStatus.FAILED
    return {
        "id": job.number,
        "profileInstanceId": "ups",
        "jobType": "BATCH",
        "fields": "",
        "filter": {},
        **body,
        "mergePolicy": policy,
        "destination": destination,
        "status": str(job.status),
        "requestId": job.run,
        "computeGatewayJobId": {"exportJob": job.session_id} if job.session_id else {},
        "errors": [{"code": "500", "msg": job.reason, "callStack": []}] if failed else [],
        "metrics": _metrics(job, result),
        "creationTime": _milliseconds(job.created_at),
        "updateTime": _milliseconds(job.updated_at),
        "sandbox": {"sandboxName": job.sandbox},
        "export": _export(job, result) if result else {"cut": job.cut},
    }


def page(
    catalog: Catalog, limit: int = USUAL, offset: str | None = None, status: ExportStatus | None = None
) -> dict[str, Any]:
    """List export jobs, the newest first, and the cursor of the next page.

    Args:
        catalog: opened in the sandbox.
        limit: jobs on the page.
        offset: cursor that the page before gave; None: the first page.
        status: only jobs of this status.

    Raises:
        InvalidRequest: the limit or the cursor breaks its rule.
    """
    if not 1 <= limit <= MOST:
        raise InvalidRequest(f"limit = {limit}: a page has 1 to {MOST} jobs")
    found = catalog.exports(limit, _before(offset), status)
    records = [document(job) for job in found.jobs]
    told = {"sortField": "createdTime", "sort": "desc", "pageOffset": offset or "", "pageSize": len(records)}
    link = {}
    if found.following is not None:
        kept = f"&status={status}" if status else ""
        link["next"] = f"/export/jobs/?limit={limit}&offset={cursor(found.following)}{kept}"
    return {"records": records, "page": told, "link": link}


def cursor(job: ExportJob) -> str:
    """Return the place in the list after a job."""
    return f"{_milliseconds(job.created_at)}_{job.number}"


def _before(offset: str | None) -> int | None:
    if offset is None:
        return None
    read = _CURSOR.fullmatch(offset)
    if read is None:
        raise InvalidRequest(
            f"offset = {shortened(offset)}: a cursor is <milliseconds>_<id>, as the page before gave it; "
            "leave it out for the first page"
        )
    return int(read[2])


def _metrics(job: ExportJob, result: ExportResult | None) -> Mapping[str, Any]:
    if result is None:
        return {"totalTime": {"startTimeInMs": _milliseconds(job.began_at)}} if job.began_at else {}
    return {
        "totalTime": _span(Span(begin=result.counted.begin, end=result.written.end)),
        "profileExportTime": _span(result.counted),
        "aCPDatasetWriteTime": _span(result.written),
        "totalExportedProfileCounter": result.profiles,
        "exportedProfileByNamespaceCounter": result.by_namespace,
    }


def _export(job: ExportJob, result: ExportResult) -> Mapping[str, Any]:
    """Tell what the guide's object has no place for."""
    return {
        "cut": result.cut,
        "version": result.tables[f"{EXPORTS}/{job.dataset_id}"].version,
        "leftOut": result.left_out,
        "seconds": round(result.seconds, 1),
        "bytes": result.bytes,
        "checksum": result.checksum,
        "manifest": result.manifest,
        "copies": result.copies,
        "tables": {name: written.model_dump() for name, written in result.tables.items()},
    }


def _span(span: Span) -> dict[str, int]:
    begin, end = _milliseconds(span.begin), _milliseconds(span.end)
    return {"startTimeInMs": begin, "endTimeInMs": end, "totalTimeInMs": end - begin}


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
