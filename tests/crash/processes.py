"""Programs of the product in processes of their own, which a test may kill or stop.

They are forked from a server that has the slow libraries loaded, but nothing of `jobs`: what a program reads from the
environment when it is imported is read anew by each. For the same reason this module imports nothing of `jobs`, nor
may the `__main__` of whoever uses it.
"""

import io
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

_SLOW = ("alembic", "deltalake", "pandas", "psycopg", "pyspark.sql.connect.session", "pydantic_settings", "typer")
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*_SLOW, "sqlalchemy.orm", "rich.progress"])
KILLED = -signal.SIGKILL
LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    output: str
    seconds: float


class Program:
    """`tessera` or `upkeep` (tests/crash/upkeep.py), started."""

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str], output: Path) -> None:
        self._arguments = arguments
        self._output = output
        self._process = _context.Process(target=_run, args=(arguments, dict(environment), str(output)), daemon=True)
        self._process.start()
        self._began = time.monotonic()

    def wait(self) -> Ended:
        """Wait until it ended."""
        self._process.join(LONGEST_SECONDS)
        code = self._process.exitcode
        if code is None:
            self.kill()
            raise AssertionError(f"{' '.join(self._arguments)} did not end: {self.output}")
        return Ended(code, self.output, self.seconds)

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    @property
    def seconds(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self._began

    @property
    def is_over(self) -> bool:
        return self._process.exitcode is not None

    def kill(self) -> None:
        """Kill it with -9; one that has ended is left alone."""
        self._process.kill()
        self._process.join()

    def wait_until(self, reached: Callable[[], bool]) -> bool:
        """Wait for something while it lives; says whether that came."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < deadline and not self.is_over:
            if reached():
                return True
            time.sleep(0.002)
        return reached()

    def wait_until_stopped(self) -> bool:
        """Wait until it comes to the point of its TESSERA_PAUSE; says whether it did."""
        try:
            return self.wait_until(lambda: psutil.Process(self._pid).status() == psutil.STATUS_STOPPED)
        except psutil.NoSuchProcess:
            return False

    def go_on(self) -> None:
        """Let it go on after it stopped itself."""
        os.kill(self._pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop it wherever it is."""
        os.kill(self._pid, signal.SIGSTOP)

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid


def _run(arguments: tuple[str, ...], environment: dict[str, str], output: str) -> None:
    for name in [name for name in os.environ if name.startswith("TESSERA_")]:
        del os.environ[name]
    os.environ.update(environment)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(descriptor, number)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
    sys.argv = list(arguments)
    if arguments[0] == "tessera":
        from jobs.cli import main
    else:
        from tests.crash.upkeep import main
    main()
