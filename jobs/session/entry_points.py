"""Jobs by name, for a driver in another process.

An entry point is a function of a feature's `job` module, written `jobs.<feature>.job:<function>`. Its first parameter
is the session, `plan` a pydantic model, `progress` may follow; the annotations say how to read the plan and the
result. Nothing else can be named, and nothing is imported before it is asked for: a session knows no feature.
"""

import importlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, get_type_hints

from pydantic import BaseModel
from pyspark.sql import SparkSession

from jobs.errors import InvalidRequest
from jobs.session.progress import Progress

_NAME = re.compile(r"(jobs\.[a-z][a-z_]*\.job):([a-z][a-z_]*)")

# What a job's function looks like; its plan is narrower than BaseModel, which no static type can say.
JobFunction = Callable[..., Any]


@dataclass(frozen=True)
class EntryPoint:
    """A job's function, with the models it takes and gives."""

    name: str
    function: JobFunction
    plan: type[BaseModel]
    result: type[BaseModel] | None

    @classmethod
    def find(cls, name: str) -> Self:
        """Import an entry point.

        Raises:
            InvalidRequest: the name is none of a job's function.
        """
        found = _NAME.fullmatch(name)
        if not found:
            raise InvalidRequest(f"job {name!r}: must be jobs.<feature>.job:<function>, e.g. jobs.ingest.job:run")
        try:
            function = getattr(importlib.import_module(found[1]), found[2])
        except (ModuleNotFoundError, AttributeError) as missing:
            raise InvalidRequest(f"job {name!r}: {missing}") from None
        return cls.of(function)

    @classmethod
    def of(cls, function: JobFunction) -> Self:
        """Describe a job's function.

        Raises:
            InvalidRequest: it is not a function of a job module, or does not take a plan.
        """
        name = f"{function.__module__}:{function.__name__}"
        hints = get_type_hints(function)
        plan, result = hints.get("plan"), hints.get("return")
        if not _NAME.fullmatch(name) or not (isinstance(plan, type) and issubclass(plan, BaseModel)):
            raise InvalidRequest(
                f"job {name!r}: must be a function of jobs.<feature>.job with a parameter `plan`, a model"
            )
        return cls(name, function, plan, result if isinstance(result, type) and issubclass(result, BaseModel) else None)

    def run(self, spark: SparkSession, plan: BaseModel, progress: Progress) -> BaseModel | None:
        """Run the job in this process."""
        wanted = {"progress": progress} if "progress" in inspect.signature(self.function).parameters else {}
        result: BaseModel | None = self.function(spark, plan, **wanted)
        return result
