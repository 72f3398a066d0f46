"""What `./run status` shows."""

import json
from datetime import UTC, datetime

from launcher.machine import Machine
from launcher.packages import are_packages_ready
from launcher.record import PlatformRecord, is_supervised, read_record
from launcher.refusal import FAILED as EXIT_FAILED
from launcher.secrets_file import ensure_secrets
from launcher.steps import say


def status(machine: Machine, *, as_json: bool) -> int:
    """Show what runs and how to log in.

    Returns:
        0 when the platform is whole, else 1.
    """
    record = read_record(machine) if is_supervised(machine) else None
    is_well = False
    if record is not None and are_packages_ready():
        from launcher.platform import is_whole

        is_well = is_whole(machine)
    if as_json:
        say(json.dumps(_document(machine, record, is_well=is_well), indent=2))
    elif record is None:
        say("Tessera is not up. ./run up starts it.")
    else:
        _show(machine, record, is_well=is_well)
    return 0 if is_well else EXIT_FAILED


def _document(machine: Machine, record: PlatformRecord | None, *, is_well: bool) -> dict[str, object]:
    if record is None:
        return {"up": False, "whole": False, "home": str(machine.home)}
    parts = {
        name: {
            "state": part.state,
            "pid": part.pid,
            "started_at": part.started_at,
            "restarts": part.restarts,
            "note": part.note,
        }
        for name, part in record.components.items()
    }
    login = {"url": record.url, "user": "admin", "password": ensure_secrets(machine).admin_password}
    pids = {"supervisor": record.supervisor, "started_at": record.started_at}
    return {"up": True, "whole": is_well, "home": str(machine.home), **login, **pids, "components": parts}


def _show(machine: Machine, record: PlatformRecord, *, is_well: bool) -> None:
    say(
        "Tessera is up."
        if is_well
        else "Tessera is up, but not whole; see the logs, ./run doctor, or run ./run up again."
    )
    say(f"  {'part':<15} {'state':<9} {'process':>8}  {'for':<9} restarts")
    for name, part in record.components.items():
        age = f"{(datetime.now(UTC) - part.started).total_seconds() / 60:.0f} min" if part.started and part.pid else ""
        say(f"  {name:<15} {part.state:<9} {part.pid or '':>8}  {age:<9} {part.restarts}  {part.note}".rstrip())
    say(f"  Pages     {record.url}")
    say(f"  User      admin, password {ensure_secrets(machine).admin_password}")
    say(f"  Others    operator and viewer, passwords in {machine.home / 'secrets.json'}")
    say(f"  Logs      {machine.logs}")
