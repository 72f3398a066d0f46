"""The same job by spark-submit: JSON spec in, JSON result out.

The driver runs on this machine (client mode) in this Python, so the executors of a cluster need nothing of `jobs`:
its jobs use DataFrames and SQL only. The zip goes along for the driver, and so that a traceback of a cluster shows
our code.
"""

import logging
import os
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydantic import BaseModel

from jobs.errors import StoreError
from jobs.session.driver import JobOutcome, JobSpec
from jobs.session.engines import Engine
from jobs.session.entry_points import EntryPoint
from jobs.session.jvm import ROOT, engine_folder, is_local_master, jvm_environment, submit_command
from jobs.session.processes import end_tree
from jobs.session.signals import signals_raise
from jobs.session.store_lock import hold_store
from jobs.settings import Settings

logger = logging.getLogger(__name__)

_SCRIPT = Path(__file__).resolve().parent / "submitted" / "main.py"
_LAST_LINES = 5


def run_submitted(
    settings: Settings,
    engine: Engine,
    job: EntryPoint,
    plan: BaseModel,
    session_id: str,
    say: Callable[[str], None] = logger.info,
) -> BaseModel | None:
    """Run a job by spark-submit and wait for it.

    SIGTERM, SIGINT and any other end of the wait end the driver first. A local store is held for the driver's life.

    Args:
        settings: of this installation.
        engine: one with a Spark master.
        job: what to run.
        plan: the job's plan.
        session_id: the attempt's; by it `end_submitted` finds the driver.
        say: takes each line that the driver prints.

    Raises:
        TesseraError: what the job raised.
        StoreError: spark-submit failed before the job began, or another process holds the store.
    """
    with _folder(settings, session_id) as folder, hold_store(settings.store_root, f"spark-submit {job.name}") as lock:
        spec_file, result_file = folder / "spec.json", folder / "result.json"
        spec = JobSpec(
            job=job.name,
            plan=plan.model_dump(mode="json"),
            store_root=settings.store_root,
            store_is_held=True,
        )
        spec_file.write_text(spec.model_dump_json())
        with subprocess.Popen(
            build_command(settings, engine, spec_file, result_file),
            cwd=folder,
            env=jvm_environment(settings, token=None, local_work=folder if is_local_master(engine.target) else None),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            pass_fds=lock.descriptors,
        ) as driver:
            lock.name_holder(driver.pid, f"spark-submit {job.name}")
            last = _follow(driver, say)
        return _read_result(job, result_file, driver.returncode, last)


def build_command(settings: Settings, engine: Engine, spec_file: Path, result_file: Path) -> list[str]:
    """Build the whole spark-submit command of a job; its work folder is the spec's.

    Raises:
        StoreError: Delta's jars are missing.
    """
    folder = spec_file.parent
    zipped = make_zip(folder)
    return [*submit_command(settings, engine, folder, _SCRIPT, zipped), str(spec_file), str(result_file)]


def make_zip(folder: Path) -> Path:
    """Zip the package `jobs` into a folder; executors of a cluster take a zip, and no wheel."""
    zipped = folder / "jobs.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((ROOT / "jobs").rglob("*.py")):
            archive.write(file, file.relative_to(ROOT))
    return zipped


def end_submitted(settings: Settings, session_id: str) -> None:
    """End the driver of a former attempt on this machine, whoever started it; returns when it is gone."""
    # A driver that is only starting has another process made while it is ended.
    while found := _processes_of(session_id):
        for process in found:
            end_tree(process)
    shutil.rmtree(engine_folder(settings.home) / _folder_name(session_id), ignore_errors=True)


def _processes_of(session_id: str) -> list[psutil.Process]:
    name = _folder_name(session_id)
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid() and any(name in argument for argument in process.info["cmdline"] or ())
    ]


def _follow(driver: subprocess.Popen[str], say: Callable[[str], None]) -> list[str]:
    """Pass on what the driver prints until it ends; gives the last lines."""
    last: list[str] = []

    def pass_on() -> None:
        for line in driver.stdout or ():
            last[:] = [*last[1 - _LAST_LINES :], line.rstrip()]
            say(line.rstrip())

    reader = threading.Thread(target=pass_on, daemon=True)
    reader.start()
    try:
        with signals_raise():
            driver.wait()
    finally:
        # A driver that is left alone would go on and commit.
        if driver.poll() is None:
            end_tree(psutil.Process(driver.pid))
        reader.join()
    return last


def _read_result(job: EntryPoint, result_file: Path, code: int, last: list[str]) -> BaseModel | None:
    if not result_file.exists():
        raise StoreError(f"spark-submit ended with code {code} before the job did: {' | '.join(last)}")
    outcome = JobOutcome.model_validate_json(result_file.read_text())
    if outcome.error is not None:
        raise outcome.error.rebuild()
    if job.result is None or outcome.result is None:
        return None
    return job.result.model_validate(outcome.result)


@contextmanager
def _folder(settings: Settings, session_id: str) -> Iterator[Path]:
    folder = engine_folder(settings.home) / _folder_name(session_id)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder_name(session_id: str) -> str:
    return f"submit-{session_id}"
