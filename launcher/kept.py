"""One component that is started again when it dies."""

import contextlib
import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from launcher.command import last_lines
from launcher.components import SCHEDULER, Component
from launcher.environment import COMPONENT_MARK
from launcher.machine import Machine
from launcher.processes import stop_marked, stop_orphaned_tasks, stop_scheduler_and_tasks
from launcher.record import FAILED, RUNNING, WAITING, ComponentRecord
from launcher.steps import say

_QUICK_DEATH_SECONDS = 45
_MOST_QUICK_DEATHS = 5
_LONGEST_BACKOFF_SECONDS = 20
_LARGEST_LOG_BYTES = 50_000_000


class Kept:
    """Keeps one component running until it is told to leave it."""

    def __init__(self, component: Component, machine: Machine) -> None:
        self.component = component
        self.record = ComponentRecord()
        self._machine = machine
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._not_before = 0.0
        self._quick_deaths = 0

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self._machine.logs / f"{self.component.name}.log"

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._process.pid if self._process else None

    @property
    def age_seconds(self) -> float:
        """Seconds since its last start."""
        return time.monotonic() - self._began

    def look(self) -> None:
        """Start it if it should run and does not; clear away what a dead one left."""
        if self.record.state == FAILED:
            return
        if self._process is None:
            if time.monotonic() >= self._not_before:
                self._start()
        elif (code := self._process.poll()) is not None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self._clear_away(how)

    def restart(self, reason: str) -> None:
        """Stop it with all its children; the next look starts it."""
        if self._process is not None:
            self._clear_away(reason)

    def bound_log(self) -> None:
        """Keep its log from filling the disk: one older part, and the file itself starts anew."""
        if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG_BYTES:
            self.log.with_suffix(".log.1").write_bytes(self.log.read_bytes())
            # The process writes on at the new end: it has the file open for appending.
            os.truncate(self.log, 0)

    def _start(self) -> None:
        env = {**os.environ, COMPONENT_MARK: self.component.name}
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.component.arguments,
                cwd=self._machine.home,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._began = time.monotonic()
        self.record.state = RUNNING
        self.record.pid = self._process.pid
        self.record.started_at = datetime.now(UTC).isoformat()
        say(f"{datetime.now(UTC):%H:%M:%S} {self.component.name} started, process {self._process.pid}")

    def _clear_away(self, how: str) -> None:
        say(f"{datetime.now(UTC):%H:%M:%S} {self.component.name} {how}; ending what is left of it")
        if self.component.name == SCHEDULER:
            stop_scheduler_and_tasks(self._machine.home)
        stop_marked(self._machine.home, self.component.name)
        if self._process is not None:
            self._process.wait()
        self._process = None
        self._quick_deaths = self._quick_deaths + 1 if self.age_seconds < _QUICK_DEATH_SECONDS else 0
        self._not_before = time.monotonic() + min(2**self._quick_deaths - 1, _LONGEST_BACKOFF_SECONDS)
        self.record.state, self.record.pid, self.record.note = WAITING, 0, how
        self.record.restarts += 1
        if self._quick_deaths >= _MOST_QUICK_DEATHS:
            self.record.state = FAILED
            self.record.note = f"{how}, {self._quick_deaths} times within {_QUICK_DEATH_SECONDS} s of its start"
            say(f"{self.component.name} is given up: {self.record.note}. Its last lines:\n{last_lines(self.log)}")


class WorkerWatch:
    """Notices that a worker of Airflow's LocalExecutor died.

    A worker that dies while it waits for work takes the lock of the work queue with it, and no other worker ever gets
    anything again; one that dies at work leaves its task's process behind and its place occupied. Airflow mends
    neither, so the task is ended at once, and the scheduler started anew as soon as the other workers are idle.
    """

    _LONGEST_WAIT_SECONDS = 120

    def __init__(self, home: Path) -> None:
        self._home = home
        self._known: dict[int, set[int]] = {}
        self._lost_at: float | None = None

    def needs_restart(self, scheduler_pid: int) -> bool:
        """Look at the workers of a scheduler, end the tasks of dead ones; whether it should be started anew now."""
        if scheduler_pid not in self._known:
            self._known, self._lost_at = {scheduler_pid: set()}, None
        workers = _workers(scheduler_pid)
        if self._known[scheduler_pid] - workers.keys():
            self._lost_at = self._lost_at or time.monotonic()
        self._known[scheduler_pid] = set(workers)
        if self._lost_at is None:
            return False
        stop_orphaned_tasks(self._home)
        is_idle = not any(workers.values())
        return is_idle or time.monotonic() - self._lost_at > self._LONGEST_WAIT_SECONDS


def _workers(scheduler_pid: int) -> dict[int, bool]:
    """Return the living workers, each with whether it is at work."""
    workers = {}
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(scheduler_pid).children():
            # A child that ends while it is looked at hides no other.
            with contextlib.suppress(psutil.Error):
                title = " ".join(child.cmdline())
                if child.status() != psutil.STATUS_ZOMBIE and ("LocalExecutor" in title or "spawn_main" in title):
                    workers[child.pid] = bool(child.children())
    return workers
