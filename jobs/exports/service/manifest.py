"""The manifest of an export: what its record says, as a file beside the table for whoever has the store alone."""

import json
from collections.abc import Collection

from pyarrow import fs

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
    path = f"{_folder(store, job.dataset_id)}/{job.batch_id}.json"
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


def remove_manifests(store: Store, dataset_id: str, batches: Collection[str]) -> None:
    """Remove the manifests of jobs that did not succeed; those that have none are no error.

    Args:
        store: where they are.
        dataset_id: the dataset.
        batches: of the jobs.

    Raises:
        StoreError: the store refused.
    """
    folder = _folder(store, dataset_id)
    try:
        system, inside = opened(folder)
        for entry in system.get_file_info(fs.FileSelector(inside, allow_not_found=True)):
            if entry.is_file and entry.base_name.partition(".")[0] in batches:
                system.delete_file(f"{inside}/{entry.base_name}")
    except OSError as refused:
        raise StoreError(f"manifests in {folder} cannot be removed: {refused}") from refused


def _folder(store: Store, dataset_id: str) -> str:
    return store.path(EXPORTS, f"{dataset_id}{MANIFESTS_SUFFIX}")
