"""Previews in the tests' session."""

import uuid
from datetime import datetime
from typing import Any

from jobs.catalog.previews import Preview
from jobs.catalog.records import Attempt
from jobs.preview_sample import job
from jobs.preview_sample.models import PreviewParams, PreviewResult
from jobs.preview_sample.service import accept
from jobs.preview_sample.service.planning import planned
from jobs.preview_sample.service.showing import document
from tests.jobs.ingest.workshop import Silent, Workshop


def preview(workshop: Workshop, as_of: datetime | None = None) -> PreviewResult:
    """Make the reports as a command does."""
    return PreviewResult.model_validate(previewed(workshop, as_of).result)


def previewed(workshop: Workshop, as_of: datetime | None = None) -> Preview:
    """The record of a preview that was made."""
    record = accept(workshop.catalog, workshop.settings, PreviewParams(as_of=as_of), "test")
    attempt = Attempt(id=uuid.uuid4().hex, run="test")
    begun = workshop.catalog.begin_preview(record.id, attempt)
    plan = planned(workshop.catalog, workshop.settings, begun, attempt)
    result = job.run(workshop.spark, plan, Silent())
    return workshop.catalog.finish_preview(record.id, attempt, result.document())


def shown(workshop: Workshop, result: PreviewResult, name: str) -> Any:
    """The document of a report, as `--json` and the API give it."""
    return document(workshop.catalog, name, result)


def data(workshop: Workshop, result: PreviewResult, name: str) -> Any:
    return shown(workshop, result, name)["data"]
