"""Compact a table of events: the runs of batches into a base by month of event time, by day where a day is large.

    _level   _part               rows
    run      <batch id>          what a batch wrote
    base     2024-01             the events of a month, of many batches; each row keeps its `_batch`
    base     2024-01-31          those of a day, once the month holds more than `day_bytes` a day; never back to months
    folded   <highest _seq>-<n>  one row per batch whose run is in the base

Rows are moved, never merged, so a compaction changes no answer; `jobs.lake.taking` says what makes it safe beside other
writers. A row counts while its `_batch` is ACTIVE, in either level: a batch is taken out again by rewriting its months
(`jobs.lake.taking_out`). A run may hold events of other batches than the one that wrote it, which then says when they
began to count; `_seq` is that of the writer.
"""

import calendar
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from jobs.errors import Conflict
from jobs.faults import Fault
from jobs.lake.commits import CommitInfo, Written
from jobs.lake.keyed_table import BASE, LEVEL, PART
from jobs.lake.layout import Layout, is_base, is_run, load, look
from jobs.lake.schema import BATCH, Table
from jobs.lake.taking import memory, take, with_all_columns

# Spark writes a year outside these with a sign or more digits; no real event has one.
_FIRST_YEAR, _LAST_YEAR = 1, 9999
_OTHER = "other"
_MONTH = len("2024-01")
_DAY = "@day"


@dataclass(frozen=True)
class EventLog:
    """A table of events, and how it is compacted.

    Args:
        table: partitioned by `_level` and `_part`, with the columns `_batch` and `_seq`.
        time: column with the instant of an event, never null.
        key: column that the base's files are sorted by.
        max_runs: runs that may wait before a compaction is due.
        day_bytes: bytes a day above which a month is kept by day.
        file_bytes: size of a file of the base to aim at.
    """

    table: Table
    time: str
    key: str
    max_runs: int = 8
    day_bytes: int = 128 * 1024 * 1024
    file_bytes: int = 128 * 1024 * 1024

    @property
    def path(self) -> str:
        """Where it is."""
        return self.table.path

    @property
    def run_column(self) -> str:
        """Column that names a batch in the rows of level folded."""
        return BATCH


class Compaction(BaseModel):
    """What a compaction did.

    Args:
        runs: batches whose runs were to go into the base; one that was dropped at this moment is named, too.
        parts: months and days that were written.
        written: rows are those of the written parts; None when nothing was written.
        conflict: why it gave up; the table is as another writer left it, and a later compaction will do.
    """

    model_config = ConfigDict(frozen=True)

    runs: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    written: Written | None = None
    conflict: str = ""


@dataclass(frozen=True)
class CompactionPlan:
    """What a compaction is about to do.

    Args:
        layout: the table's partitions as they were at the planning.
        by_day: months that the base will hold by day.
        parts: parts of the base that will be written.
        replaced: those, and the months that become days.
        files: number of files to write.
    """

    layout: Layout
    by_day: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    files: int = 1


def is_of(batch_ids: Sequence[str]) -> Column:
    """Whether an event is one of these batches, in whichever level.

    In a run both are asked: the batch that wrote it, and the one that it is of.
    """
    return (is_run(batch_ids) | is_base()) & F.col(BATCH).isin(list(batch_ids))


def read(spark: SparkSession, log: EventLog, active: Sequence[tuple[str, int]]) -> DataFrame:
    """Read the events of the ACTIVE batches, each once, as the table is when the frame is executed.

    Args:
        spark: the session.
        log: must exist.
        active: (batch id, `_seq`) of the batches that are ACTIVE, compacted or not.
    """
    stale = look(spark, log, active).stale
    runs = [batch_id for batch_id, _ in active if batch_id not in stale]
    # One scan, so one version of the table: a compaction at this moment moves rows from one level to the other.
    is_counted = F.col(BATCH).isin([batch_id for batch_id, _ in active])
    return load(spark, log).where((is_run(runs) | is_base()) & is_counted)


def compact_when_due(
    spark: SparkSession, log: EventLog, active: Sequence[tuple[str, int]], commit: CommitInfo
) -> Compaction | None:
    """Compact a table if enough runs wait; None when not. Arguments and errors as of `compact`."""
    layout = look(spark, log, active, with_base=True)
    if len(layout.pending) <= log.max_runs:
        return None
    return execute(spark, log, _planned(spark, log, layout), commit)


def compact(spark: SparkSession, log: EventLog, active: Sequence[tuple[str, int]], commit: CommitInfo) -> Compaction:
    """Move the runs of ACTIVE batches into the base. Changes no answer.

    Args:
        spark: the session.
        log: must exist.
        active: (batch id, `_seq`) of ACTIVE batches, any of them; their order does not matter here.
        commit: who writes.

    Raises:
        StoreError: the store refused. A conflict with another writer is no error but a result.
    """
    return execute(spark, log, plan(spark, log, active), commit)


