"""The reports as readers get them: which one holds for a day, and its document by the names of the guide."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from jobs.catalog.database import Catalog
from jobs.catalog.previews import Preview
from jobs.errors import InvalidRequest, NotFound, known_here, shortened
from jobs.preview_sample.models import PreviewResult
from jobs.preview_sample.rows import (
    ALL,
    IDLE_DAYS,
    ChangeRow,
    CutListRow,
    DatasetOverlapRow,
    DatasetRow,
    DatasetStatsRow,
    NamespaceOverlapRow,
    NamespaceRow,
    ReportRow,
    StatusRow,
    UnstitchedRow,
)

# What a report is asked for by, as in the guide; the last two are ours.
NAMES: Mapping[str, type[ReportRow]] = {
    "status": StatusRow,
    "dataset": DatasetRow,
    "namespace": NamespaceRow,
    "dataset_stats": DatasetStatsRow,
    "dataset/overlap": DatasetOverlapRow,
    "namespace/overlap": NamespaceOverlapRow,
    "unstitchedProfiles": UnstitchedRow,
    "unknownProfiles": UnstitchedRow,
    "cutList": CutListRow,
    "changes": ChangeRow,
}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def report_named(name: str) -> type[ReportRow]:
    """Return the report of a name; NotFound when there is none, naming those there are."""
    if name not in NAMES:
        raise NotFound(f"no report {shortened(name)}; {known_here(name, NAMES)}")
    return NAMES[name]


def newest(catalog: Catalog, day: str | None, now: datetime) -> PreviewResult:
    """Return the newest reports, or the last ones of a day.

    Args:
        catalog: opened in the sandbox.
        day: YYYY-MM-DD in UTC; None: the newest of all.
        now: this moment; a later day has no reports yet.

    Raises:
        InvalidRequest: the day is none, or is to come.
        NotFound: there are no reports yet, or none of that day.
    """
    if day is None:
        found = catalog.newest_preview()
        none = f"sandbox {catalog.sandbox!r} has no report yet: `tessera preview` makes one"
    else:
        begin = datetime.combine(_read(day, now), time(), UTC)
        found = catalog.newest_preview(since=begin, before=begin + timedelta(days=1))
        none = f"sandbox {catalog.sandbox!r} has no report of {day}"
    if found is None or found.result is None:
        raise NotFound(none)
    return PreviewResult.model_validate(found.result)


def document(catalog: Catalog, name: str, result: PreviewResult) -> dict[str, Any]:
    """Return a report as the JSON document that the guide describes; its numbers are numbers."""
    report = report_named(name)
    if report is StatusRow:
        return _status(result, catalog.running_preview())
    rows = [row.model_dump(mode="json", by_alias=True) for row in result.rows_of(report)]
    data: Any = [row | {"reportTimestamp": _text(result.at)} for row in rows]
    if report is DatasetRow:
        # There are batches only; the guide has it.
        data = [row | {"streamingIngestionEnabled": False} for row in data]
    elif report in (DatasetOverlapRow, NamespaceOverlapRow):
        data = {row["key"]: row["profiles"] for row in rows}
    elif report is UnstitchedRow:
        data = _unstitched(result)
    told: dict[str, Any] = {"data": data, "reportTimestamp": _text(result.at)}
    if result.status.sampling_ratio < 1:
        told |= {"samplingRatio": result.status.sampling_ratio, "standardError": result.status.standard_error}
    return told


def _status(result: PreviewResult, running: Preview | None) -> dict[str, Any]:
    row = result.status.model_dump(mode="json", by_alias=True)
    job = {"status": running is not None, "submissionTimestamp": running and _text(running.updated_at)}
    return row | {"sampleJobRunning": job, "streamingDriven": False, "lastSampledTimestamp": _text(result.at)}


def _unstitched(result: PreviewResult) -> dict[str, Any]:
    windows: dict[str, dict[str, Any]] = {f"{days}days": {"nsDistribution": {}} for days in IDLE_DAYS}
    for row in result.unstitched_profiles:
        counts = {"countOfProfiles": row.count_of_profiles, "eventsAssociated": row.events_associated}
        window = windows[f"{row.days}days"]
        if row.namespace == ALL:
            window.update(counts)
        else:
            window["nsDistribution"][row.namespace] = counts
    return {
        "totalNumberOfProfiles": result.status.total_rows,
        "totalNumberOfEvents": result.status.total_events,
        "unstitchedProfiles": windows,
    }


def _read(day: str, now: datetime) -> date:
    try:
        found = date.fromisoformat(day) if _DAY.fullmatch(day) else None
    except ValueError:
        found = None
    if found is None:
        raise InvalidRequest(
            f"date {shortened(day)} is none; write it as YYYY-MM-DD, e.g. {now.astimezone(UTC):%Y-%m-%d}"
        )
    if found > now.astimezone(UTC).date():
        raise InvalidRequest(f"date {day} is to come: it is {now.astimezone(UTC):%Y-%m-%d} in UTC")
    return found


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
