"""Previews in the tests' session."""

import uuid
from datetime import datetime
from typing import Any

from jobs.catalog.previews import Preview
from jobs.catalog.records import Attempt
from jobs.preview_sample import job
from jobs.preview_sample.models import PreviewParams, PreviewPlan, PreviewResult
from jobs.preview_sample.service import accept
from jobs.preview_sample.service.planning import planned
from jobs.preview_sample.service.showing import document
from tests.jobs.ingest.workshop import Silent, Workshop


def preview(workshop: Workshop, as_of: datetime | None = None) -> PreviewResult:
    """Make the reports as a command does."""
    return PreviewResult.model_validate(previewed(workshop, as_of).result)


def previewed(workshop: Workshop, as_of: datetime | None = None) -> Preview:
    """The record of a preview that was made."""
    record, attempt, result = _run(workshop, as_of)
    return workshop.catalog.finish_preview(record.id, attempt, result.document())


def died(workshop: Workshop, as_of: datetime) -> str:
    """The id of a preview that failed for good after it had written everything."""
    record, attempt, _ = _run(workshop, as_of)
    workshop.catalog.fail_preview(record.id, attempt.id, "killed", final=True)
    return record.id


def _run(workshop: Workshop, as_of: datetime | None) -> tuple[Preview, Attempt, PreviewResult]:
    record = accept(workshop.catalog, workshop.settings, PreviewParams(as_of=as_of), "test")
    attempt = Attempt(id=uuid.uuid4().hex, run="test")
    begun = workshop.catalog.begin_preview(record.id, attempt)
    plan = planned(workshop.catalog, workshop.settings, begun, attempt)
    return record, attempt, job.run(workshop.spark, plan, Silent())


def plan_of(workshop: Workshop) -> PreviewPlan:
    """What a preview would read now."""
    record = accept(workshop.catalog, workshop.settings, PreviewParams(), "test")
    return planned(workshop.catalog, workshop.settings, record, Attempt(id="none", run="test"))


def shown(workshop: Workshop, result: PreviewResult, name: str) -> Any:
    """The document of a report, as `--json` and the API give it."""
    return document(workshop.catalog, name, result)


def data(workshop: Workshop, result: PreviewResult, name: str) -> Any:
    return shown(workshop, result, name)["data"]
