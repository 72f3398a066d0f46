"""Generations of a dataset's tables: `<table>/<dataset>/g<n>/`, of which the catalog names the current one.

Emptying a dataset is one change of a number: the next generation starts empty, and what a late writer still adds to the
old one is read by nobody. Purging removes an old generation's directory, log included, so nothing is left to search.
"""

import shutil
from pathlib import Path

from deltalake import DeltaTable
from pyarrow import fs

from jobs.errors import StoreError
from jobs.lake.listing import opened
from jobs.lake.store import Store


def purge(store: Store, table: str, dataset: str, generation: int) -> bool:
    """Remove a generation: data, log and directory. Not to be undone; called again, it finishes what was begun.

    Does not touch the catalog: the caller makes sure that the generation is not the current one.

    Returns:
        Whether there was anything.

    Raises:
        StoreError: the file system refused; a part may be gone already.
    """
    path = store.generation_path(table, dataset, generation)
    try:
        if not store.is_local:
            return _remove(*opened(path))
        if not Path(path).exists():
            return False
        shutil.rmtree(path)
    except OSError as refused:
        raise StoreError(f"cannot remove generation {generation} of {table}/{dataset}: {refused}") from refused
    return True


def _remove(system: fs.FileSystem, inside: str) -> bool:
    if system.get_file_info(inside).type is fs.FileType.NotFound:
        return False
    system.delete_dir(inside)
    return True


def is_empty(store: Store, table: str, dataset: str, generation: int) -> bool:
    """Tell whether a generation holds no row, so that a truncation can still be undone. Reads the log only."""
    path = store.generation_path(table, dataset, generation)
    return not DeltaTable.is_deltatable(path) or not DeltaTable(path).file_uris()
