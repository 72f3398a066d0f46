import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.connect.session import SparkSession as ConnectSession

from jobs.errors import InvalidRequest, StoreError
from jobs.session.client import _SESSION_SETTINGS, interrupt, new_session_id, open_session
from jobs.session.engines import Engine
from jobs.session.operations import operation_threads
from jobs.settings import Settings
from tests.jobs.session import attempts

_ROOT = Path(__file__).parents[3]
_WRITE_SECONDS = 3.0


def test_a_server_that_is_away_is_named_at_once_with_the_remedy(settings: Settings) -> None:
    engine = Engine.parse(f"sc://localhost:{settings.network.engine_port}")
    began = time.monotonic()
    with pytest.raises(StoreError, match=rf"sc://localhost:{settings.network.engine_port}: .*`./run up`"):
        _open_and_close(settings, engine)
    assert time.monotonic() - began < 15


def test_what_listens_and_is_no_spark_server_is_named_after_the_timeout(settings: Settings) -> None:
    hasty = settings.model_copy(update={"engine": settings.engine.model_copy(update={"connect_timeout_seconds": 2})})
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"sc://localhost:{mute.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(StoreError, match=f"{address} does not answer as a Spark Connect server"):
            _open_and_close(hasty, Engine.parse(address))
        assert time.monotonic() - began < 10


def test_an_engine_for_spark_submit_has_no_session(settings: Settings) -> None:
    with pytest.raises(InvalidRequest, match="spark-submit"):
        _open_and_close(settings, Engine.parse("local[*]"))


def test_there_is_nothing_to_end_where_no_embedded_server_runs(settings: Settings) -> None:
    interrupt(settings, Engine.parse("embedded"), new_session_id(), 1)


def test_there_is_nothing_to_end_in_a_session_that_the_server_does_not_know(settings: Settings, engine: Engine) -> None:
    interrupt(settings, engine, new_session_id(), 5)


def test_a_session_has_the_id_it_was_given_and_is_gone_afterwards(settings: Settings, engine: Engine) -> None:
    session_id = new_session_id()
    with open_session(settings, engine, session_id) as spark:
        assert spark.client._session_id == session_id  # type: ignore[attr-defined]
        assert spark.range(3).count() == 3
    with pytest.raises(StoreError, match="was ended from elsewhere"):
        _open_and_close(settings, engine, session_id)


def test_a_session_has_the_settings_that_contents_depend_on(settings: Settings, engine: Engine) -> None:
    with open_session(settings, engine, new_session_id()) as spark:
        assert {name: spark.conf.get(name) for name in _SESSION_SETTINGS} == _SESSION_SETTINGS


def test_a_session_that_is_being_ended_does_not_begin(settings: Settings, engine: Engine) -> None:
    session_id = new_session_id()
    address = f"{engine.target};user_id=tessera;session_id={session_id}"
    other = cast(ConnectSession, SparkSession.builder.remote(address).create())
    other.interruptAll()
    with pytest.raises(StoreError, match="was ended from elsewhere"):
        _open_and_close(settings, engine, session_id)
    other.stop()


def test_a_session_runs_what_was_compiled_for_another(settings: Settings, engine: Engine) -> None:
    factor = random.randrange(10**9)
    compiling = []
    for _ in range(2):
        with open_session(settings, engine, new_session_id()) as spark:
            # The server of the tests compiles nothing by itself, so that it is all of this query.
            spark.conf.set("spark.sql.codegen.wholeStage", "true")
            spark.conf.set("spark.sql.codegen.factoryMode", "CODEGEN_ONLY")
            before = _nanoseconds_of_compiling(spark)
            assert spark.range(7).selectExpr(f"sum(id * {factor})").collect()[0][0] == factor * 21
            compiling.append(_nanoseconds_of_compiling(spark) - before)
    first, second = compiling
    assert first > 0
    assert second == 0


def _nanoseconds_of_compiling(spark: SparkSession) -> int:
    generator = "org.apache.spark.sql.catalyst.expressions.codegen.CodeGenerator"
    return int(spark.sql(f"SELECT reflect('{generator}', 'compileTime') FROM VALUES (1)").collect()[0][0])


@pytest.mark.parametrize("end", ["kill -9", "interrupt", "SIGTERM", "SIGINT"])
def test_an_attempt_that_ended_in_the_middle_of_a_write_commits_nothing_beside_its_retry(
    settings: Settings, engine: Engine, spark: SparkSession, store_root: str, end: str
) -> None:
    table, first, second = f"{store_root}/t", new_session_id(), new_session_id()
    with _attempt(engine, "write", first, table, _WRITE_SECONDS) as client:
        began = time.monotonic()
        _wait_until(lambda: attempts.has_written_files(table))
        until_first_task = time.monotonic() - began
        if end == "kill -9":
            client.kill()
        elif end != "interrupt":
            client.send_signal(signal.Signals[end])
            assert client.wait(20) == (143 if end == "SIGTERM" else -signal.SIGINT)
        # What every retry does before anything else.
        interrupt(settings, engine, first, 30)
        assert client.wait(20) != 0
    with open_session(settings, engine, second) as again:
        attempts.write_batch(again, table, 0.1)
    # Its eight tasks on two threads would have been done by then: four times what the first one took.
    time.sleep(max(0.0, began + 5 * until_first_task - time.monotonic()))
    assert [row.operation for row in spark.sql(f"DESCRIBE HISTORY delta.`{table}`").collect()] == ["WRITE"]
    assert spark.read.format("delta").load(table).count() == 8


def test_without_an_interrupt_the_killed_attempt_does_commit(
    engine: Engine, spark: SparkSession, store_root: str
) -> None:
    table = f"{store_root}/t"
    with _attempt(engine, "write", new_session_id(), table, _WRITE_SECONDS) as client:
        _wait_until(lambda: attempts.has_written_files(table))
        client.kill()
    _wait_until(lambda: (Path(table) / "_delta_log" / "00000000000000000000.json").exists())
    assert spark.read.format("delta").load(table).count() == 8


def test_an_operation_that_heeds_no_interrupt_is_waited_for(
    settings: Settings, engine: Engine, spark: SparkSession, store_root: str
) -> None:
    session_id = new_session_id()
    others = _threads(spark)
    with _attempt(engine, "plan", session_id, store_root, 20) as client:
        seen = set[str]()

        def is_at_work() -> bool:
            # Each look has a thread of its own; only the attempt's is there in two of them.
            before, now = set(seen), _threads(spark) - others
            seen.update(now)
            return bool(before & now)

        _wait_until(is_at_work)
        client.kill()
    with pytest.raises(StoreError, match=r"still run 0\.1 s after they were interrupted"):
        interrupt(settings, engine, session_id, 0.1)
    interrupt(settings, engine, session_id, 60)


def _threads(spark: SparkSession) -> set[str]:
    return operation_threads(cast(ConnectSession, spark)) or set()


def _open_and_close(settings: Settings, engine: Engine, session_id: str | None = None) -> None:
    with open_session(settings, engine, session_id or new_session_id()):
        pass


@contextmanager
def _attempt(
    engine: Engine, what: str, session_id: str, table: str, seconds: float
) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.session.attempts", what, session_id, table, str(seconds)],
        cwd=_ROOT,
        env=os.environ | {attempts.ENGINE_VARIABLE: engine.target},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as client:
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == b"begins\n"
            yield client
        finally:
            client.kill()


def _wait_until(seen: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.05)
