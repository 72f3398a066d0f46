"""The DAGs in an Airflow that `./run` knows nothing of, with the product installed from its wheel."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import psutil
import pytest
from packaging.requirements import Requirement

from jobs.session.engines import Engine
from tests.airflow_api import AirflowApi, wait_until
from tests.dags.workplace import events
from tests.homes import free_port
from tests.running_platform import CHECKOUT

pytestmark = pytest.mark.waits

PASSWORD = "only-for-this-test"
_START_SECONDS = 120


@dataclass(frozen=True)
class Site:
    """A machine on which somebody has installed the wheel, copied the DAGs and set what the README says."""

    folder: Path
    port: int
    engine: Engine

    @property
    def packages(self) -> Path:
        return self.folder / "site-packages"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        server, _, parameters = self.engine.target.partition("/;")
        host, _, port = server.removeprefix("sc://").partition(":")
        token = dict(p.partition("=")[::2] for p in parameters.split(";")).get("token")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TESSERA_", "AIRFLOW_"))}
        return kept | {
            # What the README asks for.
            "TESSERA_HOME": str(self.folder / "home"),
            "TESSERA_CATALOG_URL": f"sqlite:///{self.folder}/records.db",
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark_connect", "host": host, "port": int(port)}),
            "AIRFLOW_CONN_TESSERA_AIRFLOW": f"http://admin:{PASSWORD}@127.0.0.1:{self.port}",
            **({"SPARK_CONNECT_AUTHENTICATE_TOKEN": token} if token else {}),
            # The wheel before the checkout, and this interpreter's own programs.
            "PYTHONPATH": str(self.packages),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            # Whoever runs an Airflow has chosen these.
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.folder / "passwords.json"),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            # Any: the usual ones may be those of an Airflow of the machine.
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "0",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": "0",
        }

    def tessera(self, *arguments: str) -> Any:
        """Run the installed program; gives the JSON document that it prints."""
        done = subprocess.run(
            [str(self.packages / "bin" / "tessera"), *arguments, "--json"],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def site(tmp_path: Path, engine: Engine) -> Site:
    """Install the wheel of this checkout, and copy the DAGs."""
    site = Site(tmp_path / "somewhere else", free_port(), engine)
    # Copied, because a build leaves its traces beside the source.
    source = tmp_path / "source"
    for name in ("jobs", "conf"):
        copytree(CHECKOUT / name, source / name, symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((CHECKOUT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site.packages), str(source)]
    installed = subprocess.run(pip, capture_output=True, text=True, timeout=300, check=False)
    assert installed.returncode == 0, installed.stderr
    copytree(CHECKOUT / "dags", site.folder / "airflow" / "dags")
    (site.folder / "passwords.json").write_text(json.dumps({"admin": PASSWORD}))
    (site.folder / "home").mkdir()
    # Where the API of the tests looks it up.
    (site.folder / "secrets.json").write_text(json.dumps({"admin_password": PASSWORD}))
    return site


@contextmanager
def standalone(site: Site) -> Iterator[AirflowApi]:
    """Run `airflow standalone` until the block ends, and leave no process of it."""
    log = site.folder / "standalone.log"
    with log.open("wb") as output:
        airflow = subprocess.Popen(
            [str(Path(sys.executable).parent / "airflow"), "standalone"],
            cwd=site.folder,
            env=site.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    api = AirflowApi(site.url, site.folder)
    try:
        wait_until(lambda: _has_dag(api) or airflow.poll() is not None, _START_SECONDS, f"the DAG; {log}")
        assert airflow.poll() is None, log.read_text()
        yield api
    finally:
        _end_all(site, airflow)


def _has_dag(api: AirflowApi) -> bool:
    with suppress(httpx.HTTPError, KeyError, ValueError):
        return api.answer("GET", "/api/v2/dags/ingest").is_success
    return False


def _end_all(site: Site, airflow: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(airflow.pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _processes(site, airflow.pid):
        time.sleep(0.2)
        airflow.poll()
    for process in _processes(site, airflow.pid):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    airflow.wait()


def _processes(site: Site, session: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            is_alive = process.status() != psutil.STATUS_ZOMBIE
            # A worker's title may cover its environment.
            is_of_session = os.getsid(process.pid) == session
            if is_alive and (is_of_session or process.environ().get("TESSERA_HOME") == site.env["TESSERA_HOME"]):
                found.append(process)
    return found


def test_the_dags_ingest_in_an_airflow_of_ones_own(site: Site) -> None:
    declared = site.folder / "definitions.json"
    namespaces = [{"code": "CRMID", "type": "Cross_device"}]
    declared.write_text(json.dumps({"namespaces": namespaces, "datasets": [events("orders", enabled=True)]}))
    site.tessera("apply", str(declared))
    rows = site.folder / "orders.jsonl"
    rows.write_text('{"_id": "1", "timestamp": "2024-01-01T10:00:00Z", "customerID": "c1", "amount": "2.50"}\n' * 2)
    with standalone(site) as airflow:
        airflow.start("by-rest", {"dataset": "orders", "files": [str(rows)], "batch_id": "first"})
        assert airflow.end_of("by-rest")["state"] == "success", airflow.states("by-rest")
        note = airflow.run("by-rest")["note"]
    batch = site.tessera("batch", "first")["batch"]
    assert batch["status"] == "ACTIVE"
    assert (batch["result"]["read"], batch["result"]["applied"], batch["result"]["duplicates"]) == (2, 1, 1)
    assert note.startswith("batch first: 2 rows read = 1 applied"), note
    assert (site.folder / "home" / "store" / "prod" / "lake" / "orders" / "_delta_log").is_dir()


def test_an_installed_package_brings_its_settings_along(site: Site) -> None:
    code = "import jobs; from jobs.settings import CONF; print(jobs.__file__, *sorted(p.name for p in CONF.iterdir()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=site.folder, env=site.env, capture_output=True, text=True, check=True
    )
    where, _, files = done.stdout.strip().partition(".py ")
    assert Path(where).is_relative_to(site.packages)
    assert files == "jars.toml log4j2.properties spark-defaults.conf tessera.toml"


def test_what_the_package_asks_for_is_what_is_tested() -> None:
    pins = dict(
        re.findall(
            r"^([\w-]+)(?:\[\w+\])?==(\S+)", (CHECKOUT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    wanted = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    for one in map(Requirement, wanted):
        assert one.name in pins, f"{one.name} is not pinned"
        assert one.specifier.contains(pins[one.name]), f"{one}: tested is {pins[one.name]}"
