"""Starting, stopping and showing the platform."""

import os
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil

from launcher import health
from launcher.airflow_database import refuse_unreachable_database
from launcher.command import last_lines
from launcher.components import API_SERVER, ENGINE
from launcher.containers import in_container
from launcher.environment import airflow_overrides, platform_environment
from launcher.files import read_json
from launcher.machine import CALLER_DIR, CHECKOUT, IN_VENV, VENV_PYTHON, Machine
from launcher.ports import has_own_engine, is_free, who_has
from launcher.processes import describe, is_alive, marked, stop_marked, stop_scheduler_and_tasks
from launcher.record import FAILED, RUNNING, ComponentRecord, PlatformRecord, is_supervised, one_command, read_record
from launcher.refusal import CONFLICT, Refusal
from launcher.secrets_file import Secrets, write_airflow_passwords
from launcher.setup import Ready
from launcher.steps import say, step, warn

_LOOK_SECONDS = 0.3
_START_SECONDS = 300.0
_DAGS_SECONDS = 90.0
_DOWN_SECONDS = 90.0
# Variables that the platform's processes read, but for those that say how this very command was called.
_SETTINGS = ("TESSERA_", "AIRFLOW_", "JAVA_HOME")
_OF_THE_CALL = {CALLER_DIR, IN_VENV}
_WAITING = "Waiting for another ./run up or down of this platform to end ..."


def up(ready: Ready) -> None:
    """Start the platform, or make a damaged one whole; returns when everything works.

    Raises:
        Refusal: a port is taken, Airflow's database is away, or a part does not come up; the message says which and
            why.
    """
    machine, is_password_new = ready.machine, False
    with one_command(machine, _WAITING):
        if is_supervised(machine) and not _is_given_up(machine):
            record = read_record(machine)
            if record and record.port != machine.port:
                raise Refusal(
                    f"the platform of {machine.home} is up on port {record.port}, not {machine.port}: ./run down first",
                    CONFLICT,
                )
            if record:
                _warn_of_other_settings(ready, record)
            title = "Tessera was up already."
        else:
            _clear_away_former(machine)
            refuse_busy_ports(machine)
            refuse_unreachable_database()
            is_password_new = write_airflow_passwords(machine, ready.secrets)
            _start_supervisor(ready)
            title = "Tessera is up."
        _wait_until_whole(machine, ready.secrets)
    _announce(ready, title, is_password_new=is_password_new)


def down(machine: Machine) -> None:
    """Stop the platform and a Spark server that a command started; leaves no process of theirs.

    Raises:
        Refusal: a process could not be stopped.
    """
    with one_command(machine, _WAITING):
        was_up = is_supervised(machine) or bool(marked(machine.home))
        if was_up:
            with step("Stopping the platform"):
                _stop(machine)
        has_engine = (machine.home / "engine" / "server.json").exists()
        if has_engine:
            with step("Stopping the Spark server that a command left"):
                _stop_lone_engine(machine)
        if left := marked(machine.home):
            raise Refusal(f"could not be stopped: {', '.join(describe(process) for process in left)}")
    say("Tessera is down." if was_up or has_engine else "Tessera was not up.")


def is_whole(machine: Machine) -> bool:
    """Whether every part of the platform runs and gave a sign of life since its start."""
    record = read_record(machine)
    return bool(
        record and is_supervised(machine) and _is_airflow_well(machine, record) and _is_engine_well(machine, record)
    )


def _is_given_up(machine: Machine) -> bool:
    record = read_record(machine)
    return bool(record and (record.failure or any(part.state == FAILED for part in record.components.values())))


def _clear_away_former(machine: Machine) -> None:
    if is_supervised(machine) or marked(machine.home):
        with step("Ending what a former platform left"):
            _stop(machine)


def _stop(machine: Machine) -> None:
    record = read_record(machine)
    if record and is_supervised(machine):
        deadline = time.monotonic() + _DOWN_SECONDS
        for process in marked(machine.home):
            if process.pid == record.supervisor:
                process.terminate()
        while is_supervised(machine) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
    stop_scheduler_and_tasks(machine.home)
    stop_marked(machine.home)


def _stop_lone_engine(machine: Machine) -> None:
    env = {**os.environ, "TESSERA_HOME": str(machine.home)}
    subprocess.run([VENV_PYTHON, "-m", "jobs.session.server", "--stop"], env=env, check=False, cwd=machine.home)


def refuse_busy_ports(machine: Machine) -> None:
    """Check the ports before anything starts.

    Raises:
        Refusal: one is taken; the message names the holder and the way out.
    """
    wanted = {(machine.host, machine.port): "the pages"}
    if machine.has_embedded_engine:
        wanted["127.0.0.1", machine.engine_port] = "the Spark server"
    for (host, port), purpose in wanted.items():
        if not is_free(host, port) and not has_own_engine(machine.home, port):
            raise Refusal(
                f"port {port}, wanted for {purpose}, is taken by {who_has(port)}. End it, or move all of Tessera's "
                f"ports: TESSERA_PORT={machine.port + 100} ./run up",
                CONFLICT,
            )


def _warn_of_other_settings(ready: Ready, record: PlatformRecord) -> None:
    """Name the variables of this call that differ from those that the platform runs with."""
    wanted = platform_environment(ready.machine, ready.java, ready.secrets)
    try:
        given = psutil.Process(record.supervisor).environ()
    except psutil.Error:
        return
    names = {name for name in given.keys() | wanted.keys() if name.startswith(_SETTINGS)} - _OF_THE_CALL
    if differing := sorted(name for name in names if given.get(name) != wanted.get(name)):
        warn(f"  Not as when it was started, and taken only by ./run down and ./run up: {', '.join(differing)}")


