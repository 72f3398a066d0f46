"""The environment of every process that the launcher starts."""

import json
import os
import re

from launcher.airflow_database import database_settings
from launcher.jars import utf8_locale
from launcher.java import Java
from launcher.machine import CHECKOUT, VENV, VENV_PYTHON, Machine
from launcher.packages import site_packages
from launcher.refusal import BAD_REQUEST, Refusal
from launcher.secrets_file import USERS, Secrets

PLATFORM_MARK = "TESSERA_PLATFORM"
"""Every process of a platform has this variable, its value is the home: so none is ever lost sight of."""
COMPONENT_MARK = "TESSERA_COMPONENT"
_CONNECT_PORT = 15002


def child_environment(machine: Machine, java: Java, secrets: Secrets) -> dict[str, str]:
    """Return the environment of a Tessera process that is not part of the platform: the command line, a test."""
    env = {key: value for key, value in os.environ.items() if key not in (PLATFORM_MARK, COMPONENT_MARK, "PYTHONHOME")}
    local = "localhost,127.0.0.1,::1"
    return env | {
        "TESSERA_HOME": str(machine.home),
        "TESSERA_HOST": machine.host,
        "TESSERA_PORT": str(machine.port),
        "TESSERA_SPARK": machine.spark,
        "JAVA_HOME": str(java.home),
        "SPARK_HOME": str(site_packages() / "pyspark"),
        "PYSPARK_PYTHON": str(VENV_PYTHON),
        "PYSPARK_DRIVER_PYTHON": str(VENV_PYTHON),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "TESSERA_AIRFLOW__PASSWORD": os.environ.get("TESSERA_AIRFLOW__PASSWORD") or secrets.admin_password,
        "PATH": os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONUTF8": "1",
        "LC_ALL": utf8_locale(),
        "LANG": utf8_locale(),
        "TZ": "UTC",
        # A proxy between the parts of one machine would only lose their messages.
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), local])),
        "no_proxy": ",".join(filter(None, [os.environ.get("no_proxy"), local])),
    }


def platform_environment(machine: Machine, java: Java, secrets: Secrets) -> dict[str, str]:
    """Return the environment of the platform's processes.

    An AIRFLOW__… variable of the user's wins over the tunable ones here, Airflow's database among them, and never over
    the fixed ones: places, addresses and secrets.

    Raises:
        Refusal: the database or the engine that the settings name is of no known form.
    """
    airflow = {f"AIRFLOW__{key}": value for key, value in _tunable_airflow_settings().items()}
    airflow |= database_settings() | airflow_overrides()
    airflow |= {f"AIRFLOW__{key}": value for key, value in _fixed_airflow_settings(machine, secrets).items()}
    env = {
        key: value
        for key, value in child_environment(machine, java, secrets).items()
        if not key.startswith("AIRFLOW__")
    }
    connection = {"AIRFLOW_CONN_SPARK_DEFAULT": env.get("AIRFLOW_CONN_SPARK_DEFAULT") or spark_connection(machine)}
    return (
        env
        | airflow
        | connection
        | {
            "AIRFLOW_HOME": str(machine.airflow_home),
            "SPARK_CONNECT_AUTHENTICATE_TOKEN": secrets.engine_token,
            PLATFORM_MARK: str(machine.home),
            # Without it a process that sets its title overwrites its environment in /proc, and with it the mark.
            "SPT_NOENV": "1",
            # The folder a process runs in must not be able to stand in for a module.
            "PYTHONSAFEPATH": "1",
        }
    )


def airflow_overrides() -> dict[str, str]:
    """Return the Airflow settings that the user's own environment gives."""
    return {key: value for key, value in os.environ.items() if key.startswith("AIRFLOW__")}


def spark_connection(machine: Machine) -> str:
    """Return Airflow's connection `spark_default`, as JSON, for the engine that the settings name.

    Raises:
        Refusal: the engine's name is none of the known forms.
    """
    spark = machine.spark
    if machine.has_embedded_engine:
        # Literally localhost: with a token, every other name makes the client ask for TLS.
        return json.dumps({"conn_type": "spark_connect", "host": "sc://localhost", "port": machine.engine_port})
    if connect := re.fullmatch(r"(sc://[^:/;\s]+)(?::(\d+))?(?:/(?:;\S*)?)?", spark):
        return json.dumps({"conn_type": "spark_connect", "host": connect[1], "port": int(connect[2] or _CONNECT_PORT)})
    if re.fullmatch(r"yarn|local(\[.+\])?|(spark|k8s)://\S+", spark):
        return json.dumps({"conn_type": "spark", "host": spark})
    raise Refusal(
        f"TESSERA_SPARK (engine.spark) is {spark!r}: it must be embedded, sc://host:port, local[*], "
        "spark://host:port, yarn or k8s://https://host:port",
        BAD_REQUEST,
    )


def _tunable_airflow_settings() -> dict[str, str]:
    return {
        "CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        # Each worker is a process (32 by default); LocalExecutor can hang with many, and SQLite lets one write.
        "CORE__PARALLELISM": "4",
        # Python 3.14 would import Airflow anew in every worker.
        **({} if os.uname().sysname == "Darwin" else {"CORE__MP_START_METHOD": "fork"}),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__LOAD_EXAMPLES": "False",
        # The machine's full name may take seconds to look up, or have no answer; here all parts are on one machine.
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "API__INSTANCE_NAME": "Tessera",
        "API__EXPOSE_CONFIG": "False",
        # Two cores under load answer late; the default of 5 s ends tasks that are well.
        "WORKERS__EXECUTION_API_TIMEOUT": "30",
        # Half a minute of attempts, in which a killed API server comes back. A worker that cannot reach it ends
        # its task before the scheduler takes that for dead and has it tried again, so that none is at work twice.
        "WORKERS__EXECUTION_API_RETRIES": "18",
        "WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "3",
        "WORKERS__MAX_FAILED_HEARTBEATS": "1",
        # A task's token must outlive the task: one that is renewed in its last second ends the task.
        "EXECUTION_API__JWT_EXPIRATION_TIME": "172800",
        "SCHEDULER__CATCHUP_BY_DEFAULT": "False",
        # A task whose process was killed is retried, or failed, within about a minute and a half.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "75",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "10",
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "45",
        "SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        # A dataset that is applied now is in the form within a minute: forms are made when a DAG file is read.
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "25",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "20",
        "DAG_PROCESSOR__PRINT_STATS_INTERVAL": "0",
    }


def _fixed_airflow_settings(machine: Machine, secrets: Secrets) -> dict[str, str]:
    return {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(machine.airflow_home / "passwords.json"),
        "CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
        "CORE__FERNET_KEY": secrets.airflow_fernet_key,
        "CORE__EXECUTION_API_SERVER_URL": f"{machine.url}/execution/",
        "API__HOST": machine.host,
        "API__PORT": str(machine.port),
        # Without it the workers of any port but 8080 talk to port 8080.
        "API__BASE_URL": machine.url,
        "API__SECRET_KEY": secrets.airflow_secret_key,
        "API_AUTH__JWT_SECRET": secrets.airflow_jwt_secret,
        "LOGGING__BASE_LOG_FOLDER": str(machine.airflow_home / "logs"),
    }
