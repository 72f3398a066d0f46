"""The secrets of one platform: made once, readable by their owner alone."""

import base64
import fcntl
import os
import secrets
from dataclasses import asdict, dataclass, fields

from launcher.files import read_json, write_json
from launcher.machine import Machine

USERS = {"admin": "admin", "operator": "op", "viewer": "viewer"}
"""User name -> role in Airflow."""


@dataclass(frozen=True)
class Secrets:
    """What <TESSERA_HOME>/secrets.json holds."""

    admin_password: str
    operator_password: str
    viewer_password: str
    engine_token: str
    airflow_fernet_key: str
    airflow_jwt_secret: str
    airflow_secret_key: str

    def password(self, user: str) -> str:
        """Return the password of one of USERS."""
        return str(getattr(self, f"{user}_password"))


def ensure_secrets(machine: Machine) -> Secrets:
    """Return the secrets of this platform, making those that are missing.

    What the file holds already stays, the entries of others included: the command line makes the engine's token when it
    comes first. Both write under one lock.
    """
    machine.home.mkdir(parents=True, exist_ok=True)
    path = machine.home / "secrets.json"
    with (machine.home / "secrets.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = read_json(path)
        content = {**asdict(_new_secrets()), **known}
        if content != known:
            write_json(path, content, mode=0o600)
    return Secrets(**{field.name: str(content[field.name]) for field in fields(Secrets)})


def write_airflow_passwords(machine: Machine, found: Secrets) -> bool:
    """Give Airflow its users' passwords in the form it reads; its own generated ones would be in its log.

    Returns:
        Whether they are new to it.
    """
    machine.airflow_home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = machine.airflow_home / "passwords.json"
    wanted = {user: found.password(user) for user in USERS}
    is_new = read_json(path) != wanted
    if is_new:
        write_json(path, dict(wanted), mode=0o600)
    return is_new


def _new_secrets() -> Secrets:
    return Secrets(
        admin_password=secrets.token_urlsafe(12),
        operator_password=secrets.token_urlsafe(12),
        viewer_password=secrets.token_urlsafe(12),
        engine_token=secrets.token_urlsafe(32),
        airflow_fernet_key=base64.urlsafe_b64encode(os.urandom(32)).decode("ascii"),
        airflow_jwt_secret=secrets.token_urlsafe(64),
        airflow_secret_key=secrets.token_urlsafe(32),
    )
