import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from jobs.errors import StoreError
from jobs.session import server
from jobs.session.client import new_session_id, open_session
from jobs.session.engines import Engine
from jobs.session.jvm import ROOT, engine_folder
from jobs.session.processes import is_alive
from jobs.session.secret import engine_token
from jobs.session.server_state import ServerState, be_client, keeper_pid, read_state
from jobs.settings import Settings
from tests.homes import link_jars, settings_at

pytestmark = pytest.mark.waits

_EMBEDDED = Engine.parse("embedded")


def test_a_busy_port_is_named_with_its_holder(settings: Settings) -> None:
    with (
        socket.create_server(("127.0.0.1", settings.network.engine_port)),
        pytest.raises(
            StoreError, match=rf"port {settings.network.engine_port} is in use by process \d+ .*TESSERA_PORT"
        ),
    ):
        server.ensure_running(settings)


def test_missing_jars_are_named_with_the_remedy(settings: Settings) -> None:
    with pytest.raises(StoreError, match=rf"{settings.home}/jars: `./run setup` fetches them"):
        server.ensure_running(settings)


def test_nothing_is_stopped_where_nothing_runs(settings: Settings) -> None:
    server.stop(settings)


@pytest.fixture
def own_settings(tmp_path: Path) -> Iterator[Settings]:
    """A TESSERA_HOME whose embedded server a test may kill."""
    home = tmp_path / "my 집"
    link_jars(home)
    settings = settings_at(home)
    yield settings
    server.stop(settings)


@pytest.mark.spark
def test_a_server_is_secret_comes_back_and_ends_when_idle(
    own_settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = own_settings.model_copy(update={"engine": own_settings.engine.model_copy(update={"idle_minutes": 0.1})})
    with be_client(settings.home):
        address = server.ensure_running(settings)
        assert len(capfd.readouterr().err.splitlines()) == 1
        first = _state(settings)
        _assert_token_is_needed_and_nowhere_seen(settings, address, first)
        _jvm(first).kill()
        _wait_until(lambda: first.jvm() is None)
        assert server.ensure_running(settings) == address
        assert _state(settings).jvm_pid != first.jvm_pid
        # As the platform's tasks name it, and as a command does.
        for engine in (Engine.parse(address), _EMBEDDED):
            with open_session(settings, engine, new_session_id()) as spark:
                assert spark.range(3).count() == 3
    last, keeper = _jvm(_state(settings)), psutil.Process(keeper_pid(settings.home) or 0)
    _wait_until(lambda: not is_alive(keeper))
    assert not is_alive(last)
    assert sorted(path.name for path in engine_folder(settings.home).iterdir()) == ["clients.lock", "keeper.lock"]


@pytest.mark.spark
def test_a_server_that_cannot_start_is_told_at_once(own_settings: Settings) -> None:
    engine = own_settings.engine.model_copy(update={"memory": "20m"})
    with pytest.raises(StoreError, match=rf"ended with code \d+ while it started.*{own_settings.home}/logs"):
        server.ensure_running(own_settings.model_copy(update={"engine": engine}))


@pytest.mark.spark
def test_the_store_outlives_its_keeper_and_the_next_start_recovers(own_settings: Settings, tmp_path: Path) -> None:
    settings = own_settings
    server.ensure_running(settings)
    orphan = _state(settings)
    keeper = psutil.Process(keeper_pid(settings.home) or 0)
    keeper.kill()
    keeper.wait(10)
    _assert_second_jvm_names(settings, tmp_path, orphan.jvm_pid)

    server.ensure_running(settings)
    assert orphan.jvm() is None
    second = _state(settings)
    _assert_second_jvm_names(settings, tmp_path, second.jvm_pid)

    with _watch(settings) as watching:
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(60) == 0
    assert second.jvm() is None
    assert keeper_pid(settings.home) is None


def _assert_token_is_needed_and_nowhere_seen(settings: Settings, address: str, state: ServerState) -> None:
    token = engine_token(settings.home)
    keeper = psutil.Process(keeper_pid(settings.home) or 0)
    for process in (_jvm(state), keeper):
        assert token not in " ".join(process.cmdline())
    assert token not in (settings.home / "logs" / "engine.log").read_text()
    stranger = settings_at(settings.home.parent / "stranger")
    for given in ("", "/;token=wrong"):
        with (
            pytest.raises(StoreError, match="token") as refused,
            open_session(stranger, Engine.parse(address + given), new_session_id()),
        ):
            pass
        assert token not in str(refused.value)


def _assert_second_jvm_names(settings: Settings, tmp_path: Path, pid: int) -> None:
    other = settings_at(tmp_path / "other")
    other = other.model_copy(update={"store": other.store.model_copy(update={"root": settings.store_root})})
    with pytest.raises(StoreError, match=rf"in use by the embedded Spark server on port \d+ .*, process {pid} "):
        server.ensure_running(other)


def _watch(settings: Settings) -> subprocess.Popen[str]:
    """Start the platform's keeper, and wait until it stands by."""
    watching = subprocess.Popen(
        [sys.executable, "-m", "jobs.session.server", "--watch"],
        cwd=ROOT,
        env=server.keeper_environment(settings),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stderr is not None
    assert "standing by" in watching.stderr.readline()
    return watching


def _state(settings: Settings) -> ServerState:
    state = read_state(settings.home)
    assert state is not None
    return state


def _jvm(state: ServerState) -> psutil.Process:
    jvm = state.jvm()
    assert jvm is not None
    return jvm


def _wait_until(seen: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.05)
