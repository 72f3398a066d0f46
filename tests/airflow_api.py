"""Airflow's REST API as a test asks it: runs, their tasks and what these logged."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

FINAL = ("success", "failed")
Answer = dict[str, Any]


@dataclass(frozen=True)
class LogLine:
    """One line of a task's log."""

    level: str
    logger: str
    text: str
    has_traceback: bool


class AirflowApi:
    """The API of one running Airflow, as one of its users sees it; the runs are those of one DAG."""

    def __init__(self, url: str, home: Path, dag_id: str = "ingest", user: str = "admin") -> None:
        self._url, self._home, self._user, self._token = url, home, user, ""
        self.dag_id = dag_id
        self._dag = f"/api/v2/dags/{dag_id}"

    def of(self, dag_id: str) -> "AirflowApi":
        """The same for another DAG."""
        return AirflowApi(self._url, self._home, dag_id, self._user)

    def seen_by(self, user: str) -> "AirflowApi":
        """The same for another user."""
        return AirflowApi(self._url, self._home, self.dag_id, user)

    def answer(self, method: str, path: str, body: Answer | None = None) -> httpx.Response:
        """Ask, and take whatever comes."""
        if not self._token:
            password = json.loads((self._home / "secrets.json").read_text())[f"{self._user}_password"]
            login = {"username": self._user, "password": password}
            self._token = httpx.post(f"{self._url}/auth/token", json=login, timeout=60, trust_env=False).json()[
                "access_token"
            ]
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        return httpx.request(method, self._url + path, json=body, headers=headers, timeout=60, trust_env=False)

    def call(self, method: str, path: str, body: Answer | None = None) -> Answer:
        """Ask; an answer that is an error fails the test."""
        answered = self.answer(method, path, body)
        assert answered.is_success, f"{method} {path}: {answered.status_code} {answered.text}"
        told: Answer = answered.json()
        return told

    def dag(self) -> Answer:
        """The DAG with its form."""
        return self.call("GET", f"{self._dag}/details")

    def trigger(self, run_id: str, conf: Answer | None = None) -> httpx.Response:
        """Ask for a run, and take whatever comes."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf or {}}
        return self.answer("POST", f"{self._dag}/dagRuns", body)

    def start(self, run_id: str, conf: Answer | None = None) -> None:
        """Ask for a run and get it."""
        answered = self.trigger(run_id, conf)
        assert answered.is_success, answered.text

    def run(self, run_id: str) -> Answer:
        """One run as it is now."""
        return self.call("GET", f"{self._dag}/dagRuns/{run_id}")

    def end_of(self, run_id: str, seconds: float = 400) -> Answer:
        """Wait until a run has ended."""
        wait_until(lambda: self.run(run_id)["state"] in FINAL, seconds, f"{run_id} to end")
        return self.run(run_id)

    def clear(self, run_id: str) -> None:
        """Have all tasks of a run done again."""
        body = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True}
        self.call("POST", f"{self._dag}/clearTaskInstances", body)

    def cancel(self, run_id: str) -> None:
        """Mark a run as failed, as a person does in the grid."""
        self.call("PATCH", f"{self._dag}/dagRuns/{run_id}", {"state": "failed"})

    def states(self, run_id: str) -> dict[str, str | None]:
        """The tasks of a run and their states."""
        return {name: ti["state"] for name, ti in self._tasks(run_id).items()}

    def instance(self, run_id: str, task_id: str) -> str:
        """The id of a task of a run, which the title of its process has."""
        found: str = self._tasks(run_id)[task_id]["id"]
        return found

    def tries(self, run_id: str, task_id: str) -> int:
        """How often a task was begun."""
        number: int = self._tasks(run_id)[task_id]["try_number"]
        return number

    def log(self, run_id: str, task_id: str, attempt: int = 1) -> list[LogLine]:
        """What a task logged, without Airflow's own grouping lines."""
        path = f"{self._dag}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        lines = [
            LogLine(line["level"], line.get("logger") or "", line["event"], bool(line.get("error_detail")))
            for line in self.call("GET", path)["content"]
            if isinstance(line, dict) and line.get("level")
        ]
        return [line for line in lines if not line.text.startswith("::")]

    def question(self, run_id: str, task_id: str, seconds: float = 200) -> Answer:
        """Wait until a task awaits an answer; gives the question."""
        wait_until(lambda: self.states(run_id)[task_id] == "awaiting_input", seconds, f"{task_id} of {run_id} to ask")
        return self.call("GET", f"{self._dag}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails")

    def reply(self, run_id: str, task_id: str, chosen: str, reason: str | None = None) -> httpx.Response:
        """Answer a question: Approve or Reject."""
        answer = {"chosen_options": [chosen], "params_input": {"reason": reason}}
        return self.answer("PATCH", f"{self._dag}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails", answer)

    def events_of(self, run_id: str) -> list[Answer]:
        """The asset events that a run emitted, the newest first."""
        # A run that an asset caused has a + in its id.
        path = f"/api/v2/assets/events?source_dag_id={self.dag_id}&source_run_id={quote(run_id)}&order_by=-timestamp"
        found: list[Answer] = self.call("GET", path)["asset_events"]
        return found

    def paused_dags(self) -> list[str]:
        """DAGs that nobody may trigger."""
        return [dag["dag_id"] for dag in self.call("GET", "/api/v2/dags")["dags"] if dag["is_paused"]]

    def _tasks(self, run_id: str) -> dict[str, Answer]:
        listed = self.call("GET", f"{self._dag}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {ti["task_id"]: ti for ti in listed}


def wait_until(is_true: Callable[[], bool], seconds: float, what: str) -> None:
    """Look again and again until something holds.

    Raises:
        AssertionError: it did not in time.
    """
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.2)
