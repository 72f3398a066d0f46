"""The manifest of an export: what its record says, as a file beside the table for whoever has the store alone."""

import json

from jobs.catalog.exports import ExportJob
from jobs.errors import StoreError
from jobs.exports.models import EXPORTS, MANIFESTS_SUFFIX, ExportResult
from jobs.lake.listing import opened
from jobs.lake.store import Store


def write_manifest(store: Store, job: ExportJob, result: ExportResult) -> ExportResult:
    """Write the manifest of a job; returns the result with its place.

    Raises:
        StoreError: the store refused.
    """
    path = _path(store, job)
    told = result.model_copy(update={"manifest": path})
    document = {"sandbox": job.sandbox, "job": job.number, "batch": job.batch_id, **told.document()}
    try:
        system, inside = opened(path)
        system.create_dir(inside.rpartition("/")[0])
        # Renamed in one step: a reader finds all of it or nothing.
        with system.open_output_stream(f"{inside}.tmp") as stream:
            stream.write(json.dumps(document, indent=2).encode())
        system.move(f"{inside}.tmp", inside)
    except OSError as refused:
        raise StoreError(f"the manifest {path} cannot be written: {refused}") from refused
    return told


def remove_manifest(store: Store, job: ExportJob) -> None:
    """Remove the manifest of a job that did not succeed; none is no error.

    Raises:
        StoreError: the store refused.
    """
    path = _path(store, job)
    try:
        system, inside = opened(path)
        for name in (inside, f"{inside}.tmp"):
            if system.get_file_info(name).is_file:
                system.delete_file(name)
    except OSError as refused:
        raise StoreError(f"the manifest {path} cannot be removed: {refused}") from refused


def _path(store: Store, job: ExportJob) -> str:
    return f"{store.path(EXPORTS, f'{job.dataset_id}{MANIFESTS_SUFFIX}')}/{job.batch_id}.json"
