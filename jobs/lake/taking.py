"""Taking runs into the base of a table with levels, each once: what a fold and a compaction share.

One lazy plan from the current table to the same table, one `replaceWhere` that names its runs and its parts of the base
as literals. The source is never time travel, cached, checkpointed or collected data: a run that is dropped between
planning and writing is then missing from the source too, or the commit conflicts; from a frozen source its rows would
come back without an error. Two takings at once exclude each other: both replace the partition that remembers what was
taken, and each checks in its own plan that this partition is still the one it was planned with.
"""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.errors import Conflict, StoreError
from jobs.faults import Fault
from jobs.lake.commits import CommitInfo, Written
from jobs.lake.keyed_table import BASE, FOLDED, LEVEL, PART, RUN, SEQ
from jobs.lake.layout import Layout, is_run
from jobs.lake.schema import Table
from jobs.lake.sql import checked_batch_id, literal, quoted
from jobs.lake.tables import replace_where

_TAKEN_MEANWHILE = "folded by another meanwhile"
# Another taking came between planning and writing, or a run got rows of other parts: the next one will do.
_OVERTAKEN = (_TAKEN_MEANWHILE, "DELTA_REPLACE_WHERE_MISMATCH")


def memory(rows: DataFrame, layout: Layout, run_column: str) -> DataFrame:
    """Return the rows that remember what the base will hold, one a run: `run_column`, `_seq`, `_level`, `_part`.

    Executing it fails when another taking has changed that memory since the layout was read.
    """
    # Read with the runs' rows: one that is dropped meanwhile must not be remembered as taken.
    runs = rows.where(is_run([run.batch_id for run in layout.pending]))
    taken = runs.select(F.col(PART).alias(run_column), SEQ).distinct()
    as_planned = F.when(F.col(PART) == layout.memory, F.col(run_column)).otherwise(
        F.raise_error(F.lit(_TAKEN_MEANWHILE))
    )
    before = rows.where(F.col(LEVEL) == FOLDED).select(as_planned.alias(run_column), SEQ)
    watermark = max(layout.watermark, *(run.seq for run in layout.pending))
    now = {LEVEL: F.lit(FOLDED), PART: F.lit(f"{watermark}-{layout.folds + 1}")}
    return taken.unionByName(before).coalesce(1).withColumns(now)


def take(
    spark: SparkSession,
    table: Table,
    frame: DataFrame,
    layout: Layout,
    base_parts: Sequence[str],
    commit: CommitInfo,
    fault: Fault,
) -> Written:
    """Write the new base and its memory in place of the runs, the named parts and the old memory.

    Raises:
        Conflict: the table changed since the layout was read so that it would be wrong; nothing was written.
        StoreError: the store refused.
    """
    try:
        return replace_where(spark, table, frame, _predicate(layout, base_parts), commit, fault)
    except StoreError as refused:
        if not any(sign in f"{refused} {refused.__cause__}" for sign in _OVERTAKEN):
            raise
        raise Conflict(f"{table.name}: folded by another meanwhile; try again") from refused


def with_all_columns(rows: DataFrame, table: Table) -> DataFrame:
    """Give a frame every column of a table, null where it has none."""
    given = set(rows.columns)
    return rows.select(
        [
            F.col(quoted(column.name)) if column.name in given else F.lit(None).cast(column.type).alias(column.name)
            for column in table.columns
        ]
    )


def _predicate(layout: Layout, base_parts: Sequence[str]) -> str:
    runs = [run.batch_id for run in layout.pending] + list(layout.stale)
    run_texts = ", ".join(literal(checked_batch_id(run)) for run in runs)
    base_texts = ", ".join(map(literal, base_parts))
    return (
        f"({LEVEL} = {literal(RUN)} AND {PART} IN ({run_texts})) "
        f"OR ({LEVEL} = {literal(BASE)} AND {PART} IN ({base_texts})) OR {LEVEL} = {literal(FOLDED)}"
    )
