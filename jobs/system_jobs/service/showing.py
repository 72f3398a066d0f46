"""System jobs as people and programs get them: the object of the guide, lists page by page, plans to decide upon."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from jobs.catalog.database import Catalog
from jobs.catalog.records import Event
from jobs.catalog.system_jobs import SystemJob, SystemJobStatus
from jobs.errors import InvalidRequest
from jobs.settings import Settings
from jobs.system_jobs.models import Plan

MOST = 100
_LAST_PAGE = 1_000_000
_PERCENT = re.compile(r", (\d{1,3}) %$")
# What Markdown and HTML read as more than a letter.
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+\-!|~&])")


def document(catalog: Catalog, job: SystemJob) -> dict[str, Any]:
    """Return a system job as the JSON document that the guide describes, with its plan and every event of it."""
    events = catalog.history(SystemJob.noun, job.id)
    return _document(job) | {"events": [_event(event) for event in events]}


def page(catalog: Catalog, start: int = 0, limit: int = MOST) -> dict[str, Any]:
    """List system jobs, the oldest first.

    Args:
        catalog: opened in the sandbox.
        start: number of the page, from 0.
        limit: jobs on a page.

    Raises:
        InvalidRequest: either breaks its rule.
    """
    if not 0 <= start <= _LAST_PAGE:
        raise InvalidRequest(f"start = {start}: the number of a page, from 0 to {_LAST_PAGE}")
    if not 1 <= limit <= MOST:
        raise InvalidRequest(f"limit = {limit}: a page has 1 to {MOST} jobs")
    found = catalog.system_jobs(start, limit)
    told: dict[str, Any] = {"pageSize": len(found.jobs), "start": start, "totalCount": found.total}
    if (start + 1) * limit < found.total:
        told["next"] = f"/system/jobs?start={start + 1}&limit={limit}"
    return {"_page": told, "children": [_document(job) for job in found.jobs]}


def question(job: SystemJob) -> str:
    """Put in one line what there is to decide upon."""
    plan = Plan.model_validate(job.plan)
    what = f"batch {plan.batch} of {plan.dataset}" if plan.batch else f"all of dataset {plan.dataset}"
    where = ", from the lake, too" if plan.lake else ""
    return (
        f"Delete {what} in sandbox {job.sandbox}{where}? {plan.removed.fragments:,} fragments and "
        f"{plan.removed.events:,} events (system job {job.id}, plan {job.plan_number})"
    )


def waits_for(job: SystemJob, settings: Settings, now: datetime) -> str:
    """Say what a NEW job with a plan waits for; empty when it may be done."""
    if settings.system_jobs.approval and not job.is_approved:
        who = f"somebody else than {' and '.join(job.askers)}" if settings.system_jobs.four_eyes else "somebody"
        number = job.plan_number
        return f"{who} to approve of plan {number}: `tessera delete approve {job.id} --plan {number}`"
    if job.not_before is not None and job.not_before > now:
        return f"its time, {job.not_before:%Y-%m-%dT%H:%M:%SZ}: `tessera delete run {job.id}`"
    return ""


def plan_lines(plan: Plan) -> Iterator[str]:
    """Say for people what a deletion would do."""
    what = f"batch {plan.batch} of dataset {plan.dataset}" if plan.batch else f"dataset {plan.dataset}"
    cut = "there is no cut yet" if plan.cut is None else f"cut {plan.cut}"
    yield f"plan to delete {what} as of {plan.taken_at:%Y-%m-%d %H:%M:%S} UTC, {cut}"
    yield from (f"  {name}: {value}" for name, value in _figures(plan))


def markdown(job: SystemJob) -> str:
    """Show a job and its plan to whoever decides upon it."""
    plan = Plan.model_validate(job.plan)
    asked = [("Asked for by", _askers(job)), ("Asked for at", f"{job.created_at:%Y-%m-%d %H:%M:%S} UTC")]
    asked += [("Edited by", ", ".join(job.edited_by))] if job.edited_by else []
    asked += [("Why", job.note)] if job.note else []
    asked += [("Not before", f"{job.not_before:%Y-%m-%d %H:%M:%S} UTC")] if job.not_before else []
    figures = [*asked, *_figures(plan)]
    rows = [f"| {_plain(name)} | {_plain(value)} |" for name, value in figures]
    changed = f"\n**{_plain(job.reason)}**\n" if job.reason else ""
    kept = "The lake keeps it, and what is known of identities stays."
    lasting = (
        "The Profile store does not give it back. "
        + ("The lake and the quarantine lose it, too." if plan.lake else kept)
        + f" Counted at {plan.taken_at:%Y-%m-%d %H:%M:%S} UTC; counted again before anything is deleted."
    )
    head = "| What goes with it | |\n| --- | --- |"
    return f"{_plain(question(job))}\n{changed}\n{head}\n" + "\n".join(rows) + f"\n\n{lasting}\n"


def lines(catalog: Catalog, settings: Settings, job: SystemJob, now: datetime) -> Iterator[str]:
    """Say for people what a job is, what it waits for, its plan, and what happened to it."""
    what = f"batch {job.batch_id} of dataset {job.dataset_id}" if job.batch_id else f"dataset {job.dataset_id}"
    where = " and its rows in the lake" if job.lake else ""
    yield f"system job {job.id}, {job.request_type}: {what}{where} is {job.status}, {job.percent} %"
    yield from (f"  {name}: {value}" for name, value in _about(job) if value)
    if job.status is SystemJobStatus.NEW:
        waiting = "its plan: `tessera delete run " + f"{job.id}`" if job.plan is None else waits_for(job, settings, now)
        yield f"  waits for {waiting}" if waiting else f"  may be done: `tessera delete run {job.id}`"
    if job.plan is not None:
        yield from plan_lines(Plan.model_validate(job.plan))
    for event in catalog.history(SystemJob.noun, job.id):
        yield f"{event.at:%Y-%m-%d %H:%M:%S}  {event.to_status:<11}  {event.who}  {event.note}".rstrip()


def _about(job: SystemJob) -> Sequence[tuple[str, str | None]]:
    return (
        ("asked for by", _askers(job)),
        ("edited by", ", ".join(job.edited_by)),
        ("note", job.note),
        ("not before", f"{job.not_before:%Y-%m-%dT%H:%M:%SZ}" if job.not_before else None),
        ("approved of by", job.approved_by),
        ("reason", job.reason),
    )


def _askers(job: SystemJob) -> str:
    return f"{job.requested_by} on behalf of {job.on_behalf_of}" if job.on_behalf_of else job.requested_by


def _figures(plan: Plan) -> Iterator[tuple[str, str]]:
    """Name each figure of a plan that is not nothing, and the counts that are at the heart of it in any case."""
    yield "fragments that end", f"{plan.removed.fragments:,}"
    yield "events that end", f"{plan.removed.events:,}"
    if plan.removed.applied_again:
        yield "refused duplicates that take their place", f"{plan.removed.applied_again:,}"
    if plan.batches:
        yield "batches that count", f"{plan.batches:,}, the last one {plan.last_batch}"
    yield "rows by batch", _counts(plan.rows_by_batch)
    yield "bytes", f"{plan.bytes:,}"
    if plan.lake:
        yield "rows of the lake", f"{plan.lake_rows:,}"
    for effect in plan.policies:
        appear = f", {effect.appear:,} appear" if effect.appear else ""
        told = f"{effect.vanish:,} vanish, {effect.change:,} change{appear}"
        yield f"profiles of policy {effect.policy}", f"{told}, of {effect.profiles:,}"
    if plan.attributes:
        yield "profiles by attribute that changes", _counts(plan.attributes)
    if plan.namespaces:
        yield "profiles by namespace that they lose", _counts(plan.namespaces)
    yield "exports that hold it", ", ".join(plan.exports) or "none"
    if plan.not_in_cut:
        yield "batches that go and are in no cut yet", f"{plan.not_in_cut:,}"


def _counts(found: dict[str, int], most: int = 12) -> str:
    """List counts, the largest first; of very many the rest as a number."""
    ordered = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    rest = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return (", ".join(f"{name} {count:,}" for name, count in ordered[:most]) or "none") + rest


def _plain(text: str) -> str:
    """Let a text be nothing but text in Markdown, in one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _document(job: SystemJob) -> dict[str, Any]:
    properties = {"datasetId": job.dataset_id} | ({"batchId": job.batch_id} if job.batch_id else {})
    return {
        "requestId": job.id,
        "requestType": str(job.request_type),
        "status": str(job.status),
        "properties": properties,
        "sandbox": {"sandboxName": job.sandbox},
        "createdAt": _instant(job.created_at),
        "updatedAt": _instant(job.updated_at),
        "requestedBy": job.requested_by,
        "onBehalfOf": job.on_behalf_of,
        "editedBy": list(job.edited_by),
        "note": job.note,
        "lake": job.lake,
        "notBefore": _instant(job.not_before),
        "approvedBy": job.approved_by,
        "approvedAt": _instant(job.approved_at),
        "percent": job.percent,
        "stage": job.stage,
        "reason": job.reason,
        "planNumber": job.plan_number,
        "plan": job.plan,
        "result": job.result,
    }


def _event(event: Event) -> dict[str, Any]:
    percent = _PERCENT.search(event.note)
    told = {"status": event.to_status, "at": _instant(event.at), "who": event.who, "run": event.run}
    return told | {"note": event.note, "percent": int(percent[1]) if percent else None}


def _instant(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"
