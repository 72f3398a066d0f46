"""What a deletion would do, counted: profiles are made again without what goes, and compared with those of the cut.

All effects are as of the cut: the views, the fragments and the graph are read at its versions, so ingestion and
refreshes may go on beside it. What goes is counted as it is now, which is what the deletion is held to.
"""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.catalog.definitions import DatasetKind
from jobs.identities.transforms import (
    IDENTITY,
    PROFILE_ID,
    WAS_PROFILE,
    all_of,
    as_known,
    identities_table,
    profile_id_of,
)
from jobs.ingest.transforms.events import event_fragments
from jobs.ingest.transforms.records import FRAGMENT_KEY, record_fragments
from jobs.lake.keyed_table import DELETE, OP, SEQ, KeyedTable
from jobs.lake.layout import Layout
from jobs.lake.runs import read as read_keyed, read_keys
from jobs.lake.staging import Staging
from jobs.merge_policies.models import GraphType
from jobs.profiles.models import DIGEST
from jobs.profiles.transforms import (
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
from jobs.system_jobs.correcting import Correction, all_there, correction, fragments as own_fragments
from jobs.system_jobs.models import Effect, EffectPlan, PlannedSource, PlannedView, PolicyEffect, Removed
from jobs.system_jobs.stitching import stitched
from jobs.system_jobs.transforms import by_batch, changed_attributes, effects, lost_namespaces

_KEY = FRAGMENT_KEY.name


def effect(spark: SparkSession, plan: EffectPlan, staging: Staging, progress: Progress) -> Effect:
    """Count what a deletion would do; see `jobs.system_jobs.job.plan`."""
    progress.stage("counting what goes", batches=1 if plan.delete.removed else len(plan.delete.active_batches))
    now = correction(spark, plan.delete, staging) if plan.delete.removed else None
    removed = now.removed if now else all_there(spark, plan.delete)
    rows = _rows_by_batch(spark, plan, removed)
    gone = _gone_from_cut(spark, plan, staging, now)
    if gone is None and not plan.links_leaving:
        untouched = tuple(_effect_on(view, 0, 0, 0) for view in plan.views)
        return Effect(removed=removed, rows_by_batch=rows, policies=untouched)
    progress.stage("finding the profiles that are concerned")
    scope = _scope(spark, plan, staging, gone or _Gone(spark.createDataFrame([], f"{_KEY} string"), None))
    policies, attributes, namespaces = [], {}, {}
    for view in plan.views:
        progress.stage("making profiles without it", policy=view.policy.id)
        before, after = _before_and_after(spark, plan, view, staging, scope)
        row = effects(before, after, DIGEST).collect()[0]
        policies.append(_effect_on(view, *row))
        if view.policy.default:
            attributes = changed_attributes(before, after, plan.union.names)
            namespaces = lost_namespaces(before, after)
    return Effect(
        removed=removed,
        rows_by_batch=rows,
        policies=tuple(policies),
        attributes=attributes,
        namespaces=namespaces,
    )


@dataclass(frozen=True)
class _Gone:
    """What the cut loses.

    Args:
        keys: primary identities whose fragment of the dataset goes or becomes another one: `_identity`.
        correction: what takes its place; None when the whole dataset goes, or no fragment.
    """

    keys: DataFrame
    correction: Correction | None


def _effect_on(view: PlannedView, vanish: int, change: int, appear: int) -> PolicyEffect:
    return PolicyEffect(
        policy=view.policy.id,
        is_default=view.policy.default,
        profiles=view.profiles,
        vanish=vanish,
        change=change,
        appear=appear,
    )


def _rows_by_batch(spark: SparkSession, plan: EffectPlan, removed: Removed) -> dict[str, int]:
    if plan.delete.removed is not None:
        return {plan.delete.removed.batch_id: removed.events} if removed.events else {}
    found = own_fragments(spark, plan.delete, plan.delete.active_batches)
    return by_batch(found, plan.seqs) if found is not None else {}


def _own_source(plan: EffectPlan) -> PlannedSource | None:
    return next((one for one in plan.fragments if one.dataset.id == plan.delete.dataset.id), None)


def _gone_from_cut(spark: SparkSession, plan: EffectPlan, staging: Staging, now: Correction | None) -> _Gone | None:
    """Say what the cut loses; None when it has nothing of what goes, or there is no cut."""
    source, delete = _own_source(plan), plan.delete
    if source is None or plan.identities is None or not plan.in_cut:
        return None
    if delete.removed is None:
        found = own_fragments(spark, delete, plan.in_cut, source.version)
        return None if found is None else _Gone(found.select(_KEY), None)
    if delete.removed not in plan.in_cut:
        return None
    found_then = now
    if set(plan.in_cut) != set(delete.active_batches) or now is None:
        in_cut = {batch.batch_id for batch in plan.in_cut}
        lapsed = tuple(one for one in delete.lapsed if one.batch.batch_id in in_cut)
        then = delete.model_copy(update={"active_batches": plan.in_cut, "lapsed": lapsed})
        found_then = correction(spark, then, staging, plan.events_version)
    return _Gone(found_then.fragments.select(_KEY), found_then) if found_then else None


@dataclass(frozen=True)
class _Scope:
    """The profiles that are concerned, by the graph.

    Args:
        ids: profile_id: as they are, and as they would be.
        alone: profile_id: those that the same identities are by themselves.
        members: profile_id, identity: of the profiles as they would be.
        fragments: of these identities, without what goes, in the common form.
    """

    ids: DataFrame
    alone: DataFrame
    members: DataFrame
    fragments: DataFrame


def _scope(spark: SparkSession, plan: EffectPlan, staging: Staging, gone: _Gone) -> _Scope:
    table = _at(identities_table(plan.delete.store), plan.identities.version if plan.identities else None)
    runs = plan.identities.runs if plan.identities else ()
    known = as_known(read_keyed(spark, table, Layout.of(runs)))
    found = gone.correction
    again = found.again if found is not None and found.removed.applied_again else None
    assigned = stitched(spark, plan, staging, again, known)
    keys = gone.keys.select(F.col(_KEY).alias(IDENTITY)).distinct()
    now = known.select(IDENTITY, F.col(WAS_PROFILE).alias(PROFILE_ID))
    before = now.join(keys, IDENTITY, "left_semi").select(PROFILE_ID)
    graph = now
    if assigned is not None:
        standing = assigned.where(F.col(PROFILE_ID).isNotNull()).select(IDENTITY, PROFILE_ID)
        graph = now.join(assigned, IDENTITY, "left_anti").unionByName(standing)
        before = before.union(assigned.where(F.col(WAS_PROFILE).isNotNull()).select(WAS_PROFILE))
        keys = keys.union(assigned.select(IDENTITY)).distinct()
    after = graph.join(keys, IDENTITY, "left_semi").select(PROFILE_ID)
    ids = staging.put(before.union(after).distinct(), "ids")
    members = staging.put(graph.join(ids, PROFILE_ID, "left_semi").select(PROFILE_ID, IDENTITY), "members")
    alone = keys.select(profile_id_of(F.col(IDENTITY)).alias(PROFILE_ID))
    return _Scope(ids, alone, members, staging.put(_fragments_after(spark, plan, gone, members), "fragments"))


def _fragments_after(spark: SparkSession, plan: EffectPlan, gone: _Gone, members: DataFrame) -> DataFrame:
    """Read the fragments of identities at the cut, without those that go and with what takes their place."""
    keys = members.select(F.col(IDENTITY).alias(FRAGMENT))
    frames = []
    for source in plan.fragments:
        is_own = source.dataset.id == plan.delete.dataset.id
        if is_own and plan.delete.removed is None:
            continue
        frame = _fragments_of(spark, plan, source, keys)
        if is_own and gone.correction is not None:
            frame = frame.join(gone.keys.distinct(), _KEY, "left_anti")
            puts = gone.correction.fragments.where(F.col(OP) != DELETE).withColumn(SEQ, F.lit(0).cast("long"))
            frames.append(event_fragments_of(puts, source.dataset, plan.union))
        frames.append(frame)
    return all_of(frames) if frames else spark.createDataFrame([], fragments_schema(plan.union))


def _fragments_of(spark: SparkSession, plan: EffectPlan, source: PlannedSource, keys: DataFrame) -> DataFrame:
    batches = [(batch.batch_id, batch.seq) for batch in source.batches]
    if source.dataset.kind is DatasetKind.EVENTS:
        rows = read_keys(spark, _at(event_fragments(source), source.version), batches, keys)
        return event_fragments_of(rows, source.dataset, plan.union)
    rows = read_keys(spark, _at(record_fragments(source), source.version), batches, keys)
    return record_fragments_of(rows, source.dataset, plan.delete.namespaces, plan.union)


def _before_and_after(
    spark: SparkSession, plan: EffectPlan, view: PlannedView, staging: Staging, scope: _Scope
) -> tuple[DataFrame, DataFrame]:
    """Return the profiles of a view that are concerned, as they are and as they would be."""
    making = Making(
        policy=view.policy,
        union=plan.union,
        datasets=[source.dataset.id for source in plan.fragments],
        codes=[space.code for space in plan.delete.namespaces],
    )
    defined = profiles_table(plan.delete.store, view.policy.id, view.table.generation, plan.union)
    is_by_graph = view.policy.identity_graph.type is not GraphType.NONE
    ids = scope.ids if is_by_graph else scope.alone
    members = scope.members if is_by_graph else by_primary_identity(scope.fragments)
    wanted = members.join(ids, PROFILE_ID, "left_semi")
    before = read_keys(spark, _at(defined, view.table.version), Layout.of(view.table.runs), ids)
    after = profiles(scope.fragments, wanted, making)
    return staging.put(before, "before"), staging.put(after, "after")


def _at(table: KeyedTable, version: int | None) -> KeyedTable:
    # Delta reads a path with this ending as it was in that version.
    return table if version is None else table.model_copy(update={"path": f"{table.path}@v{version}"})
