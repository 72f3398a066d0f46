"""Which runs, parts of the base and folded runs a table with levels has, from Delta's log: no data file is opened."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from jobs.lake.keyed_table import BASE, FOLDED, LEVEL, PART, RUN, SEQ, Run
from jobs.lake.log import files_here

_PARTITION = re.compile(rf"/{LEVEL}=([a-z]+)/{PART}=([A-Za-z0-9_-]+)/[^/]+$")


class Levelled(Protocol):
    """A table with the partitions `_level` and `_part`: a keyed table, or one of events."""

    @property
    def path(self) -> str:
        """Where it is."""

    @property
    def run_column(self) -> str:
        """Column that names a batch in the rows of level folded."""


@dataclass(frozen=True)
class Layout:
    """The partitions of a table with levels at one moment, beside the runs that a caller says are ACTIVE.

    Args:
        pending: ACTIVE runs that are not folded, by `_seq`.
        stale: batches whose run lies there although it is folded already: a late attempt wrote it once more.
        late: whether a pending run has a `_seq` below that of a folded one.
        memory: the partition that remembers what was folded; empty when nothing was.
        base_parts: the base's partitions; empty when it was not asked for.
    """

    pending: tuple[Run, ...]
    stale: tuple[str, ...]
    late: bool
    memory: str
    base_parts: tuple[str, ...]

    @classmethod
    def of(cls, pending: Iterable[tuple[str, int]]) -> Self:
        """Make the layout of a table that one writer keeps, who knows which runs are pending; nothing is read."""
        runs = sorted((Run(*run) for run in pending), key=lambda run: run.seq)
        return cls(pending=tuple(runs), stale=(), late=False, memory="", base_parts=())

    @property
    def watermark(self) -> int:
        """Highest `_seq` that was folded; 0 when none was."""
        return int(self.memory.partition("-")[0] or 0)

    @property
    def folds(self) -> int:
        """How many folds there were."""
        return int(self.memory.partition("-")[2] or 0)

    @property
    def buckets(self) -> int:
        """Number of buckets of the base; 0 when there is no base."""
        return int(self.base_parts[0].partition("-")[0]) if self.base_parts else 0


def look(spark: SparkSession, table: Levelled, active: Sequence[tuple[str, int]], with_base: bool = False) -> Layout:
    """Read the layout of a table.

    Args:
        spark: the session.
        table: must exist.
        active: (batch id, `_seq`) of the batches that are ACTIVE.
        with_base: whether the base's partitions are wanted, which takes longer when it has many files.
    """
    parts = _parts(spark, table, with_base)
    memory = max(parts[FOLDED], default="")
    watermark = int(memory.partition("-")[0] or 0)
    present = sorted((Run(*run) for run in active if run[0] in parts[RUN]), key=lambda run: run.seq)
    doubtful = [run for run in present if run.seq <= watermark]
    folded = folded_runs(spark, table) if doubtful else set()
    pending = tuple(run for run in present if run not in folded)
    return Layout(
        pending=pending,
        stale=tuple(run.batch_id for run in doubtful if run in folded),
        late=any(run.seq <= watermark for run in pending),
        memory=memory,
        base_parts=tuple(sorted(parts[BASE])),
    )


def folded_runs(spark: SparkSession, table: Levelled) -> set[Run]:
    """Return every run that is in the base; one row per batch ever folded."""
    rows = load(spark, table).where(F.col(LEVEL) == FOLDED).select(table.run_column, SEQ).collect()
    return {Run(row[0], row[1]) for row in rows}


def runs_there(spark: SparkSession, table: Levelled) -> set[str]:
    """Return the batches whose runs lie in a table, whether they count or not."""
    return _parts(spark, table, with_base=False)[RUN]


def load(spark: SparkSession, table: Levelled) -> DataFrame:
    """All rows of the Delta table, as they are when the frame is executed."""
    return spark.read.format("delta").load(table.path)


def is_run(batch_ids: Sequence[str]) -> Column:
    """Whether a row is in the run of one of these batches."""
    return (F.col(LEVEL) == RUN) & F.col(PART).isin(list(batch_ids))


def is_base() -> Column:
    """Whether a row is in the base."""
    return F.col(LEVEL) == BASE


def _parts(spark: SparkSession, table: Levelled, with_base: bool) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {RUN: set(), BASE: set(), FOLDED: set()}
    files = files_here(table.path)
    if files is None:
        rows = load(spark, table)
        files = (rows if with_base else rows.where(F.col(LEVEL) != BASE)).inputFiles()
    for file in files:
        if (place := _PARTITION.search(file)) and (with_base or place[1] != BASE):
            found[place[1]].add(place[2])
    return found