def _start_supervisor(ready: Ready) -> None:
    machine = ready.machine
    if taken := sorted(airflow_overrides()):
        warn(f"  From your environment, for Airflow: {', '.join(taken)}")
    machine.logs.mkdir(parents=True, exist_ok=True)
    (machine.home / "platform.json").unlink(missing_ok=True)
    with (machine.logs / "supervisor.log").open("wb") as output:
        process = subprocess.Popen(
            [VENV_PYTHON, "-m", "launcher.supervisor"],
            cwd=machine.home,
            env=platform_environment(machine, ready.java, ready.secrets),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _until(lambda: read_record(machine) is not None or process.poll() is not None, _START_SECONDS)
    if process.poll() is not None:
        raise Refusal(f"the supervisor ended at once:\n{last_lines(machine.logs / 'supervisor.log')}")


def _wait_until_whole(machine: Machine, secrets: Secrets) -> None:
    if is_whole(machine):
        return
    if not _record(machine).is_database_ready:
        with step("Airflow's database"):
            _wait_for(machine, lambda record: record.is_database_ready, "Airflow's database is not ready", "migration")
    if machine.has_embedded_engine:
        with step(f"Spark, on port {machine.engine_port}"):
            _wait_for(machine, lambda r: _is_engine_well(machine, r), "Spark does not answer", ENGINE)
    with step(f"Airflow, on port {machine.port}"):
        _wait_for(machine, lambda r: _is_airflow_well(machine, r), "Airflow is not whole", API_SERVER)
    with step("DAGs"):
        found = _wait_for_dags(machine, secrets)
    for broken in found.broken if found else ():
        warn(f"  a DAG file cannot be read: {broken}")


def _wait_for(machine: Machine, is_well: Callable[[PlatformRecord], bool], otherwise: str, log: str) -> None:
    def is_over() -> bool:
        record = _record(machine)
        given_up = {name: part.note for name, part in record.components.items() if part.state == FAILED}
        for name, note in given_up.items():
            raise Refusal(f"{name} {note}. From {machine.logs / name}.log:\n{last_lines(machine.logs / f'{name}.log')}")
        return is_well(record)

    if not _until(is_over, _START_SECONDS):
        path = machine.logs / f"{log}.log"
        raise Refusal(f"{otherwise} after {_START_SECONDS:.0f} s. From {path}:\n{last_lines(path)}")


def _record(machine: Machine) -> PlatformRecord:
    record = read_record(machine)
    if record and record.failure:
        raise Refusal(record.failure)
    if record is None or not is_supervised(machine):
        raise Refusal(f"the supervisor died:\n{last_lines(machine.logs / 'supervisor.log')}")
    return record


def _is_engine_well(machine: Machine, record: PlatformRecord) -> bool:
    part = record.components.get(ENGINE)
    if part is None:
        return True
    server = read_json(machine.home / "engine" / "server.json")
    is_ready = bool(server.get("ready")) and is_alive(int(server["jvm_pid"]))
    return _is_running(part) and is_ready and health.takes_connections(machine.engine_port)


def _is_airflow_well(machine: Machine, record: PlatformRecord) -> bool:
    if not all(_is_running(part) for name, part in record.components.items() if name != ENGINE):
        return False
    beats = health.heartbeats(machine)
    if beats is None:
        return False
    for name, beat in beats.items():
        started = record.components[name].started
        # A sign from before its start was the former process's.
        if started is None or beat is None or beat < started:
            return False
    return True


def _is_running(part: ComponentRecord) -> bool:
    # The supervisor looks twice a second; the record may be older than a death.
    return part.state == RUNNING and is_alive(part.pid)


def _wait_for_dags(machine: Machine, secrets: Secrets) -> health.Dags | None:
    files = {path.name for path in health.dag_files(Path(_dags_folder()))}
    found: health.Dags | None = None

    def are_read() -> bool:
        nonlocal found
        since = _record(machine).components["dag-processor"].started or datetime.now(UTC)
        found = health.dags(machine, "admin", secrets.admin_password, since)
        return found is not None and files <= found.files

    if not _until(are_read, _DAGS_SECONDS):
        missing = ", ".join(sorted(files - (found.files if found else set())))
        warn(f"  not read after {_DAGS_SECONDS:.0f} s: {missing}; see {machine.logs / 'dag-processor.log'}")
    return found


def _dags_folder() -> str:
    return os.environ.get("AIRFLOW__CORE__DAGS_FOLDER") or str(CHECKOUT / "dags")


def _until(is_true: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _announce(ready: Ready, title: str, *, is_password_new: bool) -> None:
    machine = ready.machine
    say()
    say(title)
    say(f"  Pages     {machine.url}")
    shown = ready.secrets.admin_password if is_password_new else "as shown by ./run status"
    say(f"  User      admin, password {shown}")
    say(f"  Logs      {machine.logs}")
    if in_container():
        publish = f"-p 127.0.0.1:{machine.port}:{machine.port}"
        bind = " and run TESSERA_HOST=0.0.0.0 ./run up" if machine.is_loopback else ""
        say(f"  This is a container. To open the pages from outside, start it with {publish}{bind}")
