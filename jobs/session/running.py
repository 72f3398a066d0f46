"""One job on whichever engine: the same function, plan and result."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pyspark.errors import PySparkException

from jobs.errors import StoreError
from jobs.session.client import open_session
from jobs.session.engines import Engine, EngineKind
from jobs.session.entry_points import EntryPoint
from jobs.session.progress import LogProgress
from jobs.session.refusals import reason
from jobs.session.submit import run_submitted
from jobs.settings import Settings


def run_job(
    settings: Settings,
    engine: Engine,
    function: Callable[..., Any],
    plan: BaseModel,
    session_id: str,
    progress: LogProgress | None = None,
) -> Any:  # what `function` returns; the engine may be another process
    """Run a job's function on an engine and give its result.

    Args:
        settings: of this installation.
        engine: where it runs.
        function: of a feature's job module: (spark, plan[, progress]) -> model or None.
        plan: the job's plan.
        session_id: of this attempt, from `new_session_id`; `interrupt` takes it to end the attempt's work.
        progress: shows how far it is; to the log by default.

    Raises:
        TesseraError: what the job raised, or StoreError when the engine cannot run it.
    """
    job = EntryPoint.of(function)
    progress = progress or LogProgress()
    if engine.kind is EngineKind.SUBMIT:
        return run_submitted(settings, engine, job, plan, session_id, progress.say)
    try:
        with open_session(settings, engine, session_id) as spark, progress.follow(spark):
            return job.run(spark, plan, progress)
    except PySparkException as refused:
        raise StoreError(f"the job {job.name} failed: {reason(refused)}") from refused
