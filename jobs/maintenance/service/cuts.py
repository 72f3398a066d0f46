"""Versions of tables that readers rely on: a vacuum must not remove their files.

A published cut names the version of every table that belongs together. While a cut in use is older than half the
retention its tables are not vacuumed: the files of its versions may be about to go.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict

from jobs.catalog.database import Catalog


class VersionInUse(BaseModel):
    """A version of a table that somebody relies on."""

    model_config = ConfigDict(frozen=True)

    table: str
    """Place of the table in its sandbox, e.g. fragments/crm/g0."""
    since: AwareDatetime
    by: str


def versions_in_use(catalog: Catalog) -> tuple[VersionInUse, ...]:
    """List the versions that published cuts rely on. Nothing publishes a cut yet."""
    del catalog
    return ()


def kept_from_vacuum(used: Iterable[VersionInUse], now: datetime, retention_days: float) -> dict[str, str]:
    """Say by table why it is not vacuumed: a cut in use is older than half the retention."""
    bound = timedelta(days=retention_days / 2)
    old = (version for version in used if now - version.since > bound)
    return {
        version.table: f"{version.table}: skipped, {version.by} uses its version of "
        f"{version.since:%Y-%m-%d %H:%M} UTC, which is older than half the retention of {retention_days:g} days"
        for version in old
    }
