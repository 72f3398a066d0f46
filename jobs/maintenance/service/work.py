"""One attempt at a maintenance: what its steps share."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, cast

from pydantic import BaseModel

from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt
from jobs.lake.commits import CommitInfo
from jobs.lake.store import Store
from jobs.session.client import interrupt, new_session_id
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.session.running import run_job
from jobs.settings import Settings

Result = TypeVar("Result", bound=BaseModel)


@dataclass
class Work:
    """One attempt at a maintenance.

    Args:
        catalog: opened in the sandbox.
        settings: of this installation.
        engine: where Spark work is done.
        maintenance_id: the record.
        attempt: who runs it; its session is that of the Spark job that runs now.
        now: what ages are measured against.
        progress: shows how far it is.
    """

    catalog: Catalog
    settings: Settings
    engine: Engine
    maintenance_id: str
    attempt: Attempt
    now: datetime
    progress: LogProgress

    @property
    def store(self) -> Store:
        """The sandbox's tables."""
        return Store(self.settings.store_root, self.catalog.sandbox)

    @property
    def commit(self) -> CommitInfo:
        """What stands in every commit to a table."""
        return CommitInfo(job="maintenance", attempt=self.attempt.id, run=self.attempt.run)

    def renew(self) -> None:
        """Let the lease run on; Conflict when another attempt took over."""
        self.catalog.renew_maintenance(self.maintenance_id, self.attempt)

    def spark(self, function: Callable[..., Result], plan: BaseModel) -> Result:
        """Run a job's function on the engine, by a session that is on the record first."""
        self.attempt = self.attempt.model_copy(update={"session_id": new_session_id()})
        self.renew()
        done = run_job(self.settings, self.engine, function, plan, self.attempt.session_id, self.progress)
        return cast(Result, done)

    def end_spark(self) -> None:
        """End the Spark job that runs now."""
        seconds = self.settings.ingest.interrupt_timeout_seconds
        interrupt(self.settings, self.engine, self.attempt.session_id, seconds)
