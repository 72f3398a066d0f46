"""The driver of a job under spark-submit: one JSON document in, one out.

The result is written whole and in every case, so that its reader raises the error that the job raised.
"""

import contextlib
import importlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from pyspark.sql import SparkSession

from jobs.errors import StoreError, TesseraError
from jobs.session.entry_points import EntryPoint
from jobs.session.progress import LogProgress
from jobs.session.store_lock import hold_store

logger = logging.getLogger(__name__)


class JobSpec(BaseModel):
    """What a driver is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: str
    plan: dict[str, Any]
    store_root: str
    store_is_held: bool
    """The submitting process holds the store's lock, and the JVM inherited it."""


class JobError(BaseModel):
    """An error on its way to another process."""

    kind: str
    """Module and class, e.g. jobs.errors:InvalidRequest."""
    message: str

    def rebuild(self) -> TesseraError:
        """Make the error again; what is none of ours becomes a StoreError."""
        module, _, name = self.kind.partition(":")
        if module.startswith("jobs."):
            found = getattr(importlib.import_module(module), name, None)
            if isinstance(found, type) and issubclass(found, TesseraError):
                return found(self.message)
        return StoreError(f"the job failed: {name}: {self.message}")


class JobOutcome(BaseModel):
    """What a driver answers: a result, or an error."""

    result: dict[str, Any] | None = None
    error: JobError | None = None


def drive(spec_file: Path, result_file: Path) -> int:
    """Run the job of a spec in this process, which spark-submit started; gives the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    try:
        outcome = JobOutcome(result=_run(JobSpec.model_validate_json(spec_file.read_text())))
    except TesseraError as refused:
        outcome = _failed(refused)
    # The one who waits for this process learns of every error from the file.
    except Exception as failed:
        logger.exception("the job failed")
        outcome = _failed(failed)
    beside = result_file.with_suffix(".new")
    beside.write_text(outcome.model_dump_json())
    beside.replace(result_file)
    return 0 if outcome.error is None else 1


def _run(spec: JobSpec) -> dict[str, Any] | None:
    job = EntryPoint.find(spec.job)
    plan = job.plan.model_validate_json(json.dumps(spec.plan))
    held = contextlib.nullcontext() if spec.store_is_held else hold_store(spec.store_root, f"spark-submit {job.name}")
    with held:
        spark = SparkSession.builder.getOrCreate()
        try:
            with LogProgress().follow(spark) as progress:
                result = job.run(spark, plan, progress)
        finally:
            spark.stop()
    return None if result is None else result.model_dump(mode="json")


def _failed(error: Exception) -> JobOutcome:
    kind = f"{type(error).__module__}:{type(error).__name__}"
    return JobOutcome(error=JobError(kind=kind, message=str(error)))
