"""The Spark server that a whole run of tests shares."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.session import server
from jobs.session.engines import Engine
from jobs.session.secret import engine_token
from jobs.session.server_state import be_client
from jobs.settings import Settings
from tests.homes import link_jars, settings_at

# Tests have tiny frames: compiling a query for them, planning it anew between its stages, shuffling to more tasks than
# there are cores, and keeping sums of a table beside each commit take longer than they save. What a test starts as a
# user would, a platform or a command, works as shipped.
_FOR_TINY_FRAMES = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.writeChecksumFile.enabled": "false",
}


def server_settings(home: Path) -> Settings:
    """Settings of the run's embedded server: a TESSERA_HOME and a port of its own."""
    link_jars(home)
    settings = settings_at(home)
    # It serves every test of the run.
    engine = settings.engine.model_copy(update={"memory": "2g", "spark_conf": _FOR_TINY_FRAMES})
    return settings.model_copy(update={"engine": engine})


@contextmanager
def spark_server(settings: Settings) -> Iterator[Engine]:
    """The Spark server of the whole run, by an address that works with any settings."""
    if given := os.environ.get("TESSERA_TEST_SPARK"):
        yield Engine.parse(given)
        return
    with be_client(settings.home):
        address = server.ensure_running(settings)
        yield Engine.parse(f"{address}/;token={engine_token(settings.home)}")
    server.stop(settings)
