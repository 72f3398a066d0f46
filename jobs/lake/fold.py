"""Fold runs into the base of a keyed table.

One lazy plan from the current table to the same table, one `replaceWhere` that names its runs and buckets as literals.
The source is never time travel, cached, checkpointed or collected data: a run that is dropped between planning and
writing is then missing from the source too, or the commit conflicts; from a frozen source its rows would come back
without an error. Two folds at once exclude each other: both replace the partition that remembers what was folded, and
each checks in its own plan that this partition is still the one it was planned with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict
from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from jobs.errors import Conflict, StoreError
from jobs.faults import Fault
from jobs.lake.commits import CommitInfo, Written
from jobs.lake.keyed_table import BASE, FOLDED, LEVEL, OP, PART, PUT, RUN, RUN_ID, SEQ, KeyedTable
from jobs.lake.layout import Layout, is_base, is_run, load, look
from jobs.lake.reduce import resolve
from jobs.lake.runs import hash_of
from jobs.lake.sql import checked_batch_id, literal, quoted, table_at
from jobs.lake.tables import replace_where

# The number of buckets changes when the wanted one is this many times larger, or this many times smaller.
_MORE_BUCKETS, _FEWER_BUCKETS = 2, 4
_FOLDED_MEANWHILE = "folded by another meanwhile"
# Another fold came between planning and writing, or a run got keys of other buckets: the next fold will do.
_OVERTAKEN = (_FOLDED_MEANWHILE, "DELTA_REPLACE_WHERE_MISMATCH")


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
    files = load(spark, table).where(is_run([run.batch_id for run in pending]))
    size = files.select("_metadata.file_path", "_metadata.file_size").distinct().agg(F.sum("file_size")).collect()[0][0]
    base_bytes = _table_bytes(spark, table) - size
    return bool(size * 4 > max(base_bytes, table.file_bytes))


@dataclass(frozen=True)
class FoldPlan:
    """What a fold is about to do.

    Args:
        layout: the table's partitions as they were at the planning.
        buckets: number of buckets that the base will have.
        rewritten: how many of them will be written.
        base_parts: every partition of the base that will be replaced.
    """

    layout: Layout
    buckets: int
    rewritten: int
    base_parts: tuple[str, ...]


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
    return FoldPlan(layout, count, len(names), tuple(sorted(replaced)))


def execute(spark: SparkSession, table: KeyedTable, planned: FoldPlan, commit: CommitInfo) -> Fold:
    """Do what was planned, or give up when the table has changed so that it would be wrong."""
    if not planned.layout.pending:
        return Fold(buckets=planned.buckets)
    frame = _folded(load(spark, table), table, planned)
    try:
        written = replace_where(spark, table.table, frame, _predicate(planned), commit, Fault.FOLD)
    except Conflict as lost:
        return Fold(buckets=planned.layout.buckets, conflict=str(lost))
    except StoreError as refused:
        if not any(sign in _causes(refused) for sign in _OVERTAKEN):
            raise
        return Fold(buckets=planned.layout.buckets, conflict=f"{table.name}: folded by another meanwhile; try again")
    runs = tuple(run.batch_id for run in planned.layout.pending)
    return Fold(runs=runs, buckets=planned.buckets, rewritten=planned.rewritten, written=written)


def _causes(refused: StoreError) -> str:
    return f"{refused} {refused.__cause__}"


def _table_bytes(spark: SparkSession, table: KeyedTable) -> int:
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
    runs = rows.where(is_run([run.batch_id for run in layout.pending]))
    source = runs.unionByName(rows.where(is_base() & F.col(PART).isin(list(planned.base_parts))))
    bucket = _bucket(table, count)
    # By bucket alone, so that one shuffle serves the windows by key too and a bucket is one file. Twice the buckets in
    # tasks, so that fewer of them share one.
    placed = source.withColumn(PART, F.concat(F.lit(f"{count}-"), bucket)).repartition(count * 2, PART)
    base = resolve(placed, table, within=[PART]).withColumns({LEVEL: F.lit(BASE), OP: F.lit(PUT)})
    # Which runs are folded is read with their rows: one that is dropped meanwhile must not be remembered as folded.
    taken = runs.select(F.col(PART).alias(RUN_ID), SEQ).distinct()
    as_planned = F.when(F.col(PART) == layout.memory, F.col(RUN_ID)).otherwise(F.raise_error(F.lit(_FOLDED_MEANWHILE)))
    before = rows.where(F.col(LEVEL) == FOLDED).select(as_planned.alias(RUN_ID), SEQ)
    watermark = max(layout.watermark, *(run.seq for run in layout.pending))
    now = {LEVEL: F.lit(FOLDED), PART: F.lit(f"{watermark}-{layout.folds + 1}")}
    memory = taken.unionByName(before).coalesce(1).withColumns(now)
    together = _with_all_columns(base, table).unionByName(_with_all_columns(memory, table))
    return together.sortWithinPartitions(LEVEL, PART, *table.key_names)


def _with_all_columns(rows: DataFrame, table: KeyedTable) -> DataFrame:
    given = set(rows.columns)
    return rows.select(
        [
            F.col(quoted(column.name)) if column.name in given else F.lit(None).cast(column.type).alias(column.name)
            for column in table.table.columns
        ]
    )


def _predicate(planned: FoldPlan) -> str:
    runs = [run.batch_id for run in planned.layout.pending] + list(planned.layout.stale)
    run_texts = ", ".join(literal(checked_batch_id(run)) for run in runs)
    base_texts = ", ".join(map(literal, planned.base_parts))
    return (
        f"({LEVEL} = {literal(RUN)} AND {PART} IN ({run_texts})) "
        f"OR ({LEVEL} = {literal(BASE)} AND {PART} IN ({base_texts})) OR {LEVEL} = {literal(FOLDED)}"
    )
