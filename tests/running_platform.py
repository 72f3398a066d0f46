"""A platform of its own for tests: its home, its ports, the project's DAGs, and one whose task can be held."""

import json
import os
import signal
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from tests.airflow_api import AirflowApi, wait_until
from tests.homes import free_port, link_jars

CHECKOUT = Path(__file__).resolve().parents[1]

# The first attempt waits for its file `go`, a stubborn one heeds no request to end; an attempt after a kill returns at
# once.
HELD_DAG = '''
"""A task that waits until it is told to go on."""
import os, signal, time
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
        if context["run_id"].endswith("stubbornly"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
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
        self.dags = folder / "dags"
        self.dags.mkdir(parents=True)
        (self.dags / "held.py").write_text(HELD_DAG)
        for file in (".airflowignore", *(path.name for path in (CHECKOUT / "dags").glob("*.py"))):
            (self.dags / file).symlink_to(CHECKOUT / "dags" / file)
        link_jars(self.home)
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("TESSERA_", "AIRFLOW_"))},
            "TESSERA_HOME": str(self.home),
            "TESSERA_PORT": str(self.port),
            "TESSERA_ENGINE__MEMORY": "1g",
            # Only the tests look into the landing folders, and when they are ready for it.
            "TESSERA_LANDING__SCHEDULE": "",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
        }

    @cached_property
    def airflow(self) -> AirflowApi:
        """Its REST API."""
        return AirflowApi(f"http://127.0.0.1:{self.port}", self.home)

    def tessera(self, *arguments: str) -> Any:
        """Run one `tessera` command that must succeed; gives the JSON document it prints."""
        done = subprocess.run(
            [str(CHECKOUT / "run"), "tessera", *arguments, "--json"],
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

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

    def spark(self) -> psutil.Process:
        """Spark's JVM, which its keeper starts again when it dies."""
        return next(child for child in psutil.Process(self.pid("engine")).children() if "java" in child.name())

    def workers(self) -> list[psutil.Process]:
        """Airflow's workers, at work or idle."""
        children = psutil.Process(self.pid("scheduler")).children()
        return [child for child in children if "LocalExecutor" in " ".join(child.cmdline())]

    def tasks_at_work(self, instance: str) -> list[psutil.Process]:
        """The process of a task instance, by its id; none while no worker has it."""
        children = [child for worker in self.workers() for child in worker.children()]
        return [child for child in children if instance in _title(child)]

    def processes(self) -> list[psutil.Process]:
        """Every living process of this platform."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def hold_run(self, run_id: str) -> int:
        """Start a run of the DAG `held`; returns the process of its task once that is in the middle of its work."""
        self.airflow.of("held").start(run_id)
        pid_file = self.home / "held" / run_id / "pid"
        wait_until(lambda: pid_file.exists() and bool(pid_file.read_text()), 90, f"the task of {run_id} to start")
        return int(pid_file.read_text())

    def let_go(self, run_id: str) -> None:
        """Let the task of a run end."""
        (self.home / "held" / run_id / "go").touch()

    def end_of(self, run_id: str) -> tuple[str, int]:
        """Wait until a run of `held` ends; returns its state and the number of attempts of its task."""
        held = self.airflow.of("held")
        return held.end_of(run_id)["state"], held.tries(run_id, "wait")

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            is_alive = process.status() != psutil.STATUS_ZOMBIE
            return is_alive and process.environ().get("TESSERA_HOME") == str(self.home)
        except (psutil.Error, OSError):
            return False


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill(pid: int) -> None:
    """End a process as a machine short of memory does."""
    os.kill(pid, signal.SIGKILL)
