"""Frames that an attempt writes down, to use them several times: a plan over Spark Connect is remade at every use.

They lie at a place of the attempt alone, so a former attempt that wakes up late finds nothing of the next one.
"""

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from jobs.lake.staged import STAGING, remove_staged
from jobs.lake.store import Store

logger = logging.getLogger(__name__)


class Staging:
    """The frames of one attempt; gone when its block ends, and nothing else reads them."""

    def __init__(self, spark: SparkSession, store: Store, attempt: str) -> None:
        self.spark = spark
        self._store = store
        self._attempt = attempt
        self._numbers = itertools.count(1)
        self._paths: list[str] = []

    @classmethod
    @contextmanager
    def open(cls, spark: SparkSession, store: Store, attempt: str) -> Iterator[Self]:
        """Make the place of an attempt, and clear it in the end."""
        staging = cls(spark, store, attempt)
        try:
            yield staging
        finally:
            staging.clear()

    def put(self, frame: DataFrame, name: str) -> DataFrame:
        """Write a frame down and return it as it was then."""
        path = self._store.path(STAGING, self._attempt, f"{next(self._numbers)}-{name}")
        self._paths.append(path)
        frame.write.mode("overwrite").parquet(path)
        return self.spark.read.schema(frame.schema).parquet(path)

    def clear(self) -> None:
        """Remove everything that was put."""
        if self._store.is_local:
            remove_staged(self._store, self._attempt)
            return
        for path in self._paths:
            self._empty(path)

    def _empty(self, path: str) -> None:
        """Let a directory of Parquet files hold one empty file: Spark has no call that removes it."""
        try:
            self.spark.createDataFrame([], "nothing string").write.mode("overwrite").parquet(path)
        except PySparkException as refused:
            logger.warning("staging %s was not removed: %s", path, refused.getCondition())
