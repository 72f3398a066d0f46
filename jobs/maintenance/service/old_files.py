"""Old run folders and logs below TESSERA_HOME.

What a spark-submit that was killed left, logs of ended programs, and the logs of Airflow's tasks. What a running
program uses stays.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from jobs.maintenance.models import Done
from jobs.maintenance.service.folders import Folder, below, folders_in, inside, look, remove
from jobs.maintenance.service.work import Work
from jobs.session.server_state import read_state


def drop_old_files(work: Work) -> Done:
    """Remove what is older than the settings allow; counts files and run folders, and the bytes that they took."""
    done = Done()
    for folder in _old_runs(work):
        done += remove(folder)
    bound = work.now - timedelta(days=work.settings.maintenance.log_days)
    for log in folders_in(work.settings.home, "logs"):
        # A program that is quiet still has its own log open; the next start puts that one aside.
        if log.path.is_file() and log.path.suffix != ".log" and log.changed < bound:
            done += remove(log)
    return done + _dropped_task_logs(work.settings.home, bound)


def _old_runs(work: Work) -> Iterator[Folder]:
    """List run folders of Spark whose process is gone."""
    home = work.settings.home
    bound = work.now - timedelta(hours=work.settings.maintenance.leftover_hours)
    commands = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    for folder in folders_in(home, "engine"):
        is_old = folder.path.is_dir() and folder.changed < bound
        if is_old and folder.name.startswith("submit-") and not any(folder.name in command for command in commands):
            yield folder
        if is_old and folder.name == "tmp" and not _has_server(home):
            yield folder


def _has_server(home: Path) -> bool:
    state = read_state(home)
    return state is not None and state.jvm() is not None


def _dropped_task_logs(home: Path, bound: datetime) -> Done:
    """Remove old logs of Airflow's, and the folders that are empty then."""
    logs = inside(home, "airflow", "logs")
    found = list(below(logs)) if logs else []
    # Asked before anything is removed. A folder that was made of late is about to be filled.
    old = [path for path in found if _changed(path) < bound]
    done = Done()
    for path in old:
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.rmdir()
        else:
            done += remove(look(path))
    return done


def _changed(path: Path) -> datetime:
    """When a file, or a folder itself, changed last; one that is gone is new."""
    try:
        return datetime.fromtimestamp(path.lstat().st_mtime, UTC)
    except FileNotFoundError:
        return datetime.max.replace(tzinfo=UTC)
