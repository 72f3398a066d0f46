"""Answering what a run of a DAG asks, over Airflow's REST API, as a person does under *Required actions*."""

import json
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

_SECONDS = 600
# As long as a person takes to read. Airflow takes a try for dead that is answered before its process has ended.
_READING_SECONDS = 4
# A proxy of the user's is for the internet, not for this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Approver:
    """One user of Airflow, who sees and answers what a DAG's runs ask."""

    url: str
    user: str
    password: str = field(repr=False)
    dag_id: str
    _token: str = field(default="", repr=False)

    def see_through(self, run_id: str, why: str) -> tuple[list[str], str]:
        """Approve of whatever a run asks until it is over; returns the questions and the run's state.

        Raises:
            SystemExit: the run is not over in time.
        """
        asked: list[str] = []
        since: dict[str, float] = {}
        deadline = time.monotonic() + _SECONDS
        while (state := str(self._ask("GET", self._run(run_id))["state"])) not in ("success", "failed"):
            if time.monotonic() > deadline:
                raise SystemExit(f"demo: the run {run_id} of {self.dag_id} is {state} after {_SECONDS} s")
            now = time.monotonic()
            waiting = self._questions(run_id)
            since = {task: since.get(task, now) for task in waiting}
            for task in (task for task in waiting if now - since[task] >= _READING_SECONDS):
                answer = {"chosen_options": ["Approve"], "params_input": {"reason": why}}
                self._ask("PATCH", f"{self._run(run_id)}/taskInstances/{task}/-1/hitlDetails", answer)
                asked.append(waiting[task])
            time.sleep(1)
        return asked, state

    def _questions(self, run_id: str) -> dict[str, str]:
        """Give what a run asks and waits for, by task."""
        asked = self._ask("GET", f"{self._run(run_id)}/hitlDetails")["hitl_details"]
        return {
            one["task_instance"]["task_id"]: one["subject"]
            for one in asked
            if one["task_instance"]["state"] == "awaiting_input" and not one["response_received"]
        }

    def _run(self, run_id: str) -> str:
        return f"/api/v2/dags/{self.dag_id}/dagRuns/{quote(run_id, safe='')}"

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        if not self._token:
            login = {"username": self.user, "password": self.password}
            self._token = str(self._sent("POST", "/auth/token", login)["access_token"])
        return self._sent(method, path, body)

    def _sent(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        headers |= {"Authorization": f"Bearer {self._token}"} if self._token else {}
        data = None if body is None else json.dumps(body).encode("utf-8")
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with _OPENER.open(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found
