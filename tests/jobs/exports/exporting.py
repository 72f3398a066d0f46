"""Exports in the tests' session, and their tables as a reader finds them."""

import uuid
from typing import Any

from deltalake import DeltaTable

from jobs.catalog.exports import ExportJob
from jobs.catalog.records import Attempt
from jobs.exports import job
from jobs.exports.models import ExportParams, ExportPlan, ExportResult
from jobs.exports.service import accept
from jobs.exports.service.manifest import write_manifest
from jobs.exports.service.planning import planned
from tests.builders import Row
from tests.jobs.exports.readers import assert_opens_everywhere
from tests.jobs.ingest.workshop import Silent, Workshop


def asked(workshop: Workshop, dataset: str = "people", **more: Any) -> ExportJob:
    """Ask for an export job; the dataset is made when it is not there."""
    params = ExportParams(dataset=dataset, **{"create": True} | more)
    return accept(workshop.catalog, workshop.settings, params, "test")


def begun(workshop: Workshop, job_id: str) -> tuple[ExportPlan, Attempt]:
    """Begin an attempt at a job."""
    attempt = Attempt(id=uuid.uuid4().hex, run="test")
    record = workshop.catalog.begin_export(job_id, attempt)
    plan = planned(workshop.catalog, workshop.settings, record, attempt)
    # As it goes to a driver in another process.
    assert ExportPlan.model_validate_json(plan.model_dump_json()) == plan
    return plan, attempt


def export(workshop: Workshop, dataset: str = "people", **more: Any) -> ExportResult:
    """Export as a command does; every reader opens what comes of it."""
    record = asked(workshop, dataset, **more)
    plan, attempt = begun(workshop, record.id)
    result = write_manifest(plan.store, record, job.run(workshop.spark, plan, Silent()))
    done = workshop.catalog.finish_export(record.id, attempt, result.document())
    for name in result.tables:
        assert_opens_everywhere(workshop.store.at(name), workshop.spark)
    return ExportResult.model_validate(done.result)


def table(workshop: Workshop, dataset: str = "people", version: int | None = None) -> DeltaTable:
    """The table of an export, opened without Spark."""
    return DeltaTable(workshop.store.path("exports", dataset), version=version)


def rows(workshop: Workshop, dataset: str = "people", version: int | None = None) -> dict[frozenset[str], Row]:
    """The rows of an export by their identities, without what is null."""
    found = {}
    for row in table(workshop, dataset, version).to_pyarrow_table().to_pylist():
        entries = {code: [entry["id"] for entry in listed] for code, listed in row["identityMap"]}
        found[frozenset(f"{code}:{one}" for code, ids in entries.items() for one in ids)] = _given(row)
    return found


def flat(workshop: Workshop, dataset: str = "people") -> set[tuple[str, str, str, bool]]:
    """The rows of the table of identities."""
    names = ("profile_id", "namespace", "id", "is_primary")
    found = table(workshop, f"{dataset}_identities").to_pyarrow_table().to_pylist()
    assert len(found) == len({row["profile_id"] + row["namespace"] + row["id"] for row in found})
    return {tuple(row[name] for name in names) for row in found}


def _given(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _given(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_given(one) for one in value]
    return value
