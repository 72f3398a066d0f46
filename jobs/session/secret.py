"""The shared secret of the embedded server and its clients.

It keeps other users of the machine away from the server's port. It travels in the environment and in gRPC's
credentials only: never on a command line, never in a log.
"""

import fcntl
import json
import os
import secrets
from pathlib import Path

TOKEN_VARIABLE = "SPARK_CONNECT_AUTHENTICATE_TOKEN"
_KEY = "engine_token"


def engine_token(home: Path) -> str:
    """Read the token of the embedded server, making it once for a TESSERA_HOME.

    The environment's wins. Two processes that ask first at the same moment agree: the file is written under a lock and
    replaced as a whole, with every other key kept.
    """
    if given := os.environ.get(TOKEN_VARIABLE):
        return given
    path = home / "secrets.json"
    if known := _read(path).get(_KEY):
        return known
    home.mkdir(parents=True, exist_ok=True)
    with (home / "secrets.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = _read(path)
        if _KEY not in kept:
            kept[_KEY] = secrets.token_hex(32)
            _write(path, kept)
        return kept[_KEY]


def _read(path: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return found


def _write(path: Path, kept: dict[str, str]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(kept, file, indent=2)
    beside.replace(path)
