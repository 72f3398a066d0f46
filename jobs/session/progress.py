"""Saying how far a job is: one line a stage, and percent while Spark works for long."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Self, cast

from pyspark.sql import SparkSession, is_remote

if TYPE_CHECKING:
    from pyspark.sql.connect.shell.progress import ProgressHandler

logger = logging.getLogger(__name__)

_SAY_EVERY_SECONDS = 5.0
_BAR_WIDTH = 30


class Progress(Protocol):
    """What a job tells its caller on the way."""

    def stage(self, name: str, **counts: int | str) -> None:
        """Begin a stage, which ends the one before it.

        Args:
            name: what is being done, e.g. "landing rows".
            counts: what is known of it: its size by unit, e.g. rows=23400, bytes=1200000, or a word, e.g. batch="b1".
        """


class _SparkStage(Protocol):
    num_tasks: int
    num_completed_tasks: int


class LogProgress:
    """One line when a stage has ended, and percent of its running Spark operation every few seconds.

    Percent needs a Connect session: under spark-submit only the stages are told.

    Args:
        total: how many stages there will be, if that is known.
        say: takes each line.
    """

    def __init__(self, total: int | None = None, say: Callable[[str], None] = logger.info) -> None:
        self.say = say
        self._total = f"/{total}" if total else ""
        # pyspark asks for a subclass and takes any callable.
        self._handler = cast("ProgressHandler", self._on_progress)
        self._number = 0
        self._stage: str | None = None
        self._began = self._said = time.monotonic()

    def stage(self, name: str, **counts: int | str) -> None:
        """Begin a stage, which ends the one before it."""
        self._end_stage("")
        self._number += 1
        told = ", ".join(_count(unit, value) for unit, value in counts.items())
        self._stage = f"STEP {self._number}{self._total} {name}" + (f": {told}" if told else "")
        self._began = self._said = time.monotonic()

    @contextmanager
    def follow(self, spark: SparkSession) -> Iterator[Self]:
        """Watch a session's operations inside the block, and end the last stage with it."""
        if is_remote():
            spark.registerProgressHandler(self._handler)
        how = ", failed"
        try:
            yield self
            how = ""
        finally:
            if is_remote():
                spark.removeProgressHandler(self._handler)
            self._end_stage(how)

    def show(self, stage: str, done: int, tasks: int, seconds: float) -> None:
        """Show how far the running Spark operation of a stage is."""
        if time.monotonic() - self._said >= _SAY_EVERY_SECONDS:
            self._said = time.monotonic()
            self.say(f"{stage}: {100 * done // tasks} % of {tasks} Spark tasks after {seconds:.0f} s")

    def _end_stage(self, how: str) -> None:
        if self._stage is not None:
            self.say(f"{self._stage} in {time.monotonic() - self._began:.1f} s{how}")
        self._stage = None

    def _on_progress(
        self, stages: Iterable[_SparkStage] | None, inflight_tasks: int, operation_id: str | None, done: bool
    ) -> None:
        del inflight_tasks, operation_id
        known = list(stages or ())
        tasks = sum(stage.num_tasks for stage in known)
        if self._stage is not None and tasks and not done:
            finished = sum(stage.num_completed_tasks for stage in known)
            self.show(self._stage, finished, tasks, time.monotonic() - self._began)


class BarProgress(LogProgress):
    """Draws a bar instead of saying percent; for a terminal."""

    def show(self, stage: str, done: int, tasks: int, seconds: float) -> None:
        """Draw the bar over the last one."""
        full = _BAR_WIDTH * done // tasks
        sys.stderr.write(
            f"\r[{'#' * full}{'-' * (_BAR_WIDTH - full)}] {100 * done // tasks:3} % {stage}, {seconds:.0f} s"
        )
        sys.stderr.flush()

    def _end_stage(self, how: str) -> None:
        sys.stderr.write("\r\x1b[K")
        super()._end_stage(how)


def progress_for_terminal(total: int | None = None, say: Callable[[str], None] = logger.info) -> LogProgress:
    """Give the progress of a command: a bar when stderr is a terminal, lines otherwise."""
    return BarProgress(total, say) if sys.stderr.isatty() else LogProgress(total, say)


def _count(unit: str, value: int | str) -> str:
    if isinstance(value, str):
        return f"{unit} {value}"
    if unit == "bytes":
        return f"{value / 1e6:.1f} MB" if value >= 1e5 else f"{value / 1e3:.1f} kB"
    return f"{value:,} {unit}".replace(",", " ")
