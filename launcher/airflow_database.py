"""Airflow's own database: an SQLite file in the home, or a PostgreSQL that the user's environment names."""

import os
import re

from launcher.refusal import BAD_REQUEST, Refusal

AIRFLOW_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
"""The variable that names it; without it that is the SQLite file."""
_CONNECT_SECONDS = 15


def database_settings() -> dict[str, str]:
    """Return the Airflow settings that follow from the user's database.

    Raises:
        Refusal: the platform has no driver for it.
    """
    url = _users_postgresql()
    # For its asynchronous engine Airflow would take another driver, which is not installed; psycopg serves both.
    return {f"{AIRFLOW_DATABASE}_ASYNC": url} if url else {}


def refuse_unreachable_database() -> None:
    """Connect to the user's PostgreSQL once, so that one that is away is told before anything starts.

    Raises:
        Refusal: it cannot be reached, or lets the user not in; the driver's message says which.
    """
    # They may be what it takes to connect, and are Airflow's to read.
    if not (url := _users_postgresql()) or f"{AIRFLOW_DATABASE.removesuffix('CONN')}CONNECT_ARGS" in os.environ:
        return
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(url, connect_args={"connect_timeout": _CONNECT_SECONDS})
        if "@" in (engine.url.host or ""):
            # What stands before it is the end of a password: the driver would show it as a host.
            raise Refusal(f"{AIRFLOW_DATABASE} has more than one @: in a user or password it is %40", BAD_REQUEST)
        with engine.connect():
            pass
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ValueError) as refused:
        why = str(refused.orig).strip() if isinstance(refused, sqlalchemy.exc.DBAPIError) else "it is no URL"
        raise Refusal(f"Airflow's database, of {AIRFLOW_DATABASE}, cannot be used: {why}") from None


def _users_postgresql() -> str:
    """Return the URL of the user's PostgreSQL, with its driver; empty when Airflow has a file."""
    url = os.environ.get(AIRFLOW_DATABASE, "")
    if not url or url.startswith("sqlite:"):
        return ""
    # No more of it is shown than the scheme: it holds a password.
    scheme = re.match(r"([a-z0-9+]{1,30})://", url)
    if not scheme or scheme[1] not in ("postgresql", "postgresql+psycopg"):
        raise Refusal(
            f"{AIRFLOW_DATABASE} begins with {scheme[0] if scheme else 'no scheme'}: it must be "
            "postgresql+psycopg://user:password@host/database, or sqlite:////absolute/path/of/a/file",
            BAD_REQUEST,
        )
    return f"postgresql+psycopg://{url[scheme.end() :]}"
