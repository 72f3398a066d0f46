"""One attempt at a refresh: stitch what the batches link, make the profiles that they touch, write what changed.

Everything is written as the run of this refresh, which no reader counts until the caller has published the refresh and
its cut: an attempt that dies leaves nothing but runs that the next one drops. A view is remade in full by the same
code, in a directory of its own that the cut switches to. Nothing here knows the catalog, and ingestion may go on beside
it: the batches are the plan's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.catalog.definitions import DatasetKind
from jobs.catalog.refreshes import CutTable
from jobs.faults import Fault
from jobs.identities.job import Graph, as_it_is, stitch
from jobs.identities.models import StitchPlan
from jobs.identities.transforms import (
    IDENTITY,
    MERGED_INTO,
    all_of,
    identities_table,
    merged_ids_table,
    profile_id_of,
)
from jobs.ingest.transforms.events import event_fragments
from jobs.ingest.transforms.records import record_fragments
from jobs.lake.definition import ensure
from jobs.lake.fold import fold
from jobs.lake.generations import purge
from jobs.lake.keyed_table import OP, PUT, KeyedTable, Run
from jobs.lake.layout import Layout, is_run, load, runs_there
from jobs.lake.runs import clear, drop_run, read as read_keyed, read_keys, write_run
from jobs.lake.staging import Staging
from jobs.lake.tables import newest_version
from jobs.merge_policies.models import GraphType
from jobs.profiles.models import (
    DIGEST,
    IDENTITY_COUNT,
    PROFILE_ID,
    RefreshPlan,
    RefreshResult,
    ViewPlan,
    ViewResult,
)
from jobs.profiles.transforms import (
    FRAGMENT,
    Making,
    by_primary_identity,
    changed_rows,
    event_fragments_of,
    fragments_schema,
    profiles,
    profiles_table,
    record_fragments_of,
)
from jobs.session.progress import Progress


def run(spark: SparkSession, plan: RefreshPlan, progress: Progress) -> RefreshResult:
    """Refresh the identities and the views.

    Returns:
        The counts, and the tables for the cut.

    Raises:
        StoreError: the store refused.
    """
    began = time.monotonic()
    with Staging.open(spark, plan.store, plan.commit.attempt) as staging:
        progress.stage("tidying up", views=len(plan.views))
        has_links = any(source.batches for source in plan.stitch.sources)
        kept = {} if has_links else {view.policy.id: _as_it_was(view) for view in plan.views}
        views = [_prepared_view(spark, plan, view) for view in plan.views if not kept.get(view.policy.id)]
        stitching = _prepared_graph(spark, plan)
        # In full, what no link names any more leaves the graph.
        is_stitched = has_links or stitching.full
        graph = stitch(spark, stitching, staging, progress) if is_stitched else as_it_is(spark, stitching)
        scopes = _Scopes(spark, plan, staging, graph)
        made = {policy: view for policy, view in kept.items() if view}
        for view in views:
            progress.stage("merging", policy=view.policy.id, touched=graph.result.named)
            made[view.policy.id] = _refresh_view(spark, plan, view, scopes)
        tables = _graph_tables(spark, stitching, graph)
    return RefreshResult(
        sandbox=plan.sandbox,
        full=plan.stitch.full,
        graph=graph.result,
        views=made,
        tables=(*tables, *(view.table for view in made.values())),
        max_identities=plan.max_identities,
        seconds=round(time.monotonic() - began, 1),
    )


def _prepared_graph(spark: SparkSession, plan: RefreshPlan) -> StitchPlan:
    """Bring the tables of the graph into order; returns the plan with the runs that still wait there."""
    waiting = {}
    for key, table in (
        ("identities_runs", identities_table(plan.store)),
        ("merged_runs", merged_ids_table(plan.store)),
    ):
        ensure(spark, table.table)
        waiting[key] = _tidied(spark, table, getattr(plan.stitch, key), plan)
    return plan.stitch.model_copy(update=waiting)


def _prepared_view(spark: SparkSession, plan: RefreshPlan, view: ViewPlan) -> ViewPlan:
    """Bring a view into order; a new one is empty then, whatever an attempt that died left there."""
    for generation in plan.dead_generations:
        purge(plan.store, "profiles", view.policy.id, generation)
    table = _table_of(plan, view)
    ensure(spark, table.table)
    if view.is_new:
        if plan.may_have_dead_runs and runs_there(spark, table):
            clear(spark, table, plan.commit)
        return view
    return view.model_copy(update={"runs": _tidied(spark, table, view.runs, plan)})


def _tidied(spark: SparkSession, table: KeyedTable, runs: Sequence[Run], plan: RefreshPlan) -> tuple[Run, ...]:
    """Drop the runs of refreshes that were never published, and fold when enough wait; returns the runs that wait."""
    if plan.may_have_dead_runs:
        for dead in runs_there(spark, table) - {run.batch_id for run in runs}:
            drop_run(spark, table, Run(dead, 0), plan.commit)
    if len(runs) >= table.max_runs and not fold(spark, table, runs, plan.commit).conflict:
        return ()
    return tuple(runs)


@dataclass(frozen=True)
class _Scope:
    """What profiles are made of.

    Args:
        members: profile_id, identity: every identity of the profiles that the graph joins.
        fragments: of these identities, in the common form.
    """

    members: DataFrame
    fragments: DataFrame


class _Scopes:
    """What is made: the profiles that the batches touch, or everything for a view that is new. Each is read once."""

    def __init__(self, spark: SparkSession, plan: RefreshPlan, staging: Staging, graph: Graph) -> None:
        self._spark = spark
        self._plan = plan
        self._staging = staging
        self.graph = graph

    @cached_property
    def everything(self) -> _Scope:
        """All there is."""
        fragments = self._fragments(lambda table, source: read_keyed(self._spark, table, source))
        return _Scope(self.graph.identities, self._staging.put(fragments, "fragments"))

    @cached_property
    def touched(self) -> _Scope:
        """The profiles that the links name, with all their identities."""
        members = self._staging.put(self.graph.identities.join(self.graph.touched, PROFILE_ID, "left_semi"), "members")
        keys = members.select(F.col(IDENTITY).alias(FRAGMENT))
        fragments = self._fragments(lambda table, source: read_keys(self._spark, table, source, keys))
        return _Scope(members, self._staging.put(fragments, "fragments"))

    def _fragments(self, read: Callable[[KeyedTable, Sequence[tuple[str, int]]], DataFrame]) -> DataFrame:
        plan, frames = self._plan, []
        for source in plan.fragments:
            batches = [(batch.batch_id, batch.seq) for batch in source.batches]
            if source.dataset.kind is DatasetKind.EVENTS:
                frames.append(event_fragments_of(read(event_fragments(source), batches), source.dataset, plan.union))
            else:
                rows = read(record_fragments(source), batches)
                frames.append(record_fragments_of(rows, source.dataset, plan.namespaces, plan.union))
        return all_of(frames) if frames else self._spark.createDataFrame([], fragments_schema(plan.union))


def _refresh_view(spark: SparkSession, plan: RefreshPlan, view: ViewPlan, scopes: _Scopes) -> ViewResult:
    table = _table_of(plan, view)
    made, looked_at = _made(plan, view, scopes)
    before = _before(spark, plan, view, looked_at)
    nothing = before.limit(0) if view.is_new else before
    write_run(spark, table, changed_rows(made, nothing), plan.run, plan.at, plan.commit, Fault.PROFILES)
    runs = (*view.runs, plan.run)
    counts = _counts(spark, plan, view, before, scopes.graph.ended)
    # Nobody reads it yet, so its base may be made at once.
    if view.is_new and not fold(spark, table, runs, plan.commit).conflict:
        runs = ()
    return ViewResult(
        **counts,
        table=CutTable(
            name=table.name,
            place=plan.store.place_of(table.path),
            version=newest_version(spark, table.path),
            generation=view.generation,
            runs=runs,
            digest=plan.union.fingerprint(view.policy),
        ),
    )


def _as_it_was(view: ViewPlan) -> ViewResult | None:
    """Keep a view that nothing touches; None when it has to be made, or counted."""
    if view.is_new or view.former is None or view.counted is None:
        return None
    profiles, too_large = view.counted
    return ViewResult(profiles=profiles, too_large=too_large, table=view.former)


def _made(plan: RefreshPlan, view: ViewPlan, scopes: _Scopes) -> tuple[DataFrame, DataFrame]:
    """Make the profiles of a view; returns them, and the ids of all that were looked at, which may be none any more."""
    making = Making(
        policy=view.policy,
        union=plan.union,
        datasets=[source.dataset.id for source in plan.fragments],
        codes=[space.code for space in plan.namespaces],
    )
    graph = scopes.graph
    scope = scopes.everything if view.is_new else scopes.touched
    if view.policy.identity_graph.type is not GraphType.NONE:
        looked_at = graph.touched.union(graph.ended.select(PROFILE_ID))
        return profiles(scope.fragments, scope.members, making), looked_at
    fragments = scope.fragments
    if not view.is_new:
        fragments = fragments.join(graph.named.select(F.col(IDENTITY).alias(FRAGMENT)), FRAGMENT, "left_semi")
    looked_at = graph.named.select(profile_id_of(F.col(IDENTITY)).alias(PROFILE_ID))
    return profiles(fragments, by_primary_identity(fragments), making), looked_at


def _before(spark: SparkSession, plan: RefreshPlan, view: ViewPlan, looked_at: DataFrame) -> DataFrame:
    """Return the profiles as they were: profile_id, digest. Of a new view, those of the one that it replaces."""
    if not view.is_new:
        rows = read_keys(spark, _table_of(plan, view), Layout.of(view.runs), looked_at)
    elif view.former is not None:
        former = profiles_table(plan.store, view.policy.id, view.former.generation, plan.union)
        ensure(spark, former.table)
        rows = read_keyed(spark, former, Layout.of(view.former.runs))
    else:
        return spark.createDataFrame([], f"{PROFILE_ID} string, {DIGEST} bigint, {IDENTITY_COUNT} int")
    return rows.select(PROFILE_ID, DIGEST, IDENTITY_COUNT)


_KIND, _NOW, _WAS, _INTO, _LARGE_NOW, _LARGE_WAS = "kind", "@now", "@was", "@into", "@large now", "@large was"
_ENDS = ("merged", "vanished")


def _counts(
    spark: SparkSession, plan: RefreshPlan, view: ViewPlan, before: DataFrame, ended: DataFrame
) -> dict[str, int]:
    """Count what happened to the profiles of a view, and so how many there are now."""
    own = load(spark, _table_of(plan, view)).where(is_run([plan.run.batch_id]))
    rows = _happened(own, before, ended, view, plan.max_identities).groupBy(_KIND)
    found = {
        row[0]: (row[1], row[2] or 0)
        for row in rows.agg(F.count(F.lit(1)), F.sum(F.col(_LARGE_NOW) - F.col(_LARGE_WAS))).collect()
    }
    counts = {kind: count for kind, (count, _) in found.items()}
    if view.is_new or view.counted is None:
        return counts | _counted_all(spark, plan, view)
    profiles, too_large = view.counted
    profiles += counts.get("created", 0) - sum(counts.get(end, 0) for end in _ENDS)
    return counts | {"profiles": profiles, "too_large": too_large + sum(more for _, more in found.values())}


def _happened(own: DataFrame, before: DataFrame, ended: DataFrame, view: ViewPlan, most: int) -> DataFrame:
    """Say of each profile that was looked at what happened to it, and whether it was and is too large."""
    is_put, is_large = F.col(OP) == PUT, (F.col(IDENTITY_COUNT) > most).cast("int")
    now = own.select(PROFILE_ID, is_put.alias("put"), F.when(is_put, F.col(DIGEST)).alias(_NOW), is_large.alias("now"))
    was = before.select(PROFILE_ID, F.col(DIGEST).alias(_WAS), is_large.alias("was"))
    into = ended.select(PROFILE_ID, F.col(MERGED_INTO).alias(_INTO))
    over = F.when(F.col(_INTO).isNotNull(), "merged").otherwise("vanished")
    kind = (
        F.when(F.col(_WAS).isNull(), "created")
        .when(F.col("put").isNull(), over if view.is_new else F.lit("unchanged"))
        .when(~F.col("put"), over)
        .when(F.col(_NOW) == F.col(_WAS), "unchanged")
        .otherwise("changed")
    )
    is_as_it_was = F.col("put").isNull()
    return (
        was.join(now, PROFILE_ID, "full")
        .join(into, PROFILE_ID, "left")
        .select(
            kind.alias(_KIND),
            F.when(is_as_it_was, F.col("was")).otherwise(F.coalesce("now", F.lit(0))).alias(_LARGE_NOW),
            F.coalesce("was", F.lit(0)).alias(_LARGE_WAS),
        )
    )


def _counted_all(spark: SparkSession, plan: RefreshPlan, view: ViewPlan) -> dict[str, int]:
    standing = read_keyed(spark, _table_of(plan, view), Layout.of((*view.runs, plan.run)))
    is_large = F.count_if(F.col(IDENTITY_COUNT) > plan.max_identities)
    profiles, too_large = standing.agg(F.count(F.lit(1)), is_large).collect()[0]
    return {"profiles": profiles, "too_large": too_large}


def _graph_tables(spark: SparkSession, plan: StitchPlan, graph: Graph) -> list[CutTable]:
    waiting = ((identities_table(plan.store), plan.identities_runs), (merged_ids_table(plan.store), plan.merged_runs))
    return [
        CutTable(
            name=table.name,
            place=plan.store.place_of(table.path),
            version=newest_version(spark, table.path),
            runs=(*runs, plan.run) if table.name in graph.result.tables else runs,
        )
        for table, runs in waiting
    ]


def _table_of(plan: RefreshPlan, view: ViewPlan) -> KeyedTable:
    return profiles_table(plan.store, view.policy.id, view.generation, plan.union)
