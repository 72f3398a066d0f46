"""Answering what a run of a DAG asks, over Airflow's REST API, as a person does under *Required actions*."""

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

_SECONDS = 600
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

    def approve(self, run_id: str, why: str) -> str:
        """Approve of what a run asks, once it does; returns the question. SystemExit: it asks nothing in time."""
        [asked] = self._awaited(lambda: self._questions(run_id), f"ask anything in run {run_id}")
        task = asked["task_instance"]["task_id"]
        answer = {"chosen_options": ["Approve"], "params_input": {"reason": why}}
        self._ask("PATCH", f"{self._run(run_id)}/taskInstances/{task}/-1/hitlDetails", answer)
        return str(asked["subject"])

    def end_of(self, run_id: str) -> str:
        """Wait until a run is over; returns its state. SystemExit: it is not in ten minutes."""
        return str(self._awaited(lambda: self._end(run_id), f"end the run {run_id}"))

    def _questions(self, run_id: str) -> list[dict[str, Any]]:
        """List what a run asks and waits for."""
        asked = self._ask("GET", f"{self._run(run_id)}/hitlDetails")["hitl_details"]
        return [one for one in asked if one["task_instance"]["state"] == "awaiting_input"]

    def _end(self, run_id: str) -> str:
        state = self._ask("GET", self._run(run_id))["state"]
        return str(state) if state in ("success", "failed") else ""

    def _awaited(self, look: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + _SECONDS
        while not (found := look()):
            if time.monotonic() > deadline:
                raise SystemExit(f"demo: {self.dag_id} does not {what} for {_SECONDS} s")
            time.sleep(1)
        return found

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
