"""The processes of a platform, found by the mark in their environment.

A mark finds what a list of pids cannot: the children of a supervisor that was killed, and of a worker that was.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil

from launcher.components import SCHEDULER
from launcher.environment import COMPONENT_MARK, PLATFORM_MARK

_ROUNDS = 5
_TASK_GRACE_SECONDS = 6.0
_REPORT_SECONDS = 2.0
_CHILD_GRACE_SECONDS = 30.0
_HEED_SECONDS = 0.5


def marked(home: Path, component: str | None = None) -> list[psutil.Process]:
    """Return the living processes of a platform, or of one component of it; this process is not among them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            env = process.environ()
            if env.get(PLATFORM_MARK) == str(home) and component in (None, env.get(COMPONENT_MARK)):
                found.append(process)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process lives; one that died and whose parent has not noticed yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def stop(processes: Iterable[psutil.Process], grace_seconds: float) -> None:
    """Ask processes to end, and kill those that did not within the grace."""
    asked = list(processes)
    for process in asked:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, living = psutil.wait_procs(asked, timeout=grace_seconds)
    for process in living:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(living, timeout=grace_seconds)


def stop_children_at_term() -> None:
    """From now on, when this process is sent TERM, let the programs that it has at work end before it does.

    Ctrl-C reaches them by itself, TERM only whom it is sent to. A platform that it started stays.
    """

    def end(number: int, frame: FrameType | None) -> NoReturn:
        stop(
            [child for child in psutil.Process().children(recursive=True) if _is_in_group(child, os.getpgrp())],
            _CHILD_GRACE_SECONDS,
        )
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)


def _is_in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group
    except OSError:
        return False


def stop_scheduler_and_tasks(home: Path) -> None:
    """End the scheduler and the tasks that its workers run, and no worker, so that these still report how they ended.

    Then a task is retried, or failed, at once; one that vanishes together with its worker is missed only when it has
    been silent for a while. The scheduler is asked first, else it begins a next attempt meanwhile; it waits for its
    workers.
    """
    watchers, _ = _scheduler_and_tasks(home)
    for process in watchers:
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == process.pid:
                process.terminate()
                time.sleep(_HEED_SECONDS)
    for _ in range(_ROUNDS):
        _, tasks = _scheduler_and_tasks(home)
        if not tasks:
            break
        stop(tasks, _TASK_GRACE_SECONDS)
        time.sleep(_REPORT_SECONDS)


def stop_orphaned_tasks(home: Path) -> None:
    """End the tasks whose worker is dead: Airflow tries them again, and none must be at work twice."""
    watchers, tasks = _scheduler_and_tasks(home)
    watching = {process.pid for process in watchers}
    orphans = []
    for process in tasks:
        with contextlib.suppress(psutil.Error, OSError):
            if psutil.Process(os.getpgid(process.pid)).ppid() in watching:
                continue
        orphans.append(process)
    stop(orphans, _TASK_GRACE_SECONDS)


def stop_marked(home: Path, component: str | None = None, grace_seconds: float = 10) -> int:
    """End every process of a platform or component, also those that come up meanwhile; returns how many there were."""
    stopped: set[int] = set()
    for _ in range(_ROUNDS):
        if not (found := marked(home, component)):
            break
        stopped.update(process.pid for process in found)
        stop(found, grace_seconds)
    return len(stopped)


def _scheduler_and_tasks(home: Path) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Return the scheduler with its workers, and the processes of the tasks.

    Every component is a session of its own, and within it every task is a process group of its own.
    """
    watchers: list[psutil.Process] = []
    tasks: list[psutil.Process] = []
    for process in marked(home, SCHEDULER):
        with contextlib.suppress(OSError):
            is_task = os.getpgid(process.pid) != os.getsid(process.pid)
            (tasks if is_task else watchers).append(process)
    return watchers, tasks


def describe(process: psutil.Process | None) -> str:
    """Name a process by pid and command."""
    if process is None:
        return "a process of another user"
    with contextlib.suppress(psutil.Error):
        command = " ".join(process.cmdline()) or process.name()
        return f"process {process.pid} ({command[:120]})"
    return f"process {process.pid}"
