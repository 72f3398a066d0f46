"""Runs of the platform's DAGs, asked for and watched over Airflow's REST API.

A run's id is chosen here, so that asking twice for the same thing gives one run: Airflow answers 409 to the second.
"""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import urlencode

import httpx
from pydantic import BaseModel

from jobs.errors import Conflict, InvalidRequest, NotFound, StoreError
from jobs.settings import Settings

FINAL_STATES = frozenset({"success", "failed"})
_POLL_SECONDS = 1.0
# Seconds before what Airflow could not do is asked for once more, which does nothing twice. A database that lets one
# write at a time, as SQLite does, answers 500 when that one takes long.
_PAUSES = (0.5, 2.0, 5.0)
# What is still late is told again after a day.
_AGAIN = timedelta(days=1)
# Airflow refuses a longer one.
_NOTE_CHARACTERS = 1000


class DagRuns:
    """The runs of one Airflow, seen as one of its users.

    Args:
        url: address of Airflow's API server.
        user: a user who may trigger DAGs.
        password: that user's password.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._login = {"username": user, "password": password}
        self._client = httpx.Client(base_url=self._url, timeout=30)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Reach the Airflow that the settings name."""
        airflow = settings.airflow
        if not airflow.password:
            raise StoreError(
                "no password for Airflow's API: start the platform with `./run up`, "
                "or set TESSERA_AIRFLOW__URL, TESSERA_AIRFLOW__USER and TESSERA_AIRFLOW__PASSWORD"
            )
        return cls(settings.airflow_url, airflow.user, airflow.password)

    def __enter__(self) -> Self:
        answer = self._send("POST", "/auth/token", json=self._login)
        self._client.headers["Authorization"] = f"Bearer {answer['access_token']}"
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any], note: str | None = None) -> bool:
        """Ask for a run; False when a run of this id exists already.

        Raises:
            InvalidRequest: a value of `conf` breaks the rule of its form field.
        """
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf, "note": note}
        try:
            self._send("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        except Conflict:
            return False
        return True

    def get(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return one run as Airflow describes it."""
        return self._send("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")

    def newest(self, dag_id: str, states: Iterable[str] = FINAL_STATES) -> dict[str, Any] | None:
        """Return the run of a DAG that began last, of those that are in one of the states; None when there is none."""
        return next(iter(self._listed(dag_id, "-start_date", states)), None)

    def oldest(self, dag_id: str) -> dict[str, Any] | None:
        """Return the run of a DAG that began first."""
        return next(iter(self._listed(dag_id, "start_date", [*FINAL_STATES, "running"])), None)

    def _listed(self, dag_id: str, order: str, states: Iterable[str]) -> list[dict[str, Any]]:
        query = urlencode([("order_by", order), ("limit", 1), *(("state", state) for state in sorted(states))])
        found: list[dict[str, Any]] = self._send("GET", f"/api/v2/dags/{dag_id}/dagRuns?{query}")["dag_runs"]
        return found

    def wait(
        self,
        dag_id: str,
        run_id: str,
        seen: Callable[[str], None] | None = None,
        until: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Wait until a run ends, or until something else holds; `seen` is told every state it passes through."""
        last = None
        while (run := self.get(dag_id, run_id))["state"] not in FINAL_STATES and not until():
            if run["state"] != last and seen is not None:
                seen(run["state"])
            last = run["state"]
            time.sleep(_POLL_SECONDS)
        return run

    def set_note(self, dag_id: str, run_id: str, note: str) -> None:
        """Put a line beside the run, where people look at the grid."""
        shown = note if len(note) <= _NOTE_CHARACTERS else f"{note[: _NOTE_CHARACTERS - 1]}…"
        self._send("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", json={"note": shown})

    def cancel(self, dag_id: str, run_id: str) -> None:
        """Mark a run as failed: its tasks are stopped, its teardown still runs."""
        self._send("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", json={"state": "failed"})

    def _send(self, method: str, path: str, json: dict[str, Any] | None = None) -> dict[str, Any]:
        for seconds in (*_PAUSES, 0):
            try:
                answer = self._client.request(method, path, json=json)
            except httpx.HTTPError as away:
                raise StoreError(f"Airflow at {self._url} does not answer ({away}); start it with `./run up`") from None
            if not answer.is_server_error:
                break
            time.sleep(seconds)
        if answer.is_success:
            found: dict[str, Any] = answer.json()
            return found
        detail = _detail(answer)
        kinds = {400: InvalidRequest, 404: NotFound, 409: Conflict, 422: InvalidRequest}
        raise kinds.get(answer.status_code, StoreError)(f"Airflow answered {answer.status_code} to {path}: {detail}")


def _detail(answer: httpx.Response) -> str:
    try:
        detail = answer.json().get("detail", answer.text)
    except ValueError:
        detail = answer.text
    # A refused form value comes with a dump of its whole schema; the first line says what is wrong.
    return str(detail).strip().split("\n", 1)[0][:500]


def run_to_the_end(runs: DagRuns, dag_id: str, name: str, conf: dict[str, Any]) -> dict[str, Any]:
    """Have a thing done by a run and wait for it; a run of that name that is under way or has succeeded is the answer.

    Runs are called `<name>.<attempt>`; a new attempt is made only when the one before has failed.
    """
    attempt = 1
    while True:
        run_id = f"{name}.{attempt}"
        is_new = runs.trigger(dag_id, run_id, conf)
        run = runs.wait(dag_id, run_id)
        if is_new or run["state"] == "success":
            return run
        attempt += 1


def done_by_run(settings: Settings, dag_id: str, kind: str, params: BaseModel) -> list[str]:
    """Have a new run of a DAG do what a form of it asks for, and wait.

    Args:
        settings: of this installation, and the sandbox to work in.
        dag_id: the DAG.
        kind: what the run's id begins with.
        params: the form.

    Returns:
        the DAG and the run, with which the `run` of the record begins that the run made.

    Raises:
        StoreError: the run did not succeed; says how it ended.
    """
    sandbox = settings.store.sandbox
    run_id = f"{kind}-{sandbox}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    conf = {"sandbox": sandbox, **params.model_dump(mode="json", exclude_none=True)}
    with DagRuns.of(settings) as runs:
        ended = run_to_the_end(runs, dag_id, run_id, conf)
    if ended["state"] != "success":
        how = f"{ended['state']}: {ended['note'] or 'see its log'}"
        raise StoreError(f"the run {ended['dag_run_id']} of the DAG {dag_id} ended as {how}")
    return [dag_id, ended["dag_run_id"]]


def became_late(
    fresh_from: datetime, allowed: timedelta, looked_at: datetime | None, now: datetime, again: timedelta = _AGAIN
) -> bool:
    """Tell whether something became late since the last look, or has been late for another span of `again` since.

    So every look says what happened since the one before, nothing is told twice, and nothing need be kept.

    Args:
        fresh_from: when it was fresh for the last time.
        allowed: how long it stays so.
        looked_at: when somebody looked before; None: never.
        now: when somebody looks.
        again: after how long it is told again.
    """

    def spans(at: datetime) -> int:
        late = at - fresh_from - allowed
        return -1 if late < timedelta() else late // again

    return spans(now) > (-1 if looked_at is None else spans(looked_at))
