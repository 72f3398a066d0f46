"""Airflow's own database: a file, or a PostgreSQL of the user's, refused when it cannot be used."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from launcher.airflow_database import AIRFLOW_DATABASE, refuse_unreachable_database
from launcher.refusal import Refusal
from tests.homes import free_port
from tests.launcher.conftest import Made

ASK_BOTH = """
import asyncio
from airflow import settings
from sqlalchemy import text

async def ask():
    async with settings.AsyncSession() as session:
        await session.execute(text("select 1"))
        name = session.bind.dialect.name
    await settings.async_engine.dispose()
    return name

with settings.Session() as session:
    session.execute(text("select 1"))
    print(session.bind.dialect.name, asyncio.run(ask()))
"""


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_airflow_reaches_a_postgresql_of_the_users_by_both_of_its_engines(
    made: Made, monkeypatch: pytest.MonkeyPatch, postgres: str, scheme: str
) -> None:
    url = postgres.format("postgres").replace("postgresql", scheme)
    monkeypatch.setenv(AIRFLOW_DATABASE, url)
    done = subprocess.run([sys.executable, "-c", ASK_BOTH], env=made(), capture_output=True, text=True, check=False)
    assert done.stdout == "postgresql postgresql\n", done.stderr


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://u:hidden@host/x", "postgres://"),
        ("mysql://u:hidden@host/x", "mysql://"),
        ("u:hidden@host/x", "no scheme"),
        ("u:hidden://host/x", "no scheme"),
    ],
)
def test_a_database_of_no_known_form_is_refused_without_its_password(
    made: Made, monkeypatch: pytest.MonkeyPatch, url: str, shown: str
) -> None:
    monkeypatch.setenv(AIRFLOW_DATABASE, url)
    with pytest.raises(Refusal, match=f"CONN begins with {shown}: it must be postgresql\\+psycopg://user:") as refused:
        made()
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("url", ["", "sqlite:////somewhere/airflow.db"])
def test_a_file_is_airflows_to_make(made: Made, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(AIRFLOW_DATABASE, url)
    refuse_unreachable_database()
    assert f"{AIRFLOW_DATABASE}_ASYNC" not in made()


def test_a_database_that_answers_is_not_refused(monkeypatch: pytest.MonkeyPatch, postgres: str) -> None:
    monkeypatch.setenv(AIRFLOW_DATABASE, postgres.format("postgres"))
    refuse_unreachable_database()


def test_one_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, postgres: str) -> None:
    monkeypatch.setenv(AIRFLOW_DATABASE, postgres.format("airflaw"))
    with pytest.raises(Refusal, match=f'database, of {AIRFLOW_DATABASE}, cannot be used: .*"airflaw" does not exist'):
        refuse_unreachable_database()


def test_a_user_whom_it_does_not_let_in_is_named_and_no_password(
    monkeypatch: pytest.MonkeyPatch, postgres: str
) -> None:
    with psycopg.connect(postgres.format("postgres"), autocommit=True) as connection:
        connection.execute("CREATE ROLE ann LOGIN PASSWORD 'right'")
        [[rules]] = connection.execute("SHOW hba_file").fetchall()
        Path(rules).write_text(f"local all ann scram-sha-256\n{Path(rules).read_text()}")
        connection.execute("SELECT pg_reload_conf()")
    url = make_url(postgres.format("postgres")).set(username="ann")
    monkeypatch.setenv(AIRFLOW_DATABASE, url.set(password="right").render_as_string(hide_password=False))
    refuse_unreachable_database()
    monkeypatch.setenv(AIRFLOW_DATABASE, url.set(password="hidden").render_as_string(hide_password=False))
    with pytest.raises(Refusal, match='password authentication failed for user "ann"') as refused:
        refuse_unreachable_database()
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("u:hid%2Fden@127.0.0.1:{port}/x", "127.0.0.1.*port {port} failed"),
        ("u:hid@den@127.0.0.1:{port}/x", "more than one @: in a user or password it is %40"),
        ("u:hidden@127.0.0.1:port/x", "it is no URL"),
        ("u:hidden@127.0.0.1/x?colour=red", 'invalid connection option "colour"'),
    ],
)
def test_where_nobody_answers_the_server_is_named_and_no_password(
    monkeypatch: pytest.MonkeyPatch, place: str, why: str
) -> None:
    port = free_port()
    monkeypatch.setenv(AIRFLOW_DATABASE, f"postgresql://{place.format(port=port)}")
    with pytest.raises(Refusal, match=why.format(port=port)) as refused:
        refuse_unreachable_database()
    assert not [part for part in ("hid", "den") if part in str(refused.value)]
