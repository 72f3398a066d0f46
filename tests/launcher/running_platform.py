"""A platform of its own for tests: its home, its ports, and one DAG whose task can be held."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.conftest import free_port, link_jars

CHECKOUT = Path(__file__).resolve().parents[2]

# The first attempt waits for its file `go`; an attempt after a kill returns at once.
HELD_DAG = '''
"""A task that waits until it is told to go on."""
import os, time
from datetime import timedelta
from pathlib import Path
from airflow.sdk import DAG, get_current_context, task

with DAG("held", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(seconds=1)}):

    @task
    def wait():
        context = get_current_context()
        files = Path(os.environ["TESSERA_HOME"]) / "held" / context["run_id"]
        files.mkdir(parents=True, exist_ok=True)
        if context["ti"].try_number > 1:
            return
        (files / "pid").write_text(str(os.getpid()))
        while not (files / "go").exists():
            time.sleep(0.2)

    wait()
'''


class RunningPlatform:
    """One platform, started and stopped with `./run` as a user would."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.port = free_port()
        dags = folder / "dags"
        dags.mkdir(parents=True)
        (dags / "held.py").write_text(HELD_DAG)
        link_jars(self.home)
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("TESSERA_", "AIRFLOW_"))},
            "TESSERA_HOME": str(self.home),
            "TESSERA_PORT": str(self.port),
            "TESSERA_ENGINE__MEMORY": "1g",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            # Of a killed task the scheduler learns by silence; the platform's own 75 s would make these tests long.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "25",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one `./run` command; its output, both streams, is in `stdout`."""
        return subprocess.run(
            [str(CHECKOUT / "run"), *arguments],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )

    def up(self) -> None:
        """Make it whole, from whatever state."""
        done = self.run("up")
        assert done.returncode == 0, done.stdout

    def status(self) -> dict[str, Any]:
        """What `./run status --json` tells."""
        told: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return told

    def pid(self, component: str) -> int:
        """Process of a component."""
        return int(self.status()["components"][component]["pid"])

    def workers(self) -> list[psutil.Process]:
        """Airflow's workers, at work or idle."""
        children = psutil.Process(self.pid("scheduler")).children()
        return [child for child in children if "LocalExecutor" in " ".join(child.cmdline())]

    def processes(self) -> list[psutil.Process]:
        """Every living process of this platform."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def hold_run(self, run_id: str) -> int:
        """Start a run of the DAG `held`; returns the process of its task once that is in the middle of its work."""
        body = {"dag_run_id": run_id, "logical_date": None}
        self._api("POST", "/api/v2/dags/held/dagRuns", body)
        pid_file = self.home / "held" / run_id / "pid"
        wait_until(lambda: pid_file.exists() and bool(pid_file.read_text()), 90, f"the task of {run_id} to start")
        return int(pid_file.read_text())

    def let_go(self, run_id: str) -> None:
        """Let the task of a run end."""
        (self.home / "held" / run_id / "go").touch()

    def end_of(self, run_id: str) -> tuple[str, int]:
        """Wait until a run ends; returns its state and the number of attempts of its task."""
        path = f"/api/v2/dags/held/dagRuns/{run_id}"
        wait_until(lambda: self._api("GET", path)["state"] in ("success", "failed"), 300, f"{run_id} to end")
        return self._api("GET", path)["state"], self._api("GET", f"{path}/taskInstances/wait")["try_number"]

    def paused_dags(self) -> list[str]:
        """DAGs that nobody may trigger."""
        return [dag["dag_id"] for dag in self._api("GET", "/api/v2/dags")["dags"] if dag["is_paused"]]

    def _api(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        login = {
            "username": "admin",
            "password": json.loads((self.home / "secrets.json").read_text())["admin_password"],
        }
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False) as client:
            token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
            answer = client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})
            told: dict[str, Any] = answer.raise_for_status().json()
        return told

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            is_alive = process.status() != psutil.STATUS_ZOMBIE
            return is_alive and process.environ().get("TESSERA_HOME") == str(self.home)
        except (psutil.Error, OSError):
            return False


def kill(pid: int) -> None:
    """End a process as a machine short of memory does."""
    os.kill(pid, signal.SIGKILL)


def wait_until(is_true: Callable[[], bool], seconds: float, what: str) -> None:
    """Look again and again until something holds.

    Raises:
        AssertionError: it did not in time.
    """
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.3)
