"""Take the events of a batch out of a table: its run, and its rows in the base and in the runs of other batches.

Nobody reads them any more, so this changes no answer, and may be done at any time and again. It stands beside other
writers: one lazy plan from the current table to the same table, one `replaceWhere` that names the parts.
"""

from pyspark.sql import SparkSession, functions as F

from jobs.errors import Conflict
from jobs.faults import Fault
from jobs.lake.commits import CommitInfo, Written
from jobs.lake.compaction import EventLog
from jobs.lake.keyed_table import FOLDED, LEVEL, PART, RUN
from jobs.lake.layout import load
from jobs.lake.schema import BATCH
from jobs.lake.sql import checked_batch_id, literal
from jobs.lake.tables import remove_where, replace_where
from jobs.lake.taking import with_all_columns

# A maintenance compacts a table once, so a second conflict is rare already.
_MOST_CONFLICTS = 5


def take_out(spark: SparkSession, log: EventLog, batch_id: str, commit: CommitInfo) -> tuple[Written, ...]:
    """Remove the events of a batch that counts no more; a batch without any is no error.

    Its own run goes without being read, months and other runs that hold events of it are rewritten without them.

    Returns:
        what each commit wrote, none when there was nothing.

    Raises:
        Conflict: other writers came between again and again; called again, it goes on.
        StoreError: the store refused.
    """
    written: list[Written] = []
    conflicts = 0
    while parts := _parts_with(spark, log, batch_id):
        try:
            written.append(_without(spark, log, batch_id, parts, commit))
        except Conflict:
            conflicts += 1
            if conflicts > _MOST_CONFLICTS:
                raise
    return tuple(written)


def _parts_with(spark: SparkSession, log: EventLog, batch_id: str) -> list[tuple[str, str]]:
    """Name the partitions with events of a batch: (level, part); its own run alone if that is there."""
    own = (F.col(LEVEL) == RUN) & (F.col(PART) == batch_id)
    held = load(spark, log).where((F.col(LEVEL) != FOLDED) & (own | (F.col(BATCH) == batch_id)))
    found = [(row[0], row[1]) for row in held.select(LEVEL, PART).distinct().collect()]
    return [(RUN, batch_id)] if (RUN, batch_id) in found else sorted(found)


def _without(
    spark: SparkSession, log: EventLog, batch_id: str, parts: list[tuple[str, str]], commit: CommitInfo
) -> Written:
    named = [f"({LEVEL} = {literal(level)} AND {PART} = {_checked(level, part)})" for level, part in parts]
    predicate = " OR ".join(named)
    if parts == [(RUN, batch_id)]:
        return remove_where(spark, log.table, predicate, commit, Fault.DROP_RUN)
    kept = load(spark, log).where(F.expr(predicate)).where(F.col(BATCH) != batch_id)
    whole = with_all_columns(kept, log.table).repartitionByRange(len(parts), LEVEL, PART, log.key)
    ordered = whole.sortWithinPartitions(LEVEL, PART, log.key, log.time)
    return replace_where(spark, log.table, ordered, predicate, commit, Fault.TAKE_OUT)


def _checked(level: str, part: str) -> str:
    return literal(checked_batch_id(part) if level == RUN else part)
