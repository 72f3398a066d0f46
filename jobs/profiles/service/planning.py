"""What a refresh is to do, as the catalog has it at the begin of an attempt; and publishing what it did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import DatasetKind
from jobs.catalog.policies import PROFILE_CLASS
from jobs.catalog.records import Attempt, DatasetRecord
from jobs.catalog.refreshes import Cut, CutTable, GraphBatch, Refresh
from jobs.catalog.union_schema import UnionSchema
from jobs.errors import StoreError
from jobs.identities.models import LinkSource, StitchPlan
from jobs.ingest.models import BatchOrder
from jobs.lake.commits import CommitInfo
from jobs.lake.keyed_table import Run
from jobs.lake.store import Store
from jobs.profiles.models import FragmentSource, RefreshPlan, RefreshResult, ViewPlan
from jobs.settings import Settings


@dataclass(frozen=True)
class Planned:
    """One attempt at a refresh, planned.

    Args:
        refresh: the record, PROCESSING.
        attempt: who runs it.
        plan: for the job; None when nothing is to do.
        found: what the catalog said.
        sources: tables that hold the batches, at versions that do.
    """

    refresh: Refresh
    attempt: Attempt
    plan: RefreshPlan | None
    found: "Found"
    sources: tuple[CutTable, ...]


def planned(catalog: Catalog, settings: Settings, refresh: Refresh, attempt: Attempt) -> Planned:
    """Plan an attempt at a refresh that was begun; StoreError when a table's version cannot be read."""
    found = _look(catalog)
    plan = _plan(catalog, settings, refresh, attempt, found)
    sources = tuple(_source_tables(plan.store, found)) if plan else ()
    return Planned(refresh, attempt, plan, found, sources)


def publish(catalog: Catalog, done: Planned, result: RefreshResult) -> Refresh:
    """Publish what the job did; without a plan nothing was to do, and the newest cut stays.

    Raises:
        Conflict: the attempt does not run the refresh any more.
    """
    if done.plan is None:
        return catalog.publish_refresh(done.refresh.id, done.attempt, result.document())
    told = result.model_copy(update=_batches_told(done.found))
    tables = (*result.tables, *done.sources)
    return catalog.publish_refresh(done.refresh.id, done.attempt, told.document(), tables, done.found.batches)


def is_behind(catalog: Catalog) -> bool:
    """Tell whether batches were ingested, or removed, since the newest cut. Reads the catalog alone."""
    found = _look(catalog)
    return bool(found.touched) or found.has_lost


@dataclass(frozen=True)
class Found:
    """What the catalog says at the begin of an attempt.

    Args:
        datasets: those that rows may have gone to the Profile store of.
        batches: of each, every batch whose links are in the graph.
        touched: of each, the batches that the newest cut does not know, or knows otherwise.
        has_lost: whether the newest cut knows a batch whose links are gone: only a full refresh takes them back.
        cut: the newest; None before the first.
    """

    datasets: tuple[DatasetRecord, ...]
    batches: Mapping[str, Sequence[GraphBatch]]
    touched: Mapping[str, Sequence[GraphBatch]]
    has_lost: bool
    cut: Cut | None


def _look(catalog: Catalog) -> Found:
    cut, taken = catalog.cut_and_batches()
    datasets = tuple(one for one in catalog.datasets() if one.definition.kind is not DatasetKind.PROFILES)
    batches = {one.id: catalog.graph_batches(one.id) for one in datasets}
    known = {batch.batch_id: batch.is_counted for batch in taken}
    touched = {
        dataset_id: [batch for batch in present if known.get(batch.batch_id) is not batch.counts]
        for dataset_id, present in batches.items()
    }
    lost = known.keys() - {batch.batch_id for present in batches.values() for batch in present}
    return Found(datasets, batches, {name: new for name, new in touched.items() if new}, bool(lost), cut)


