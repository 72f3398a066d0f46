"""The part of the identity graph that a deletion changes, as it would be then; nothing of it is written.

Links that go with the lake leave what they joined to the other links: their profiles are stitched anew, as the full
refresh of the deletion does. Events that are applied again say what they could not say when they were refused.
"""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.identities.components import components
from jobs.identities.job import links_of
from jobs.identities.transforms import (
    DATASET,
    IDENTITY,
    LINKED,
    WAS_PROFILE,
    all_of,
    edges,
    identified,
    left_out,
    pairs,
    reassigned,
    seen,
    sightings,
    within,
)
from jobs.ingest.transforms.links import is_said, link_rows, links_table
from jobs.ingest.transforms.records import FRAGMENT_KEY
from jobs.lake.keyed_table import AT, ORD, SEQ
from jobs.lake.schema import BATCH
from jobs.lake.staging import Staging
from jobs.lake.tables import read
from jobs.lake.taking import with_all_columns
from jobs.system_jobs.models import EffectPlan, PlannedLinks


def stitched(
    spark: SparkSession, plan: EffectPlan, staging: Staging, again: DataFrame | None, known: DataFrame
) -> DataFrame | None:
    """Stitch anew what the links that go had joined, and what events say that are applied again.

    Args:
        spark: the session.
        plan: of the deletion.
        staging: place for what is written on the way.
        again: these events; None when there are none.
        known: the graph of the cut, from `as_known`.

    Returns:
        identity, profile_id, first, was_profile, was_first: one row per identity that is concerned, its profile_id null
        when it leaves the graph. None when the graph stays what it is.
    """
    if again is None and not plan.links_leaving:
        return None
    said = links_of(spark, ()) if again is None else staging.put(_said(plan, again), "said")
    if plan.links_leaving:
        return staging.put(_anew(spark, plan, staging, said, known), "assigned")
    return staging.put(_joined(plan, staging, said, known), "assigned")


def _said(plan: EffectPlan, again: DataFrame) -> DataFrame:
    rows = link_rows(again, plan.delete, FRAGMENT_KEY.name, BATCH)
    return _as_links(rows, plan.delete.dataset.id)


def _joined(plan: EffectPlan, staging: Staging, said: DataFrame, known: DataFrame) -> DataFrame:
    """Lay what is said over the graph."""
    named = staging.put(seen(sightings(said), known, anew=False), "seen")
    return reassigned(named, components(edges(pairs(said), named), staging, plan.driver_links), known)


def _anew(spark: SparkSession, plan: EffectPlan, staging: Staging, said: DataFrame, known: DataFrame) -> DataFrame:
    """Stitch the profiles anew that links which go, or what is said, name an identity of."""
    named_there = sightings(_links(spark, plan.links_leaving).unionByName(said))
    concerned = known.join(named_there, IDENTITY, "left_semi").select(WAS_PROFILE).distinct()
    members = staging.put(known.join(concerned, WAS_PROFILE, "left_semi"), "concerned")
    links = staging.put(within(_links(spark, plan.links_staying), members).unionByName(said), "links")
    named = staging.put(seen(sightings(links), members, anew=True), "seen")
    labels = components(edges(pairs(links), named), staging, plan.driver_links)
    return identified(named, labels).unionByName(left_out(members.join(named, IDENTITY, "left_anti")))


def _links(spark: SparkSession, sources: Sequence[PlannedLinks]) -> DataFrame:
    """Read links as they are in the cut, in the form of `links_of`."""
    frames = [links_of(spark, ())]
    for source in sources:
        # Delta reads a path with this ending as it was in that version.
        table = links_table(source)
        rows = with_all_columns(read(spark, f"{table.path}@v{source.version}"), table)
        frames.append(_as_links(rows.where(is_said(source.batches, source.origins)), source.dataset.id))
    return all_of(frames)


def _as_links(rows: DataFrame, dataset: str) -> DataFrame:
    return rows.select(IDENTITY, LINKED, F.lit(dataset).alias(DATASET), SEQ, ORD, AT)
