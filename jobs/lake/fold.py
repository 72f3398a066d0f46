"""Fold runs into the base of a keyed table: see `jobs.lake.taking` for what makes it safe beside other writers."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from jobs.errors import Conflict
from jobs.faults import Fault
from jobs.lake.commits import CommitInfo, Written
from jobs.lake.keyed_table import BASE, LEVEL, OP, PART, PUT, RUN, KeyedTable
from jobs.lake.layout import Layout, is_base, is_run, load, look
from jobs.lake.log import bytes_here
from jobs.lake.reduce import lay_over
from jobs.lake.runs import hash_of
from jobs.lake.sql import table_at
from jobs.lake.taking import memory, take, with_all_columns

# The number of buckets changes when the wanted one is this many times larger, or this many times smaller.
_MORE_BUCKETS, _FEWER_BUCKETS = 2, 4
# Keys that every worker may hold in memory, some 100 MB of them; with more the base is shuffled to them.
_MOST_BROADCAST = 1_000_000


class Fold(BaseModel):
    """What a fold did.

    Args:
        runs: batches whose runs were to go into the base; one that was dropped at this moment is named, too.
        buckets: number of buckets of the base now.
        rewritten: how many of them were written.
        written: rows are those of the written buckets; None when nothing was written.
        conflict: why the fold gave up; the table is as another writer left it, and a later fold will do.
    """

    model_config = ConfigDict(frozen=True)

    runs: tuple[str, ...] = ()
    buckets: int = 0
    rewritten: int = 0
    written: Written | None = None
    conflict: str = ""


def fold_due(spark: SparkSession, table: KeyedTable, active: Sequence[tuple[str, int]]) -> bool:
    """Tell whether to fold: more runs wait than the table allows, or they pass a quarter of the base's bytes.

    A base smaller than one file counts as one file: below that, folding after every batch costs more than it saves.
    """
    pending = look(spark, table, active).pending
    if len(pending) > table.max_runs or not pending:
        return bool(pending)
    size = _run_bytes(spark, table, [run.batch_id for run in pending])
    base_bytes = _table_bytes(spark, table) - size
    return size * 4 > max(base_bytes, table.file_bytes)


@dataclass(frozen=True)
class FoldPlan:
    """What a fold is about to do.

    Args:
        layout: the table's partitions as they were at the planning.
        buckets: number of buckets that the base will have.
        rewritten: how many of them will be written.
        base_parts: every partition of the base that will be replaced.
        run_rows: rows of the runs.
    """

    layout: Layout
    buckets: int
    rewritten: int
    base_parts: tuple[str, ...]
    run_rows: int = 0


def fold(
    spark: SparkSession,
    table: KeyedTable,
    active: Sequence[tuple[str, int]],
    commit: CommitInfo,
    buckets: int | None = None,
) -> Fold:
    """Move runs into the base. Changes no answer; tombstones end here.

    Args:
        spark: the session.
        table: must exist.
        active: (batch id, `_seq`) of ACTIVE batches: all of them up to some `_seq`. The caller leaves out every batch
            that comes after one which is not finished yet: that one's rows would come too late for a key of the base.
            Batches folded before may be named.
        commit: who writes.
        buckets: number of buckets; default by the table's bytes.

    Raises:
        StoreError: the store refused. A conflict with another writer is no error but a result.
    """
    return execute(spark, table, plan(spark, table, active, buckets), commit)


def fold_when_due(
    spark: SparkSession, table: KeyedTable, active: Sequence[tuple[str, int]], commit: CommitInfo
) -> Fold | None:
    """Fold a table if enough waits; None when not. Arguments and errors as of `fold`."""
    return fold(spark, table, active, commit) if fold_due(spark, table, active) else None


def plan(
    spark: SparkSession, table: KeyedTable, active: Sequence[tuple[str, int]], buckets: int | None = None
) -> FoldPlan:
    """Decide which runs go into which buckets; reads the log and, where the base has buckets, the runs' keys."""
    layout = look(spark, table, active, with_base=True)
    if not layout.pending:
        return FoldPlan(layout, layout.buckets, 0, ())
    count = buckets or _wanted_buckets(_table_bytes(spark, table), table.file_bytes, layout.buckets)
    names = {f"{count}-{bucket}" for bucket in _touched_buckets(spark, table, layout, count)}
    replaced = {*names, *(layout.base_parts if count != layout.buckets else ())}
    run_rows = load(spark, table).where(is_run([run.batch_id for run in layout.pending])).count()
    return FoldPlan(layout, count, len(names), tuple(sorted(replaced)), run_rows)