def plan(spark: SparkSession, log: EventLog, active: Sequence[tuple[str, int]]) -> CompactionPlan:
    """Decide which months and days will be written; reads the instants of the runs, and of months that become days."""
    return _planned(spark, log, look(spark, log, active, with_base=True))


def execute(spark: SparkSession, log: EventLog, planned: CompactionPlan, commit: CommitInfo) -> Compaction:
    """Do what was planned, or give up when the table has changed so that it would be wrong."""
    if not planned.layout.pending:
        return Compaction()
    frame = _compacted(load(spark, log), log, planned)
    try:
        written = take(spark, log.table, frame, planned.layout, planned.replaced, commit, Fault.COMPACT_EVENTS)
    except Conflict as lost:
        return Compaction(conflict=str(lost))
    runs = tuple(run.batch_id for run in planned.layout.pending)
    return Compaction(runs=runs, parts=planned.parts, written=written)


@dataclass
class _Month:
    """What will be in a month of the base: the days of the runs, and what is there."""

    days: set[str] = field(default_factory=set)
    bytes: float = 0
    is_by_day: bool = False


def _planned(spark: SparkSession, log: EventLog, layout: Layout) -> CompactionPlan:
    if not layout.pending:
        return CompactionPlan(layout)
    runs = is_run([run.batch_id for run in layout.pending])
    rows = load(spark, log)
    rows_by_day = _rows_by_day(rows.where(runs), log)
    row_bytes = sum(_bytes_by_part(rows.where(runs)).values()) / max(1, sum(rows_by_day.values()))
    months: dict[str, _Month] = {}
    for day, number in rows_by_day.items():
        month = months.setdefault(day[:_MONTH], _Month())
        month.days.add(day)
        month.bytes += number * row_bytes
    there = [part for part in layout.base_parts if part[:_MONTH] in months]
    for part, size in _bytes_by_part(rows.where(is_base() & F.col(PART).isin(there))).items() if there else ():
        months[part[:_MONTH]].bytes += size
        months[part[:_MONTH]].is_by_day |= len(part) > _MONTH
    for name, month in months.items():
        month.is_by_day |= name != _OTHER and month.bytes > log.day_bytes * _days_of(name)
    by_day = {name for name, month in months.items() if month.is_by_day}
    split = by_day & set(there)
    if split:
        for day in _rows_by_day(rows.where(is_base() & F.col(PART).isin(sorted(split))), log):
            months[day[:_MONTH]].days.add(day)
    parts = {part for name, month in months.items() for part in (month.days if month.is_by_day else {name})}
    return CompactionPlan(
        layout=layout,
        by_day=tuple(sorted(by_day)),
        parts=tuple(sorted(parts)),
        replaced=tuple(sorted(parts | split)),
        files=max(1, round(sum(month.bytes for month in months.values()) / log.file_bytes)),
    )


def _compacted(rows: DataFrame, log: EventLog, planned: CompactionPlan) -> DataFrame:
    day = _day(log)
    month = F.substring(day, 1, _MONTH)
    part = F.when(month.isin(list(planned.by_day)), day).otherwise(month)
    runs = rows.where(is_run([run.batch_id for run in planned.layout.pending]))
    source = runs.unionByName(rows.where(is_base() & F.col(PART).isin(list(planned.replaced))))
    moved = source.withColumns({PART: part, LEVEL: F.lit(BASE)})
    placed = moved.repartitionByRange(planned.files, PART, log.key)
    taken = memory(rows, planned.layout, log.run_column)
    together = with_all_columns(placed, log.table).unionByName(with_all_columns(taken, log.table))
    return together.sortWithinPartitions(LEVEL, PART, log.key, log.time)


def _day(log: EventLog) -> Column:
    """UTC day of an event; the session's time zone is UTC."""
    when = F.col(log.time)
    is_common = F.year(when).between(_FIRST_YEAR, _LAST_YEAR)
    return F.when(is_common, F.date_format(when, "yyyy-MM-dd")).otherwise(_OTHER)


def _rows_by_day(rows: DataFrame, log: EventLog) -> Mapping[str, int]:
    counted: Iterable[tuple[str, int]] = rows.groupBy(_day(log).alias(_DAY)).count().collect()
    return dict(counted)


def _bytes_by_part(rows: DataFrame) -> Mapping[str, int]:
    files = rows.select(PART, "_metadata.file_path", "_metadata.file_size").distinct()
    summed: Iterable[tuple[str, int]] = files.groupBy(PART).agg(F.sum("file_size")).collect()
    return dict(summed)


def _days_of(month: str) -> int:
    return calendar.monthrange(int(month[:4]), int(month[5:]))[1]
