"""Asking Airflow and the engine whether they work."""

import contextlib
import http.client
import json
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launcher.machine import Machine

_AIRFLOW_PARTS = ("scheduler", "triggerer", "dag_processor")
# Of a server that is not there, or is killed while it answers.
_NO_ANSWER = (OSError, ValueError, http.client.HTTPException)
# A proxy of the user's is for the internet, not for this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Dags:
    """What Airflow has read of the DAG files."""

    files: frozenset[str]
    """Names of the files that were read, with or without success."""
    paused: tuple[str, ...]
    broken: tuple[str, ...]
    """Files that could not be read, each with the last line of its error."""


def dag_files(folder: Path) -> list[Path]:
    """List the files that Airflow will look for DAGs in: not ignored, and with the two words it looks for."""
    ignore_file = folder / ".airflowignore"
    ignored = ignore_file.read_text("utf-8").splitlines() if ignore_file.exists() else []
    found = (p for p in sorted(folder.glob("*.py")) if not any(p.match(line) for line in ignored if line.strip()))
    return [path for path in found if all(word in path.read_bytes().lower() for word in (b"dag", b"airflow"))]


def takes_connections(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=2):
        return True
    return False


def api_answers(machine: Machine) -> bool:
    """Whether Airflow's API server answers, and soon."""
    try:
        _get(f"{machine.url}/api/v2/monitor/health", None, timeout=2)
    except _NO_ANSWER:
        return False
    return True


def heartbeats(machine: Machine) -> dict[str, datetime | None] | None:
    """Return when each part of Airflow last gave a sign; None when the API server does not answer."""
    try:
        answer = _get(f"{machine.url}/api/v2/monitor/health", None)
    except _NO_ANSWER:
        return None
    beats: dict[str, datetime | None] = {}
    for part in _AIRFLOW_PARTS:
        text = (answer.get(part) or {}).get(f"latest_{part}_heartbeat")
        beats[part.replace("_", "-")] = datetime.fromisoformat(text).astimezone(UTC) if text else None
    return beats


def dags(machine: Machine, user: str, password: str, since: datetime) -> Dags | None:
    """Return what Airflow has read of the DAG files since an instant; None when it does not answer."""
    try:
        token = _login(machine, user, password)
        listed = _get(f"{machine.url}/api/v2/dags?limit=500", token)["dags"]
        errors = _get(f"{machine.url}/api/v2/importErrors?limit=100", token)["import_errors"]
    except (*_NO_ANSWER, KeyError):
        return None
    fresh = [dag for dag in listed if datetime.fromisoformat(dag["last_parsed_time"]) >= since]
    named = [dag["fileloc"] for dag in fresh] + [error["filename"] for error in errors]
    return Dags(
        files=frozenset(Path(name).name for name in named),
        paused=tuple(dag["dag_id"] for dag in fresh if dag["is_paused"]),
        broken=tuple(f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}" for error in errors),
    )


def _login(machine: Machine, user: str, password: str) -> str:
    body = json.dumps({"username": user, "password": password}).encode("utf-8")
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{machine.url}/auth/token", body, headers, method="POST")
    with _OPENER.open(request, timeout=20) as answer:
        return str(json.load(answer)["access_token"])


def _get(url: str, token: str | None, timeout: float = 20) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with _OPENER.open(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
