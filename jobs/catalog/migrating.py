"""Bring a catalog's tables to the form that this code knows, once, whoever comes first."""

import fcntl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, inspect, text

from jobs.catalog.connection import refusals, shown, writing
from jobs.errors import StoreError
from jobs.faults import Fault, reach

HEAD = "0007"
_FOLDER = Path(__file__).parent / "migrations"
# Any number that no other program on the database uses: "TESS".
_ADVISORY_LOCK = 0x54455353


def migrate(engine: Engine, url: URL) -> None:
    """Run the migrations that the catalog has not had yet; two processes may do this at once.

    Raises:
        StoreError: the database is away, or was made by a newer version of this program.
    """
    with refusals(url):
        with engine.connect() as connection:
            found = _revision(connection)
        if found == HEAD:
            return
        with _alone(engine, url) as connection:
            found = _revision(connection)
            if found is not None and found > HEAD:
                raise StoreError(
                    f"the catalog {shown(url)} has form {found}, this program knows {HEAD}: "
                    "it was opened by a newer version; update this installation"
                )
            if found == HEAD:
                return
            _upgrade(connection)
            reach(Fault.MIGRATE_CATALOG, "before")
        reach(Fault.MIGRATE_CATALOG, "after")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


@contextmanager
def _alone(engine: Engine, url: URL) -> Iterator[Connection]:
    """Open a transaction that no other process can be in."""
    if url.get_backend_name() == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            yield connection
        return
    # Changing to a write-ahead log does not wait for others, so a file lock comes before SQLite's own.
    with Path(f"{url.database}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with closing(engine.raw_connection()) as raw, closing(raw.cursor()) as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
        with writing(engine).begin() as connection:
            yield connection


def _upgrade(connection: Connection) -> None:
    # Imported here: it is slow, and a catalog is opened far more often than migrated.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
