"""One attempt at a maintenance: what its steps share."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, cast

from pydantic import BaseModel

from jobs.catalog.database import Catalog
from jobs.catalog.maintenances import Maintenance
from jobs.lake.commits import CommitInfo
from jobs.lake.store import Store
from jobs.session.engines import Engine
from jobs.settings import Settings
from jobs.turns import Turn

Result = TypeVar("Result", bound=BaseModel)


@dataclass
class Work:
    """One attempt at a maintenance.

    Args:
        catalog: opened in the sandbox.
        turn: the attempt.
        now: what ages are measured against.
    """

    catalog: Catalog
    turn: Turn[Maintenance]
    now: datetime

    @property
    def settings(self) -> Settings:
        """Those of this installation."""
        return self.turn.settings

    @property
    def engine(self) -> Engine:
        """Where Spark work is done."""
        return self.turn.engine

    @property
    def run(self) -> str:
        """Who asks."""
        return self.turn.attempt.run

    @property
    def store(self) -> Store:
        """The sandbox's tables."""
        return Store(self.settings.store_root, self.catalog.sandbox)

    @property
    def commit(self) -> CommitInfo:
        """What stands in every commit to a table."""
        return CommitInfo(job="maintenance", attempt=self.turn.attempt.id, run=self.run)

    def spark(self, function: Callable[..., Result], plan: BaseModel) -> Result:
        """Run a job's function on the engine."""
        return cast(Result, self.turn.spark(function, plan))