def _plan(catalog: Catalog, settings: Settings, record: Refresh, attempt: Attempt, found: Found) -> RefreshPlan | None:
    """Plan an attempt; None when nothing is to do."""
    number = record.number or 0
    full = bool(record.request.get("full")) or found.has_lost
    union = _union(catalog, settings, found)
    views = _views(catalog, settings, union, found.cut, number, full)
    if not (found.touched or full or any(view.is_new for view in views)):
        return None
    cut, sandbox, root = found.cut, catalog.sandbox, settings.store_root
    commit = CommitInfo(job="refresh", batch=record.id, attempt=attempt.id, run=attempt.run)
    taking = found.batches if full else found.touched
    tables = {
        one.id: {"dataset": one.definition, "store_root": root, "sandbox": sandbox, "generation": one.generation}
        for one in found.datasets
    }
    return RefreshPlan(
        store_root=root,
        sandbox=sandbox,
        stitch=StitchPlan(
            store_root=root,
            sandbox=sandbox,
            run=Run(record.id, number),
            at=record.updated_at,
            identities_runs=_runs(cut, "identities"),
            merged_runs=_runs(cut, "merged_ids"),
            sources=tuple(
                LinkSource.model_validate(
                    tables[name] | {"batches": _names(batches), "origins": _names(found.batches[name])}
                )
                for name, batches in taking.items()
                if batches
            ),
            full=full,
            driver_links=settings.graph.driver_links,
            commit=commit,
        ),
        fragments=tuple(
            FragmentSource.model_validate(tables[name] | {"batches": counted})
            for name, batches in found.batches.items()
            if (counted := tuple(BatchOrder(batch_id=one.batch_id, seq=one.seq) for one in batches if one.counts))
        ),
        union=union,
        namespaces=tuple(catalog.namespaces()),
        views=views,
        dead_generations=tuple(range((cut.number if cut else 0) + 1, number)),
        may_have_dead_runs=record.attempts > 1 or number > (cut.number if cut else 0) + 1,
        max_identities=settings.graph.max_identities,
        at=record.updated_at,
        commit=commit,
    )


def _names(batches: Sequence[GraphBatch]) -> tuple[str, ...]:
    return tuple(batch.batch_id for batch in batches)


def _union(catalog: Catalog, settings: Settings, found: Found) -> UnionSchema:
    # A dataset that was enabled once is in it for ever: a table never loses a column.
    fed = [one.definition for one in found.datasets if one.definition.enabled or catalog.enabled_intervals(one.id)]
    codes = [space.code for space in catalog.namespaces()]
    return UnionSchema.of(fed, settings.profiles.custom_timestamps, codes)


def _views(
    catalog: Catalog, settings: Settings, union: UnionSchema, cut: Cut | None, number: int, full: bool
) -> tuple[ViewPlan, ...]:
    views, counted = [], _counted(catalog, settings, cut)
    for policy in catalog.merge_policies():
        if policy.schema_.name != PROFILE_CLASS:
            continue
        known = cut.table(f"profiles/{policy.id}") if cut else None
        if full or known is None or known.digest != union.fingerprint(policy):
            views.append(ViewPlan(policy=policy, generation=number, is_new=True, former=known))
        else:
            runs = tuple(Run(*one) for one in known.runs)
            views.append(
                ViewPlan(
                    policy=policy,
                    generation=known.generation,
                    runs=runs,
                    is_new=False,
                    counted=counted.get(policy.id),
                    former=known,
                )
            )
    return tuple(views)


def _counted(catalog: Catalog, settings: Settings, cut: Cut | None) -> dict[str, tuple[int, int]]:
    """Return what the newest cut's refresh counted, by policy; nothing when it counted by another bound."""
    if cut is None:
        return {}
    told = RefreshResult.model_validate(catalog.refresh(cut.refresh_id).result or {})
    if told.max_identities != settings.graph.max_identities:
        return {}
    return {policy: (view.profiles, view.too_large) for policy, view in told.views.items()}


def _runs(cut: Cut | None, table: str) -> tuple[Run, ...]:
    known = cut.table(table) if cut else None
    return tuple(Run(*one) for one in known.runs) if known else ()


def _batches_told(found: Found) -> dict[str, dict[str, int]]:
    """Count the batches that were taken and those that no longer count, by dataset."""
    told: dict[str, dict[str, int]] = {"batches": {}, "released": {}}
    for dataset_id, batches in found.touched.items():
        for batch in batches:
            kind = told["batches" if batch.counts else "released"]
            kind[dataset_id] = kind.get(dataset_id, 0) + 1
    return told


def _source_tables(store: Store, found: Found) -> list[CutTable]:
    """Name the tables that the batches are in, at versions that hold all of them."""
    tables = []
    for record in found.datasets:
        rooms = ("fragments", "events") if record.definition.kind is DatasetKind.EVENTS else ("fragments",)
        places = [(room, store.generation_path(room, record.id, record.generation)) for room in rooms]
        for room, path in (*places, ("links", store.path("links", record.id))):
            version = _version(path)
            if version is not None:
                name, generation = f"{room}/{record.id}", 0 if room == "links" else record.generation
                tables.append(CutTable(name=name, place=store.place_of(path), version=version, generation=generation))
    return tables


def _version(path: str) -> int | None:
    """Return the present version of a table; None when there is none, StoreError when that cannot be told."""
    try:
        return DeltaTable(path).version() if DeltaTable.is_deltatable(path) else None
    except (DeltaError, OSError) as away:
        reason = str(away).strip().partition("\n")[0]
        raise StoreError(f"table {path} cannot be read, so it would be missing in the cut: {reason}") from away
