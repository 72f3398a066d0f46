"""Secrets: made once, for their owner only."""

import json
import stat

from launcher.machine import Machine
from launcher.secrets_file import USERS, ensure_secrets, write_airflow_passwords


def test_the_files_are_readable_by_their_owner_only(machine: Machine) -> None:
    write_airflow_passwords(machine, ensure_secrets(machine))
    for path in (machine.home / "secrets.json", machine.airflow_home / "passwords.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(machine.airflow_home.stat().st_mode) == 0o700


def test_they_stay_the_same(machine: Machine) -> None:
    assert ensure_secrets(machine) == ensure_secrets(machine)


def test_a_token_that_the_command_line_made_first_is_kept(machine: Machine) -> None:
    path = machine.home / "secrets.json"
    path.write_text(json.dumps({"engine_token": "made before", "of_another": "kept"}))
    assert ensure_secrets(machine).engine_token == "made before"
    assert json.loads(path.read_text())["of_another"] == "kept"


def test_every_user_has_a_password_of_its_own(machine: Machine) -> None:
    secrets = ensure_secrets(machine)
    assert write_airflow_passwords(machine, secrets)
    passwords = json.loads((machine.airflow_home / "passwords.json").read_text())
    assert passwords.keys() == USERS.keys()
    assert len(set(passwords.values())) == len(USERS)
    assert not write_airflow_passwords(machine, secrets)
