"""What people are told: beside a run, by a note in the grid; elsewhere, by an alert when a run failed or a DAG is late.

An alert is one JSON document, posted to the Airflow connection `tessera_alerts`: host is the whole address, or host and
port of a server and `schema` its protocol; a password is sent as a bearer token. Without the connection nothing is
posted. An alert never harms what it tells of: it takes at most `alerts.timeout_seconds`, and a server that refuses it
is a line in the log.

Deadlines of Airflow are those of one run. A DAG that is paused, or that nobody triggers, has no run that could be late,
so lateness is looked for by `scan_landing`.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseNotifier, Connection, Context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowNotFoundException

from jobs.errors import NotFound, StoreError, TesseraError
from jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from jobs.dag_runs import DagRuns

logger = logging.getLogger(__name__)

ALERTS_CONNECTION = "tessera_alerts"
# This Airflow's REST API and a user of it, for the notes of runs. Without it the settings `airflow` say who.
AIRFLOW_CONNECTION = "tessera_airflow"
_REASON_CHARACTERS = 1000


def dag_runs() -> "DagRuns":
    """Reach this Airflow's REST API, by the connection `tessera_airflow`, or else by the settings `airflow`.

    Raises:
        StoreError: neither names a password.
    """
    from jobs.dag_runs import DagRuns

    try:
        connection = Connection.get(AIRFLOW_CONNECTION)
    except AirflowNotFoundException:
        return DagRuns.of(load_settings())
    host = connection.host or "localhost"
    url = host if "://" in host else f"{connection.schema or 'http'}://{host}"
    port = f":{connection.port}" if connection.port else ""
    return DagRuns(f"{url.rstrip('/')}{port}", connection.login or "", connection.password or "")


def write_note(context: Context, note: str) -> None:
    """Put the note beside the run in the grid; without it the run is as good."""
    try:
        with dag_runs() as runs:
            runs.set_note(context["ti"].dag_id, context["ti"].run_id, note)
    except TesseraError as refused:
        logger.warning("the note was not written: %s", refused)


class Alerts(BaseNotifier):
    """Posts an alert for a run that failed. Called by Airflow's DAG processor, once for every such run."""

    def notify(self, context: Context) -> None:
        """Post what is known of the failure: the note beside the run, or else Airflow's own word for it."""
        if _target() is not None:
            post(context, "failed", _note(context) or str(context.get("reason") or ""))


def _note(context: Context) -> str:
    """Read the note beside a run; empty when there is none, or when Airflow does not answer in time."""
    try:
        runs = dag_runs()
    except StoreError:
        return ""

    def read() -> str:
        try:
            with runs:
                return runs.get(context["dag"].dag_id, str(context["run_id"]))["note"] or ""
        except TesseraError as refused:
            logger.info("the alert has no note: %s", refused)
            return ""

    return _within(load_settings().alerts.timeout_seconds, read) or ""


