"""Stitch: map the identities of new links to the components they are in, join what the links join, write what changed.

The cost is that of the links taken and of narrow scans of `identities`; a component is read only when it may change.
A full rebuild takes all links and forgets what stands, and then writes the difference: there should be none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.faults import Fault
from jobs.identities.components import components
from jobs.identities.models import LinkSource, Stitched, StitchPlan
from jobs.identities.transforms import (
    CHANGE,
    CHANGED,
    CREATED,
    DATASET,
    FIRST,
    IDENTITY,
    LINKED,
    MERGED_INTO,
    NODE,
    PROFILE_ID,
    REMOVED,
    WAS_FIRST,
    WAS_PROFILE,
    all_of,
    as_known,
    changes,
    edges,
    ended,
    identified,
    identities_table,
    identity_rows,
    left_out,
    merged_ids_table,
    merged_rows,
    pairs,
    profile_id_of,
    reassigned,
    seen,
    sightings,
    standing_again,
    touched_profiles,
    within,
)
from jobs.ingest.transforms.links import is_said, links_table
from jobs.lake.definition import ensure
from jobs.lake.layout import Layout
from jobs.lake.runs import read as read_keyed, write_run
from jobs.lake.staging import Staging
from jobs.lake.tables import read
from jobs.lake.taking import with_all_columns
from jobs.session.progress import Progress

_NAMED, _MERGED, _AGAIN = "named", "merged", "again"
_COUNTED = (_NAMED, CREATED, CHANGED, REMOVED, _MERGED)


@dataclass(frozen=True)
class Graph:
    """The graph after a stitching.

    Args:
        named: identity: the identities that the links name.
        touched: profile_id: the profiles of identities that the links name, as they are called now.
        ended: profile_id, merged_into: ids that are none any more.
        identities: every identity and its profile id, what was written included.
        result: the counts.
    """

    named: DataFrame
    touched: DataFrame
    ended: DataFrame
    identities: DataFrame
    result: Stitched


def stitch(spark: SparkSession, plan: StitchPlan, staging: Staging, progress: Progress) -> Graph:
    """Take links into the graph.

    Args:
        spark: the session.
        plan: what to take.
        staging: place for what is written on the way; the frames of the result are read from it.
        progress: is told the stages.

    Raises:
        StoreError: the store refused.
    """
    links, known = links_of(spark, plan.sources), _known(spark, plan)
    progress.stage("finding identities", batches=sum(len(source.batches) for source in plan.sources))
    named = staging.put(seen(sightings(links), known, anew=plan.full), "seen")
    progress.stage("stitching")
    labels = components(edges(pairs(links), named), staging, plan.driver_links)
    if plan.full:
        forgotten = known.join(named, IDENTITY, "left_anti")
        assigned = identified(named, labels).unionByName(left_out(forgotten))
    else:
        assigned = reassigned(named, labels, known)
    return _write(spark, plan, named, staging.put(assigned, "assigned"))


def as_it_is(spark: SparkSession, plan: StitchPlan) -> Graph:
    """Return the graph when there are no links to take."""
    identities = identities_table(plan.store)
    return Graph(
        named=spark.createDataFrame([], f"{IDENTITY} string"),
        touched=spark.createDataFrame([], f"{PROFILE_ID} string"),
        ended=spark.createDataFrame([], f"{PROFILE_ID} string, {MERGED_INTO} string"),
        identities=read_keyed(spark, identities, Layout.of(plan.identities_runs)).select(IDENTITY, PROFILE_ID),
        result=Stitched(),
    )


def remove(
    spark: SparkSession, plan: StitchPlan, staging: Staging, leaving: Sequence[str], progress: Progress
) -> Graph:
    """Take identities out of the graph, and give what they leave behind its components anew, from its links.

    Args:
        spark: the session.
        plan: its sources name every batch whose links count.
        staging: as in `stitch`.
        leaving: identities that leave.
        progress: is told the stages.
    """
    known = _known(spark, plan)
    gone = spark.createDataFrame([(identity,) for identity in leaving], f"{IDENTITY} string")
    progress.stage("finding the components of identities that leave", identities=len(leaving))
    touched = known.join(gone, IDENTITY, "left_semi").select(WAS_PROFILE).distinct()
    staying = staging.put(known.join(touched, WAS_PROFILE, "left_semi").join(gone, IDENTITY, "left_anti"), "staying")
    said = staging.put(within(links_of(spark, plan.sources), staying), "links")
    named = staying.join(sightings(said), IDENTITY, "left").select(
        IDENTITY,
        F.coalesce(FIRST, WAS_FIRST).alias(FIRST),
        WAS_PROFILE,
        WAS_FIRST,
        profile_id_of(F.col(IDENTITY)).alias(NODE),
    )
    named = staging.put(named, "seen")
    progress.stage("stitching")
    labels = components(edges(pairs(said), named), staging, plan.driver_links)
    leavers = left_out(known.join(gone, IDENTITY, "left_semi"))
    return _write(spark, plan, named, staging.put(identified(named, labels).unionByName(leavers), "assigned"))


def links_of(spark: SparkSession, sources: Sequence[LinkSource]) -> DataFrame:
    """Read links of batches: identity, linked, `_dataset`, `_seq`, `_ord`, `_at`."""
    frames = [_links(spark, source) for source in sources if source.batches]
    if not frames:
        schema = f"{IDENTITY} string, {LINKED} string, {DATASET} string, _seq bigint, _ord bigint, _at timestamp"
        return spark.createDataFrame([], schema)
    return all_of(frames)


def _links(spark: SparkSession, source: LinkSource) -> DataFrame:
    table = links_table(source)
    rows = with_all_columns(read(spark, table.path), table).where(is_said(source.batches, source.origins))
    return rows.select(IDENTITY, LINKED, F.lit(source.dataset.id).alias(DATASET), "_seq", "_ord", "_at")


def _known(spark: SparkSession, plan: StitchPlan) -> DataFrame:
    for table in (identities_table(plan.store), merged_ids_table(plan.store)):
        ensure(spark, table.table)
    return as_known(read_keyed(spark, identities_table(plan.store), Layout.of(plan.identities_runs)))


def _write(spark: SparkSession, plan: StitchPlan, named: DataFrame, assigned: DataFrame) -> Graph:
    identities, merged_ids = identities_table(plan.store), merged_ids_table(plan.store)
    over = ended(assigned)
    again = standing_again(assigned, read_keyed(spark, merged_ids, Layout.of(plan.merged_runs)))
    counts = _counts(named, assigned, over, again)
    written, runs = {}, [*plan.identities_runs]
    if any(counts.get(change) for change in (CREATED, CHANGED, REMOVED)):
        rows = identity_rows(assigned)
        written[identities.name] = write_run(spark, identities, rows, plan.run, plan.at, plan.commit, Fault.IDENTITIES)
        runs.append(plan.run)
    if counts.get(_MERGED) or counts.get(_AGAIN):
        rows = merged_rows(over, again)
        written[merged_ids.name] = write_run(spark, merged_ids, rows, plan.run, plan.at, plan.commit, Fault.MERGED_IDS)
    return Graph(
        named=named.select(IDENTITY),
        touched=touched_profiles(named, assigned),
        ended=over,
        identities=read_keyed(spark, identities, Layout.of(runs)).select(IDENTITY, PROFILE_ID),
        result=Stitched(**{name: counts.get(name, 0) for name in _COUNTED}, tables=written),
    )


def _counts(named: DataFrame, assigned: DataFrame, over: DataFrame, again: DataFrame) -> dict[str, int]:
    """Count everything in one job."""
    told = [
        changes(assigned).select(CHANGE),
        named.select(F.lit(_NAMED).alias(CHANGE)),
        over.where(F.col(MERGED_INTO).isNotNull()).select(F.lit(_MERGED).alias(CHANGE)),
        again.select(F.lit(_AGAIN).alias(CHANGE)),
    ]
    return {row[0]: row[1] for row in all_of(told).groupBy(CHANGE).count().collect() if row[0] is not None}
