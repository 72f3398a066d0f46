"""What has to be written when a batch of events goes: the events that take their places, and sums without it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.catalog.definitions import DatasetKind
from jobs.ingest.models import BatchOrder
from jobs.ingest.transforms.events import event_fragments, events_table, is_active
from jobs.ingest.transforms.identities import FIT, IDENTITY as PRIMARY, with_primary
from jobs.ingest.transforms.lake_source import lake_values, landed_rows, read_lake
from jobs.ingest.transforms.landing import PROFILE
from jobs.ingest.transforms.leaves import leaves_of
from jobs.ingest.transforms.reading import BLOCK, PATH, ROW
from jobs.ingest.transforms.records import FRAGMENT_KEY, record_fragments
from jobs.lake.keyed_table import AT, DELETE, OP, ORD, SEQ
from jobs.lake.runs import read as read_keyed
from jobs.lake.schema import BATCH
from jobs.lake.sql import quoted
from jobs.lake.staging import Staging
from jobs.lake.tables import exists, read
from jobs.lake.taking import with_all_columns
from jobs.system_jobs.models import DeletePlan, Landed, Removed
from jobs.system_jobs.transforms import BATCH_PLACE, ROW_PLACE, applied_again, corrected

_KEY = FRAGMENT_KEY.name


@dataclass(frozen=True)
class Correction:
    """What takes the place of a batch of events.

    Args:
        ended: its events: primary identity, `_id`, and the `_seq` of the batch that wrote them.
        again: events that are applied in their places, as a run of the table of events.
        fragments: of the identities of both, as a run of the table of fragments.
        removed: the counts.
    """

    ended: DataFrame
    again: DataFrame
    fragments: DataFrame
    removed: Removed


def correction(spark: SparkSession, plan: DeletePlan, staging: Staging, version: int | None = None) -> Correction:
    """Work out what takes the place of the plan's batch; writes to the staging only.

    Args:
        spark: the session.
        plan: names a batch, and those that count.
        staging: place of the frames.
        version: version of the table of events to read; default the newest.
    """
    if plan.removed is None:
        raise ValueError(f"dataset {plan.dataset.id!r}: there is no batch to take the place of")
    events = _events(spark, plan, version).where(is_active(plan.active_batches))
    is_ending = F.col(BATCH) == plan.removed.batch_id
    ended = staging.put(events.where(is_ending).select(_KEY, "_id", SEQ), "ended")
    again = events.limit(0)
    if plan.lapsed:
        chosen = applied_again(_landed(spark, plan), ended, plan.dataset, plan.batch_id, plan.seq)
        again = staging.put(chosen, "again")
    rows = corrected(ended, again, events.where(~is_ending), plan.dataset, plan.namespaces)
    fragments = staging.put(rows, "corrected")
    removed = Removed(
        fragments=fragments.where(F.col(OP) == DELETE).count(),
        events=ended.count(),
        applied_again=again.count() if plan.lapsed else 0,
    )
    return Correction(ended, again, fragments, removed)


def all_there(spark: SparkSession, plan: DeletePlan) -> Removed:
    """Count what a dataset has in the Profile store."""
    events = 0
    if plan.active_batches and plan.dataset.kind is DatasetKind.EVENTS:
        events = _events(spark, plan, None).where(is_active(plan.active_batches)).count()
    found = fragments(spark, plan, plan.active_batches)
    return Removed(fragments=found.count() if found is not None else 0, events=events)


def fragments(
    spark: SparkSession, plan: DeletePlan, batches: Sequence[BatchOrder], version: int | None = None
) -> DataFrame | None:
    """Read the fragments of a dataset; None when it has none."""
    table = event_fragments(plan) if plan.dataset.kind is DatasetKind.EVENTS else record_fragments(plan)
    if not batches or not exists(spark, table.path):
        return None
    if version is not None:
        # Delta reads a path with this ending as it was in that version.
        table = table.model_copy(update={"path": f"{table.path}@v{version}"})
    return read_keyed(spark, table, [(batch.batch_id, batch.seq) for batch in batches])


def _events(spark: SparkSession, plan: DeletePlan, version: int | None) -> DataFrame:
    table = events_table(plan)
    rows = read(spark, table.path if version is None else f"{table.path}@v{version}")
    return with_all_columns(rows, table)


def _landed(spark: SparkSession, plan: DeletePlan) -> DataFrame:
    """Return rows that landed in other batches and that the Profile store could take; see `applied_again`."""
    own = [one for one in plan.lapsed if not one.sources]
    frames = [_of_files(spark, plan, own)] if own else []
    frames += [_of_lake(spark, plan, one) for one in plan.lapsed if one.sources]
    return reduce(DataFrame.unionByName, frames)


def _of_files(spark: SparkSession, plan: DeletePlan, batches: Sequence[Landed]) -> DataFrame:
    lake = read_lake(spark, plan)
    wanted = lake.where(F.col(BATCH).isin([one.batch.batch_id for one in batches]) & F.col(PROFILE))
    rows = wanted.select(
        *lake_values(lake, plan.dataset),
        *(BATCH, ORD, AT),
        F.col(SEQ).alias(BATCH_PLACE),
        F.struct(F.lit(0).alias("source"), F.col(ORD).alias("row")).alias(ROW_PLACE),
    )
    return with_primary(rows, plan.dataset, plan.namespaces)


def _of_lake(spark: SparkSession, plan: DeletePlan, one: Landed) -> DataFrame:
    """Judge rows again that came to the Profile store from the lake, as they were judged then."""
    sources = tuple(BatchOrder(batch_id=name, seq=0) for name in one.sources)
    rows = landed_rows(spark, plan.model_copy(update={"from_lake": sources, "in_profile": True, "at": one.at}))
    place = F.shiftleft(BLOCK, 40).bitwiseOR(F.col(ROW))
    names = F.array(*map(F.lit, one.sources))
    source = F.array_position(names, F.substring_index(PATH, "/", 1)).cast("int")
    return rows.where(F.col(FIT)).select(
        *(F.col(quoted(leaf.name)) for leaf in leaves_of(plan.dataset)),
        F.lit(one.batch.batch_id).alias(BATCH),
        place.alias(ORD),
        F.lit(one.at).cast("timestamp").alias(AT),
        F.lit(one.batch.seq).cast("long").alias(BATCH_PLACE),
        F.struct(source.alias("source"), place.alias("row")).alias(ROW_PLACE),
        PRIMARY,
    )
