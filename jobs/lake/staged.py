"""Where an attempt keeps its parsed rows; loads no Spark."""

import shutil

from jobs.lake.store import Store

STAGING = "staging"


def staging_path(store: Store, attempt: str) -> str:
    """Return the place of one attempt alone: a former attempt that wakes up late finds nothing of the next one."""
    return store.path(STAGING, attempt)


def remove_staged(store: Store, attempt: str) -> None:
    """Remove an attempt's parsed rows from a local store: it does so itself, or whoever has ended its Spark work."""
    if store.is_local:
        shutil.rmtree(staging_path(store, attempt), ignore_errors=True)
