"""The catalog on both databases: every test that asks for one runs twice."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from jobs.catalog.database import Catalog
from tests.jobs.catalog.builders import Clock, crm, definitions, web

_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Return a function that gives the URL of a new, empty database."""
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("catalogs")
        return lambda: f"sqlite:///{folder / f'catalog{next(_numbers)}.db'}"
    server: str = request.getfixturevalue("postgres")

    def create() -> str:
        name = f"catalog{next(_numbers)}"
        with psycopg.connect(server.format("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return server.format(name)

    return create


@pytest.fixture(scope="session")
def shared_url(database: Callable[[], str]) -> str:
    """URL of a database that the tests share; each has a sandbox of its own in it."""
    return database()


@pytest.fixture
def sandbox() -> str:
    return f"test{next(_numbers)}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(shared_url: str, sandbox: str, clock: Clock) -> Iterator[Catalog]:
    """An empty sandbox."""
    with Catalog.open(shared_url, sandbox, actor="tester", clock=clock) as opened:
        yield opened


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """A sandbox with the namespace CRMID and the datasets crm (records) and web (events), both enabled."""
    catalog.apply(definitions(crm(), web()))
    return catalog


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
