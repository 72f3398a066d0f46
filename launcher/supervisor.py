"""The supervisor: the one process that keeps the platform's others running.

`./run up` starts it detached, `./run down` ends it with SIGTERM. It runs in the platform's environment, which its
children inherit together with the mark that tells them from all other processes of the machine. Killed with -9 it
leaves them at work; the next `up` ends them by that mark and starts anew, so nothing ever has two supervisors.
"""

import copy
import hashlib
import importlib.metadata
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from launcher import health
from launcher.airflow_database import AIRFLOW_DATABASE
from launcher.command import last_lines
from launcher.components import API_SERVER, SCHEDULER, components, migration_arguments
from launcher.environment import COMPONENT_MARK
from launcher.files import read_json, write_json
from launcher.kept import Kept, WorkerWatch
from launcher.machine import Machine, this_machine
from launcher.processes import marked, stop, stop_marked, stop_scheduler_and_tasks
from launcher.record import RUNNING, WAITING, PlatformRecord, be_supervisor, write_record
from launcher.refusal import Refusal
from launcher.steps import say, warn

_LOOK_SECONDS = 0.5
_HEALTH_SECONDS = 20
# A component that is up this long and gave no sign for as long is hung: started anew.
_SILENCE = timedelta(seconds=150)
# An idle worker of Airflow may not heed a request to end.
_STOP_SECONDS = {1: 6.0, 2: 25.0}


class Supervisor:
    """Keeps the components of one platform until told to stop."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._stopping = threading.Event()
        self._kept = [Kept(component, machine) for component in components(machine)]
        self._workers = WorkerWatch(machine.home)
        self._health_at = time.monotonic() + _HEALTH_SECONDS
        self._silent_since: dict[str, float] = {}
        started = datetime.now(UTC).isoformat()
        parts = {kept.component.name: kept.record for kept in self._kept}
        self._record = PlatformRecord(os.getpid(), started, machine.url, machine.port, components=parts)
        self._told: PlatformRecord | None = None

    def request_stop(self, *_: object) -> None:
        """Ask `run` to stop everything and return; a signal handler may call it."""
        self._stopping.set()

    def run(self) -> int:
        """Keep everything running until told to stop; returns the exit code, leaves no process."""
        _put_old_logs_aside(self._kept)
        try:
            migration = self._start_migration()
            self._tell()
            while not self._stopping.wait(_LOOK_SECONDS):
                migration = self._migrated(migration)
                for kept in self._kept:
                    if self._may_run(kept):
                        kept.look()
                self._watch_signs_of_life()
                self._tell()
        except Refusal as refused:
            self._record.failure = str(refused)
            self._tell()
            warn(str(refused))
        finally:
            self._stop_all()
        return 1 if self._record.failure else 0

    def _start_migration(self) -> subprocess.Popen[bytes] | None:
        if read_json(self._migration_stamp) == _migration_state():
            self._record.is_database_ready = True
            return None
        env = {**os.environ, COMPONENT_MARK: "migration"}
        with (self._machine.logs / "migration.log").open("wb") as output:
            return subprocess.Popen(
                migration_arguments(),
                cwd=self._machine.home,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _migrated(self, migration: subprocess.Popen[bytes] | None) -> subprocess.Popen[bytes] | None:
        if migration is None or (code := migration.poll()) is None:
            return migration
        if code:
            log = self._machine.logs / "migration.log"
            raise Refusal(f"Airflow's database could not be made (exit {code}). From {log}:\n{last_lines(log)}")
        write_json(self._migration_stamp, _migration_state())
        self._record.is_database_ready = True
        return None

    def _may_run(self, kept: Kept) -> bool:
        if not kept.component.is_airflow:
            return True
        if not self._record.is_database_ready:
            return False
        # A task that cannot tell the API server that it begins loses an attempt.
        is_to_start_tasks = kept.component.name == SCHEDULER and kept.record.state == WAITING
        return not is_to_start_tasks or health.api_answers(self._machine)

    def _watch_signs_of_life(self) -> None:
        scheduler = next(kept for kept in self._kept if kept.component.name == SCHEDULER)
        if scheduler.pid and self._workers.needs_restart(scheduler.pid):
            scheduler.restart("lost a worker")
        if time.monotonic() < self._health_at:
            return
        self._health_at = time.monotonic() + _HEALTH_SECONDS
        for kept in self._kept:
            kept.bound_log()
        beats = health.heartbeats(self._machine)
        for kept in self._kept:
            if kept.component.name == API_SERVER:
                self._note_silence(kept, is_silent=beats is None)
            elif beats is not None and kept.component.name in beats:
                beat = beats[kept.component.name]
                self._note_silence(kept, is_silent=beat is None or datetime.now(UTC) - beat > timedelta(seconds=60))

    def _note_silence(self, kept: Kept, *, is_silent: bool) -> None:
        name = kept.component.name
        if not is_silent or kept.record.state != RUNNING:
            self._silent_since.pop(name, None)
            return
        # Measured by the clock that stands still while the machine sleeps: a laptop that wakes up is not hung.
        since = self._silent_since.setdefault(name, time.monotonic())
        limit = _SILENCE.total_seconds()
        if time.monotonic() - since > limit and kept.age_seconds > limit:
            self._silent_since.pop(name)
            kept.restart(f"gave no sign for {limit:.0f} s")

    def _stop_all(self) -> None:
        say(f"{datetime.now(UTC):%H:%M:%S} stopping")
        stop_scheduler_and_tasks(self._machine.home)
        names = {kept.component.name: kept.component.stop_order for kept in self._kept}
        for order, grace_seconds in _STOP_SECONDS.items():
            stop(
                [p for name, at in names.items() if at == order for p in marked(self._machine.home, name)],
                grace_seconds,
            )
        # A process that was born while its parent ended, and the migration.
        stop_marked(self._machine.home, grace_seconds=5)

    def _tell(self) -> None:
        if self._record != self._told:
            write_record(self._machine, self._record)
            self._told = copy.deepcopy(self._record)

    @property
    def _migration_stamp(self) -> Path:
        return self._machine.airflow_home / "migrated.json"


def _migration_state() -> dict[str, str]:
    # Not in the clear: its password is no business of whoever reads the stamp.
    database = hashlib.sha256(os.environ.get(AIRFLOW_DATABASE, "").encode()).hexdigest()
    return {"airflow": importlib.metadata.version("apache-airflow"), "database": database}


def _put_old_logs_aside(kept: list[Kept]) -> None:
    for one in kept:
        if one.log.exists():
            one.log.replace(one.log.with_suffix(".log.1"))


def main() -> int:
    """Run as a program, in the platform's environment; returns the exit code."""
    machine = this_machine()
    try:
        with be_supervisor(machine):
            supervisor = Supervisor(machine)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, supervisor.request_stop)
            return supervisor.run()
    except Refusal as refused:
        warn(str(refused))
        return refused.exit_code


if __name__ == "__main__":
    sys.exit(main())
