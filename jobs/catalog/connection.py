"""Connections to the catalog's database, and what it means when there is none.

SQLite: write-ahead log, foreign keys on, writers wait for each other (every writing transaction begins as a writer, so
that none fails half way). PostgreSQL: psycopg 3, read committed; what must be serial locks its dataset's row.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from jobs.errors import Conflict, InvalidRequest, StoreError

BUSY_SECONDS = 30
CONNECT_SECONDS = 10
_WRITES = "tessera_writes"
_FORMS = "sqlite:////path/to/catalog.db or postgresql+psycopg://user:password@host:port/database"


def parse_url(text: str) -> URL:
    """Read the URL of a catalog.

    Raises:
        InvalidRequest: it is none, or names a database that the catalog does not run on. Its password is not repeated.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise InvalidRequest(f"the catalog's URL cannot be read; write {_FORMS}") from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise InvalidRequest(f"the catalog runs on SQLite or PostgreSQL, not {url.drivername!r}; write {_FORMS}")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise InvalidRequest(
            f"the catalog {shown(url)!r} names no file, so other processes could not see it; write {_FORMS}"
        )
    return url


def shown(url: URL) -> str:
    """Show a URL without its passwords."""
    masked = {key: "***" for key in url.query if "password" in key.lower()}
    return url.update_query_dict(masked).render_as_string(hide_password=True)


def connect(url: URL) -> Engine:
    """Make the engine of a catalog; nothing is opened yet, except that SQLite's folder is made."""
    if url.get_backend_name() == "postgresql":
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_SECONDS})
    with refusals(url):
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    # A file opens in no time; a connection kept open would not survive a fork.
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def writing(engine: Engine) -> Engine:
    """Return the same engine for transactions that write."""
    return engine.execution_options(**{_WRITES: True})


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own transactions begin late and leave DDL out; `_begin_sqlite` begins them instead.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON").close()


def _begin_sqlite(connection: Connection) -> None:
    options: dict[str, Any] = dict(connection.get_execution_options())
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES) else "BEGIN")


@contextmanager
def refusals(url: URL) -> Iterator[None]:
    """Turn what the database refuses into errors for people.

    Raises:
        Conflict: another process wrote the same record at the same moment.
        StoreError: the database is away or cannot be written; names its URL without the password, and what to do.
    """
    try:
        yield
    except IntegrityError as refused:
        raise Conflict(f"another process just changed the same record ({_line(refused)}); repeat") from refused
    except (DBAPIError, PoolTimeout, OSError) as refused:
        raise StoreError(f"the catalog {shown(url)} does not answer: {_line(refused)}; {_remedy(url)}") from refused


def _line(refused: BaseException) -> str:
    reason = refused.orig if isinstance(refused, DBAPIError) and refused.orig is not None else refused
    return next((line.strip() for line in str(reason).splitlines() if line.strip()), type(reason).__name__)


def _remedy(url: URL) -> str:
    if url.get_backend_name() == "postgresql":
        return "start that PostgreSQL, or set TESSERA_CATALOG_URL to one that runs"
    return "check that this file and its folder can be written and have space, or set TESSERA_CATALOG_URL to another"
