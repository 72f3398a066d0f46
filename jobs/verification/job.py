"""Make identities and profiles anew from links and fragments, and compare them with what is stored. Writes nothing.

All is read as it was when the cut was made. A slice is the identities whose hash falls into it, with all others of
their profiles, so that whole components and whole profiles are made.
"""

import time

from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.catalog.definitions import DatasetKind
from jobs.identities.components import components
from jobs.identities.job import links_of
from jobs.identities.transforms import (
    FIRST,
    IDENTITY,
    LINKED,
    PROFILE_ID,
    all_of,
    as_known,
    edges,
    identified,
    identities_table,
    pairs,
    profile_id_of,
    seen,
    sightings,
)
from jobs.ingest.transforms.events import event_fragments
from jobs.ingest.transforms.records import record_fragments
from jobs.lake.keyed_table import KeyedTable
from jobs.lake.runs import read as read_keyed, read_keys
from jobs.lake.staging import Staging
from jobs.merge_policies.models import GraphType
from jobs.profiles.models import DIGEST, IDENTITIES
from jobs.profiles.transforms import (
    DATASET,
    FRAGMENT,
    Making,
    by_primary_identity,
    event_fragments_of,
    fragments_schema,
    profiles,
    profiles_table,
    record_fragments_of,
)
from jobs.session.progress import Progress
from jobs.verification.models import Drift, VerifiedSource, VerifiedView, VerifyPlan, VerifyResult
from jobs.verification.transforms import differences

_KEY = "@key"


def run(spark: SparkSession, plan: VerifyPlan, progress: Progress) -> VerifyResult:
    """Verify the identities and the views of a cut.

    Raises:
        StoreError: the store refused, or a version of the cut is not there any more.
    """
    began = time.monotonic()
    with Staging.open(spark, plan.store, plan.attempt) as staging:
        progress.stage("making identities anew", slices=plan.slices)
        stored, made = _identities(spark, plan, staging)
        columns = [name for name in stored.columns if name not in (IDENTITY, "_seq", "_ord", "_at")]
        found = [_told("identities", differences(stored, made, IDENTITY, columns))]
        progress.stage("reading fragments")
        fragments = staging.put(_fragments(spark, plan, made), "fragments")
        counts = {}
        for view in plan.views:
            progress.stage("making profiles anew", policy=view.policy.id)
            before, anew = _view(spark, plan, view, fragments, stored, made)
            before = staging.put(before, "stored")
            counts[view.policy.id] = before.count()
            names = [name for name in anew.columns if name != DIGEST and name in before.columns]
            found.append(_told(view.table.name, differences(_keyed(before), _keyed(anew), _KEY, names)))
        progress.stage("comparing")
        drift = staging.put(all_of(found), "drift")
        by_dataset = {row[0]: row[1] for row in fragments.groupBy(DATASET).count().collect()}
        shown = drift.orderBy("table", "key", "column").limit(plan.shown).collect()
        return VerifyResult(
            sandbox=plan.sandbox,
            cut=plan.cut,
            at=plan.at,
            drift=drift.count(),
            differences=tuple(Drift(**row.asDict()) for row in shown),
            slices=plan.slices,
            identities=made.count(),
            profiles=counts,
            fragments={source.dataset.id: by_dataset.get(source.dataset.id, 0) for source in plan.fragments},
            skipped=plan.skipped,
            seconds=round(time.monotonic() - began, 1),
        )


def _identities(spark: SparkSession, plan: VerifyPlan, staging: Staging) -> tuple[DataFrame, DataFrame]:
    """Return the identities of the slice as they are stored, and as links make them."""
    links = links_of(spark, plan.links)
    table = _at(identities_table(plan.store), plan.identities.version)
    stored = read_keyed(spark, table, plan.identities.runs)
    if plan.slices > 1:
        chosen = staging.put(_slice(plan, links, stored), "slice")
        stored = stored.join(chosen, IDENTITY, "left_semi")
        other = chosen.select(F.col(IDENTITY).alias(LINKED))
        links = staging.put(
            links.join(chosen, IDENTITY, "left_semi").union(
                links.join(chosen, IDENTITY, "left_anti").join(other, LINKED, "left_semi").select(links.columns)
            ),
            "links",
        )
    named = staging.put(seen(sightings(links), as_known(stored.limit(0)), anew=True), "named")
    labels = components(edges(pairs(links), named), staging, plan.driver_links)
    anew = identified(named, labels).select(IDENTITY, PROFILE_ID, f"{FIRST}.*")
    if plan.slices > 1:
        anew = anew.join(chosen, IDENTITY, "left_semi")
    return stored, staging.put(anew, "made")