def execute(spark: SparkSession, table: KeyedTable, planned: FoldPlan, commit: CommitInfo) -> Fold:
    """Do what was planned, or give up when the table has changed so that it would be wrong."""
    if not planned.layout.pending:
        return Fold(buckets=planned.buckets)
    frame = _folded(load(spark, table), table, planned)
    try:
        written = take(spark, table.table, frame, planned.layout, planned.base_parts, commit, Fault.FOLD)
    except Conflict as lost:
        return Fold(buckets=planned.layout.buckets, conflict=str(lost))
    runs = tuple(run.batch_id for run in planned.layout.pending)
    return Fold(runs=runs, buckets=planned.buckets, rewritten=planned.rewritten, written=written)


def _run_bytes(spark: SparkSession, table: KeyedTable, batch_ids: Sequence[str]) -> int:
    found = bytes_here(table.path, (LEVEL, PART))
    if found is not None:
        return sum(found.get((RUN, batch_id), 0) for batch_id in batch_ids)
    files = load(spark, table).where(is_run(batch_ids)).select("_metadata.file_path", "_metadata.file_size").distinct()
    return int(files.agg(F.coalesce(F.sum("file_size"), F.lit(0))).collect()[0][0])


def _table_bytes(spark: SparkSession, table: KeyedTable) -> int:
    found = bytes_here(table.path, (LEVEL,))
    if found is not None:
        return sum(found.values())
    return int(spark.sql(f"DESCRIBE DETAIL {table_at(table.path)}").select("sizeInBytes").collect()[0][0])


def _wanted_buckets(table_bytes: int, file_bytes: int, present: int) -> int:
    wanted = max(1, -(-table_bytes // file_bytes))
    changes = not present or wanted >= present * _MORE_BUCKETS or wanted * _FEWER_BUCKETS <= present
    return wanted if changes else present


def _touched_buckets(spark: SparkSession, table: KeyedTable, layout: Layout, count: int) -> list[int]:
    if count == 1 or count != layout.buckets:
        return list(range(count))
    runs = load(spark, table).where(is_run([run.batch_id for run in layout.pending]))
    buckets = runs.select(_bucket(table, count).alias("bucket")).distinct().collect()
    return sorted(row["bucket"] for row in buckets)


def _bucket(table: KeyedTable, count: int) -> Column:
    return F.pmod(hash_of(table.key_names), F.lit(count)).cast("int")


def _folded(rows: DataFrame, table: KeyedTable, planned: FoldPlan) -> DataFrame:
    layout, count = planned.layout, planned.buckets
    base = rows.where(is_base() & F.col(PART).isin(list(planned.base_parts)))
    runs = rows.where(is_run([run.batch_id for run in layout.pending]))
    merged = lay_over(base, runs, table, layout.late, broadcast=planned.run_rows <= _MOST_BROADCAST)
    # A task a bucket: by hash, several would share a task while others have none.
    bucketed = merged.repartitionById(count, _bucket(table, count))
    place = {PART: F.concat(F.lit(f"{count}-"), _bucket(table, count)), LEVEL: F.lit(BASE), OP: F.lit(PUT)}
    placed = bucketed.withColumns(place)
    taken = memory(rows, layout, table.run_column)
    together = with_all_columns(placed, table.table).unionByName(with_all_columns(taken, table.table))
    return together.sortWithinPartitions(LEVEL, PART, *table.key_names)
