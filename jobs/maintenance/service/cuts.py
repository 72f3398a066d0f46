"""Versions of tables that readers rely on: a vacuum must not remove their files.

A published cut names the version of every table that belongs together. Readers take the newest one, and an export job
goes on with the one that it began with. A file that a table has given up since then is kept for the retention; so
while that cut is older than half the retention, a table that has changed since is not vacuumed. One that is still at
the cut's version has no such file.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict

from jobs.catalog.database import Catalog
from jobs.lake.store import Store


class VersionInUse(BaseModel):
    """A version of a table that somebody relies on."""

    model_config = ConfigDict(frozen=True)

    path: str
    version: int
    since: AwareDatetime
    by: str


def versions_in_use(catalog: Catalog, store: Store) -> tuple[VersionInUse, ...]:
    """List the versions of the newest cut, and those of cuts that export jobs read; none before the first refresh."""
    readers = {job.cut: f"export job {job.id}" for job in catalog.exports_at_work()}
    read = [(catalog.cut(), ""), *((catalog.cut(number), f" of {by}") for number, by in readers.items() if number)]
    return tuple(
        VersionInUse(path=store.at(table.place), version=table.version, since=cut.at, by=f"cut {cut.number}{by}")
        for cut, by in read
        if cut
        for table in cut.tables
    )


def kept_from_vacuum(
    used: Iterable[VersionInUse], present: Callable[[str], int], now: datetime, retention_days: float
) -> dict[str, str]:
    """Say by path why a table is not vacuumed now.

    Args:
        used: versions in use.
        present: tells the present version of the table at a path; asked of tables in old cuts only.
        now: what ages are measured against.
        retention_days: how long a table's former files are kept.
    """
    bound = timedelta(days=retention_days / 2)
    return {
        one.path: f"skipped, {one.by} of {one.since:%Y-%m-%d %H:%M} UTC, which reads its version {one.version}, is "
        f"older than half the retention of {retention_days:g} days"
        for one in used
        if now - one.since > bound and present(one.path) > one.version
    }