def _slice(plan: VerifyPlan, links: DataFrame, stored: DataFrame) -> DataFrame:
    """Return the identities of the slice: those of its hashes, and all others of the same profiles."""
    named = links.select(F.explode(F.array(IDENTITY, LINKED)).alias(IDENTITY)).where(F.col(IDENTITY).isNotNull())
    seeds = named.union(stored.select(IDENTITY)).distinct()
    chosen = seeds.where(F.pmod(F.crc32(IDENTITY), F.lit(plan.slices)) == plan.slice)
    of_profiles = stored.join(chosen, IDENTITY, "left_semi").select(PROFILE_ID).distinct()
    return chosen.union(stored.join(of_profiles, PROFILE_ID, "left_semi").select(IDENTITY)).distinct()


def _fragments(spark: SparkSession, plan: VerifyPlan, made: DataFrame) -> DataFrame:
    keys = made.select(F.col(IDENTITY).alias(FRAGMENT))
    frames = []
    for source in plan.fragments:
        is_events = source.dataset.kind is DatasetKind.EVENTS
        table = _of_source(event_fragments(source) if is_events else record_fragments(source), source)
        batches = [(batch.batch_id, batch.seq) for batch in source.batches]
        # All are keys of the full slice, and reading everything is then the cheaper way.
        rows = read_keyed(spark, table, batches) if plan.slices == 1 else read_keys(spark, table, batches, keys)
        if is_events:
            frames.append(event_fragments_of(rows, source.dataset, plan.union))
        else:
            frames.append(record_fragments_of(rows, source.dataset, plan.namespaces, plan.union))
    # All may have been deleted.
    return all_of(frames) if frames else spark.createDataFrame([], fragments_schema(plan.union))


def _view(
    spark: SparkSession, plan: VerifyPlan, view: VerifiedView, fragments: DataFrame, stored: DataFrame, made: DataFrame
) -> tuple[DataFrame, DataFrame]:
    """Return the profiles of the slice as they are stored, and as fragments make them."""
    making = Making(
        policy=view.policy,
        union=plan.union,
        datasets=[source.dataset.id for source in plan.fragments],
        codes=[space.code for space in plan.namespaces],
    )
    defined = profiles_table(plan.store, view.policy.id, view.table.generation, plan.union)
    table = _at(defined, view.table.version)
    if view.policy.identity_graph.type is GraphType.NONE:
        members = by_primary_identity(fragments)
        ids = made.select(profile_id_of(F.col(IDENTITY)).alias(PROFILE_ID))
    else:
        members = made.select(PROFILE_ID, IDENTITY)
        ids = members.select(PROFILE_ID).union(stored.select(PROFILE_ID))
    if plan.slices == 1:
        return read_keyed(spark, table, view.table.runs), profiles(fragments, members, making)
    return read_keys(spark, table, view.table.runs, ids), profiles(fragments, members, making)


def _keyed(profiles_frame: DataFrame) -> DataFrame:
    # By the first identity, not by the id: a wrong id is then one difference, not a missing and an extra profile.
    return profiles_frame.withColumn(_KEY, F.get(F.col(IDENTITIES), F.lit(0)))


def _told(table: str, found: DataFrame) -> DataFrame:
    return found.withColumn("table", F.lit(table))


def _of_source(table: KeyedTable, source: VerifiedSource) -> KeyedTable:
    return table if source.version is None else _at(table, source.version)


def _at(table: KeyedTable, version: int) -> KeyedTable:
    # Delta reads a path with this ending as it was in that version.
    return table.model_copy(update={"path": f"{table.path}@v{version}"})
