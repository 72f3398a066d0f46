"""What a deletion leaves: pure functions of frames.

Deleting a batch of events is to be as if it had never been ingested. So an event that was refused because the batch had
its `_id` takes the place of the one that ends, of several the first that came; and what the events of an identity sum
up to is summed up again from those that remain.
"""

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, Window, functions as F

from jobs.catalog.definitions import Dataset, Namespace
from jobs.identities.transforms import IDENTITY
from jobs.ingest.transforms.events import ID_HASH, event_fragment_rows
from jobs.ingest.transforms.identities import IDENTITY as PRIMARY
from jobs.ingest.transforms.leaves import leaves_of
from jobs.ingest.transforms.records import FRAGMENT_KEY
from jobs.lake.keyed_table import AT, DELETE, LEVEL, OP, ORD, PART, RESET, RUN, SEQ
from jobs.lake.schema import BATCH
from jobs.lake.sql import quoted
from jobs.profiles.models import FRAGMENTS_BY_NAMESPACE, PROFILE_ID
from jobs.verification.transforms import COLUMN, EXTRA, MISSING, differences

# Place of a row that landed among those of other batches: the batch's, then the row's in it.
BATCH_PLACE, ROW_PLACE = "@batch_place", "@row_place"
_KEY = FRAGMENT_KEY.name
_RANK, _BEFORE, _AFTER = "@rank", "@before", "@after"
VANISH, CHANGE, APPEAR = "vanish", "change", "appear"


def applied_again(landed: DataFrame, ended: DataFrame, dataset: Dataset, deletion: str, seq: int) -> DataFrame:
    """Return the events that take the place of those that end, as the run of the deletion.

    Grain in: landed, one row per row that landed in another batch that counts and that the Profile store could take,
    with `@identity`, the leaves, `_batch`, `_ord`, `_at` and its places; ended: one row per event that ends.
    Grain out: one row per `_id`.

    Args:
        landed: see above.
        ended: see above.
        dataset: whose events they are.
        deletion: batch of the deletion, which writes them.
        seq: its place among the batches.
    """
    waiting = landed.join(ended.select("_id").distinct(), "_id", "left_semi")
    first = Window.partitionBy("_id").orderBy(BATCH_PLACE, ROW_PLACE)
    chosen = waiting.withColumn(_RANK, F.row_number().over(first)).where(F.col(_RANK) == 1)
    return chosen.select(
        F.col(PRIMARY).alias(_KEY),
        *(F.col(quoted(leaf.name)) for leaf in leaves_of(dataset)),
        F.xxhash64("_id").alias(ID_HASH),
        BATCH,
        F.lit(seq).cast("long").alias(SEQ),
        ORD,
        AT,
        F.lit(RUN).alias(LEVEL),
        F.lit(deletion).alias(PART),
    )


def corrected(
    ended: DataFrame, again: DataFrame, remaining: DataFrame, dataset: Dataset, namespaces: Sequence[Namespace]
) -> DataFrame:
    """Sum up again what the events of the identities come to that a deletion concerns.

    Grain in: one row per event: those that end, those that take their places, and all others that count.
    Grain out: one row per primary identity of an event of the first two.

    Returns:
        rows of a run of fragments, in mode combine: a reset with the sums, `_at` that of the latest ingested; a delete,
        its `_at` null, where no event remains.
    """
    keys = ended.select(_KEY).union(again.select(_KEY)).distinct()
    applied = again.select([F.col(quoted(name)) for name in remaining.columns])
    standing = remaining.unionByName(applied).join(keys, _KEY, "left_semi")
    latest = standing.groupBy(_KEY).agg(F.max(AT).alias(AT))
    sums = event_fragment_rows(standing, dataset, namespaces).join(latest, _KEY).withColumn(OP, F.lit(RESET))
    gone = keys.join(latest, _KEY, "left_anti").withColumns({OP: F.lit(DELETE), ORD: F.lit(0).cast("long")})
    return sums.unionByName(gone, allowMissingColumns=True)


def named_elsewhere(ended: DataFrame, said: DataFrame, seq: int) -> DataFrame:
    """Name the identities of events that end and that another deletion had applied: the links of their batch do not.

    So a refresh finds their profiles.

    Grain in: ended, one row per event; said, rows of links, as the deletion writes them. Grain out: one row per
    identity, as a row of links that links it with none.

    Args:
        ended: see above.
        said: what is written anyhow; an identity that it names is left out.
        seq: place of the batch of the events among the batches.
    """
    others = ended.where(F.col(SEQ) != seq).select(F.col(_KEY).alias(IDENTITY)).distinct()
    return others.join(said.select(IDENTITY), IDENTITY, "left_anti")


def effects(before: DataFrame, after: DataFrame, digest: str) -> DataFrame:
    """Count what becomes of profiles. Grain in: one row per profile. Grain out: one row: vanish, change, appear."""
    was = before.select(PROFILE_ID, F.col(digest).alias(_BEFORE))
    both = was.join(after.select(PROFILE_ID, F.col(digest).alias(_AFTER)), PROFILE_ID, "full_outer")
    is_there, was_there = F.col(_AFTER).isNotNull(), F.col(_BEFORE).isNotNull()
    return both.agg(
        F.count_if(was_there & ~is_there).alias(VANISH),
        F.count_if(was_there & is_there & (F.col(_BEFORE) != F.col(_AFTER))).alias(CHANGE),
        F.count_if(is_there & ~was_there).alias(APPEAR),
    )


def changed_attributes(before: DataFrame, after: DataFrame, names: Sequence[str]) -> dict[str, int]:
    """Count by attribute the profiles that stay and in which it is another one, or none any more."""
    cells = differences(before, after, PROFILE_ID, names).where(~F.col(COLUMN).isin(MISSING, EXTRA))
    return _counts(cells.groupBy(COLUMN).count())


def lost_namespaces(before: DataFrame, after: DataFrame) -> dict[str, int]:
    """Count by namespace the profiles that have no fragment with an identity of it any more."""
    had, has = (
        one.select(PROFILE_ID, F.explode(F.map_keys(FRAGMENTS_BY_NAMESPACE)).alias("code")) for one in (before, after)
    )
    return _counts(had.join(has, [PROFILE_ID, "code"], "left_anti").groupBy("code").count())


def by_batch(rows: DataFrame, names: Mapping[int, str]) -> dict[str, int]:
    """Count fragments by the batch that gave the last row of each, told by its place among the batches."""
    return {names.get(seq, str(seq)): count for seq, count in rows.groupBy(SEQ).count().collect()}


def _counts(counted: DataFrame) -> dict[str, int]:
    return dict(sorted((row[0], row[1]) for row in counted.collect()))
