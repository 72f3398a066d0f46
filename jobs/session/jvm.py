"""The command lines and environments of the JVMs that this program starts.

Both the embedded server and spark-submit run from pip's pyspark alone: SPARK_HOME is its folder, Delta's jars are the
ones that set-up put into TESSERA_HOME/jars. Everything that a JVM writes beside the tables goes to its work folder,
never to the current directory.
"""

import os
import sys
from pathlib import Path

import pyspark

from jobs.errors import StoreError
from jobs.session.engines import Engine
from jobs.session.java import find_java
from jobs.session.secret import TOKEN_VARIABLE
from jobs.settings import CONF, Settings

ROOT = Path(__file__).resolve().parent.parent.parent
SPARK_HOME = Path(pyspark.__file__).resolve().parent
_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
# A user's own Spark installation must not leak in: these would change which Spark starts, and how.
_FOREIGN = ("SPARK_CONF_DIR", "SPARK_REMOTE", "SPARK_LOCAL_REMOTE", "SPARK_CONNECT_MODE_ENABLED", "SPARK_DAEMON_MEMORY")


def engine_folder(home: Path) -> Path:
    """Give the folder of the embedded engine's state and temporary files."""
    return home / "engine"


def server_command(settings: Settings, work: Path) -> list[str]:
    """Build the command of the embedded Spark Connect server; it holds no secret.

    Raises:
        StoreError: Delta's jars are missing.
    """
    return [
        *_spark_submit(settings, f"local[{settings.engine.threads}]", work),
        *("--class", _SERVER),
        *("--conf", "spark.connect.grpc.binding.address=127.0.0.1"),
        *("--conf", f"spark.connect.grpc.binding.port={settings.network.engine_port}"),
        "spark-internal",
    ]


def submit_command(settings: Settings, engine: Engine, work: Path, script: Path, py_files: Path) -> list[str]:
    """Build the spark-submit command of `script` on the master that `engine` names, without the script's arguments.

    Raises:
        StoreError: Delta's jars are missing.
    """
    return [
        *_spark_submit(settings, engine.target, work),
        *("--py-files", str(py_files)),
        str(script),
    ]


def jvm_environment(settings: Settings, *, token: str | None, local_work: Path | None) -> dict[str, str]:
    """Build the environment of a JVM: this process's, with Spark's own place, UTF-8 and UTC.

    Args:
        settings: where this installation is.
        token: the server's secret, for a server only.
        local_work: the work folder of a Spark on this machine, which then binds 127.0.0.1 only; None for the driver of
            a cluster, which its executors must reach.

    Raises:
        StoreError: no suitable Java.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    for name in ("JAVA_HOME", TOKEN_VARIABLE):
        kept.pop(name, None)
    java_home = find_java(settings.home)
    return {
        **kept,
        **({"JAVA_HOME": str(java_home)} if java_home else {}),
        **({TOKEN_VARIABLE: token} if token else {}),
        **(_local_environment(local_work) if local_work else {}),
        "SPARK_HOME": str(SPARK_HOME),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        # Under another locale Java cannot name files with letters outside ASCII.
        "LC_ALL": "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8",
        "TZ": "UTC",
        # The C library gives each thread memory of its own and keeps it: a tenth of the process, for nothing.
        "MALLOC_ARENA_MAX": "2",
    }


def _local_environment(work: Path) -> dict[str, str]:
    return {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": str(work), "PYSPARK_PYTHON": sys.executable}


def delta_jars(home: Path) -> list[Path]:
    """List Delta's jars.

    Raises:
        StoreError: they are not there.
    """
    jars = sorted((home / "jars").glob("delta-*.jar"))
    if not any(jar.name.startswith("delta-spark") for jar in jars):
        raise StoreError(
            f"Delta Lake's jars are not in {home / 'jars'}: `./run setup` fetches them; without a checkout put those "
            f"that {CONF / 'jars.toml'} names there"
        )
    return jars


def is_local_master(master: str) -> bool:
    """Say whether a Spark master is this machine."""
    return master.startswith("local")


def _spark_submit(settings: Settings, master: str, work: Path) -> list[str]:
    # Not as a URI: Spark takes the %20 of one for letters of the path.
    warehouse = ("--conf", f"spark.sql.warehouse.dir=file://{work / 'warehouse'}")
    return [
        str(SPARK_HOME / "bin" / "spark-submit"),
        *("--master", master),
        *("--name", "tessera"),
        *("--properties-file", str(CONF / "spark-defaults.conf")),
        *(part for name, value in settings.engine.spark_conf.items() for part in ("--conf", f"{name}={value}")),
        *("--jars", ",".join(map(str, delta_jars(settings.home)))),
        *("--driver-memory", settings.engine.memory),
        *("--driver-java-options", _java_options(work)),
        *(warehouse if is_local_master(master) else ()),
    ]


# What HotSpot counts before it optimizes a method, and its defaults.
_TIER_4 = {
    "InvocationThreshold": 5000,
    "MinInvocationThreshold": 600,
    "CompileThreshold": 15000,
    "BackEdgeThreshold": 40000,
}


def _java_options(work: Path) -> str:
    options = (
        f"-Dlog4j2.configurationFile={(CONF / 'log4j2.properties').as_uri()}",
        f"-Djava.io.tmpdir={work}",
        f"-Dderby.system.home={work}",
        "-Dfile.encoding=UTF-8",
        "-Dsun.jnu.encoding=UTF-8",
        "-Duser.timezone=UTC",
        # Jobs want throughput, not short pauses: it takes a sixth off an ingestion on two cores.
        "-XX:+UseParallelGC",
        # The optimizing compiler took two fifths of a new JVM's time, and most jobs end before its code pays for that.
        # At eight times the usual counts small jobs are no faster, and large ones are slower.
        *(f"-XX:Tier4{name}={4 * usual}" for name, usual in _TIER_4.items()),
        # A server that ran out of memory answers nothing; one that ended is started again.
        "-XX:+ExitOnOutOfMemoryError",
        # The file in /tmp that would outlive a killed JVM.
        "-XX:-UsePerfData",
    )
    return " ".join(f'"{option}"' for option in options)