def post(context: Context, state: str, reason: str, dag_id: str | None = None) -> bool:
    """Post an alert.

    Args:
        context: of the task or callback.
        state: failed, refused, waiting or late.
        reason: why; at most 1,000 characters of it are posted.
        dag_id: another DAG than that of the context; the alert then names no run.

    Returns:
        whether it was taken.
    """
    target = _target()
    if target is None:
        return False
    run_id = "" if dag_id else str(context["run_id"])
    dag_id = dag_id or context["dag"].dag_id
    alert = {
        "dag": dag_id,
        "run": run_id,
        "state": state,
        "reason": reason[:_REASON_CHARACTERS],
        "link": _link(dag_id, run_id),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return _sent(target, alert, load_settings().alerts.timeout_seconds)


def late_dags(settings: Settings, now: datetime) -> dict[str, str]:
    """Find the DAGs that became late since the last look of `scan_landing`, or late for another day; with the reason.

    Without somebody to tell, or without a user of Airflow's REST API to ask as, none is looked for.

    Args:
        settings: of this installation.
        now: when the run of `scan_landing` began, as the one before is known by its beginning, too.
    """
    hours = {dag_id: limit for dag_id, limit in settings.alerts.freshness_hours.items() if limit}
    if not hours or _target() is None:
        return {}
    try:
        with dag_runs() as runs:
            return {dag_id: told for dag_id, limit in hours.items() if (told := _late(runs, dag_id, limit, now))}
    except StoreError as away:
        logger.warning("late DAGs were not looked for: %s", away)
        return {}


def _late(runs: "DagRuns", dag_id: str, hours: float, now: datetime) -> str:
    """Say since when a DAG is late; empty when it is not, or when the look before said so already.

    A DAG that never succeeded counts from the first look of all.
    """
    from jobs.dag_runs import became_late

    try:
        success = runs.newest(dag_id, ["success"])
    except NotFound:
        logger.warning("alerts.freshness_hours names %r, and there is no such DAG", dag_id)
        return ""
    look, first = runs.newest("scan_landing"), runs.oldest("scan_landing")
    fresh_from = _instant(success, "end_date") or _instant(first, "start_date") or now
    if not became_late(fresh_from, timedelta(hours=hours), _instant(look, "start_date"), now):
        return ""
    what = "the last success was at" if success else "no success, looked for since"
    return f"{what} {fresh_from:%Y-%m-%dT%H:%M:%SZ}; alerts.freshness_hours allows {hours:g} h"


def _instant(run: dict[str, Any] | None, name: str) -> datetime | None:
    return datetime.fromisoformat(run[name]) if run and run[name] else None


def _target() -> Connection | None:
    """Return who wants to be told, if anybody does."""
    try:
        found: Connection = Connection.get(ALERTS_CONNECTION)
    except AirflowNotFoundException:
        _say_once(f"no Airflow connection {ALERTS_CONNECTION!r}: no alert is posted")
        return None
    return found


@cache
def _say_once(text: str) -> None:
    logger.debug("%s", text)


def _link(dag_id: str, run_id: str) -> str:
    base = conf.get("api", "base_url", fallback="") or load_settings().airflow_url
    run = f"/runs/{quote(run_id, safe='')}" if run_id else ""
    return f"{base.rstrip('/')}/dags/{dag_id}{run}"


def _sent(target: Connection, alert: Mapping[str, str], timeout_seconds: float) -> bool:
    """Post one document; whatever goes wrong is said without address and token."""
    fault = _within(timeout_seconds, partial(_fault_of, target, alert, timeout_seconds))
    if fault is None:
        fault = f"no answer within {timeout_seconds:g} s"
    if fault:
        logger.warning("the alert of %s %s was not taken: %s", alert["dag"], alert["run"], fault)
    return not fault


def _fault_of(target: Connection, alert: Mapping[str, str], timeout_seconds: float) -> str:
    """Post, and say what went wrong; empty when nothing did."""
    import httpx

    # It would log the address, which of many services is a secret.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    headers = {"Authorization": f"Bearer {target.password}"} if target.password else {}
    try:
        # Only the status counts: a long answer is not read. A redirect is not followed: the token goes nowhere else.
        with httpx.stream("POST", _address(target), json=alert, headers=headers, timeout=timeout_seconds) as answer:
            return "" if answer.is_success else f"the server answered {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as refused:
        return f"{type(refused).__name__}; see the connection {ALERTS_CONNECTION!r}"


def _within(seconds: float, ask: Callable[[], str]) -> str | None:
    """Ask in a thread, and wait for so long and no longer; None when there is no answer.

    A server that answers byte by byte can keep any client's own timeout from ending.
    """
    answers: list[str] = []
    asking = Thread(target=lambda: answers.append(ask()), daemon=True)
    asking.start()
    asking.join(seconds)
    return answers[0] if answers else None


def _address(target: Connection) -> str:
    host = target.host or ""
    url = urlsplit(host if "://" in host else f"{target.schema or 'https'}://{host}")
    return (url._replace(netloc=f"{url.netloc}:{target.port}") if target.port and not url.port else url).geturl()
