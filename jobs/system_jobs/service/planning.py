"""What a deletion concerns, as the catalog and the logs of the tables have it. Nothing here runs Spark."""

from collections.abc import Sequence
from datetime import datetime

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import DatasetKind
from jobs.catalog.records import Batch, BatchStatus, DatasetRecord
from jobs.catalog.refreshes import Cut, TakenBatch
from jobs.catalog.system_jobs import Asked
from jobs.ingest.models import BatchOrder, IngestPlan
from jobs.ingest.service.lake_source import sources_of
from jobs.lake import reader
from jobs.lake.commits import CommitInfo
from jobs.lake.keyed_table import LEVEL, PART, RUN
from jobs.lake.listing import partitions
from jobs.merge_policies import service as merge_policies
from jobs.preview_sample.service.planning import profiles_in
from jobs.settings import Settings
from jobs.system_jobs.models import (
    CleanPlan,
    DeletePlan,
    Effect,
    EffectPlan,
    Landed,
    Plan,
    PlannedLinks,
    PlannedSource,
    PlannedView,
    Removed,
)
from jobs.system_jobs.service.accepting import counting_batch


def effect_plan(
    catalog: Catalog, settings: Settings, asked: Asked, name: str, attempt: str, run: str, at: datetime
) -> EffectPlan:
    """Resolve what has to be known to count what a deletion would do.

    Args:
        catalog: opened in the sandbox.
        settings: of this installation.
        asked: what is to be deleted.
        name: of the batch that would stand for it.
        attempt: who counts.
        run: run that asks.
        at: now.

    Raises:
        InvalidRequest, Conflict: the batch counts no more.
    """
    record, (cut, in_graph) = catalog.dataset(asked.dataset_id), catalog.cut_and_batches()
    commit = CommitInfo(job="plan_deletion", batch=name, attempt=attempt, run=run)
    own = _as_a_batch(catalog, settings, record, at, commit)
    delete = delete_plan(catalog, asked, own)
    taken = {one.batch_id for one in in_graph if one.is_counted}
    leaving = [one for one in in_graph if _is_leaving(one, asked)]
    staying = [one for one in in_graph if not _is_leaving(one, asked)]
    events = cut.table(f"events/{record.id}") if cut else None
    return EffectPlan(
        delete=delete,
        commit=commit,
        cut=cut.number if cut else None,
        in_cut=tuple(one for one in delete.active_batches if one.batch_id in taken),
        events_version=events.version if events else None,
        fragments=_sources(catalog, settings, cut, taken) if cut else (),
        identities=cut.table("identities") if cut else None,
        links_leaving=_links(catalog, settings, cut, in_graph, leaving) if cut else (),
        links_staying=_links(catalog, settings, cut, staying, staying) if cut and leaving else (),
        union=merge_policies.union_schema(catalog, settings),
        views=_views(catalog, settings, cut) if cut else (),
        driver_links=settings.graph.driver_links,
        seqs={batch.seq: batch.id for batch in catalog.batches(record.id, BatchStatus.ACTIVE) if batch.seq},
    )


def _as_a_batch(
    catalog: Catalog, settings: Settings, record: DatasetRecord, at: datetime, commit: CommitInfo
) -> IngestPlan:
    """Plan a deletion as the batch that it would be if it came next."""
    return IngestPlan(
        dataset=record.definition,
        store_root=settings.store_root,
        sandbox=catalog.sandbox,
        generation=record.generation,
        in_profile=True,
        batch_id=commit.batch,
        seq=record.last_seq + 1,
        at=record.last_at or at,
        is_deletion=True,
        bounds=settings.ingest,
        commit=commit,
    )


def delete_plan(catalog: Catalog, asked: Asked, own: IngestPlan, approved: Plan | None = None) -> DeletePlan:
    """Resolve what has to be known to delete.

    Args:
        catalog: opened in the sandbox.
        asked: what is to be deleted.
        own: plan of the batch that stands for it.
        approved: what was approved of; None: whatever is there.

    Raises:
        InvalidRequest, Conflict: the batch counts no more.
    """
    counting = tuple(BatchOrder(batch_id=name, seq=seq) for name, seq in catalog.profile_batches(asked.dataset_id))
    removed: BatchOrder | None = None
    lapsed: tuple[Landed, ...] = ()
    if asked.batch_id is not None:
        counting_batch(catalog, asked.dataset_id, asked.batch_id)
        removed = next(one for one in counting if one.batch_id == asked.batch_id)
        lapsed = _lapsed(catalog, asked, counting)
    values = {name: getattr(own, name) for name in IngestPlan.model_fields}
    return DeletePlan(
        **values
        | {
            "namespaces": tuple(catalog.namespaces()),
            "active_batches": counting,
            "removed": removed,
            "lapsed": lapsed,
            "lake": asked.lake,
            "expected": approved.removed if approved else None,
            "is_changed": approved is not None
            and (
                approved.lake_rows_by_batch != _lake_rows(catalog, own, asked)
                or (approved.batches, approved.last_batch) != _going(asked, counting)
            ),
        }
    )


def clean_plan(catalog: Catalog, settings: Settings, asked: Asked, job_id: str, commit: CommitInfo) -> CleanPlan | None:
    """Resolve what is to be taken out of tables after a deletion; None when nothing is."""
    record = catalog.dataset(asked.dataset_id)
    batches = catalog.batches(asked.dataset_id)
    landed = tuple(batch.id for batch in batches if batch.lake_removed_by == job_id)
    removed: BatchOrder | None = None
    foldable: tuple[BatchOrder, ...] = ()
    if asked.batch_id is not None:
        batch, deletion = catalog.batch(asked.batch_id), _deletion_of(batches, job_id)
        # Of a generation that was left since, everything goes at once.
        if batch.generation == record.generation:
            removed = BatchOrder(batch_id=batch.id, seq=batch.seq or 0)
        counting = catalog.profile_batches(asked.dataset_id)
        foldable = tuple(BatchOrder(batch_id=name, seq=seq) for name, seq in counting if seq <= deletion)
    if removed is None and not landed:
        return None
    return CleanPlan(
        dataset=record.definition,
        store_root=settings.store_root,
        sandbox=catalog.sandbox,
        generation=record.generation,
        batch=removed,
        foldable=foldable,
        lake=landed,
        commit=commit,
    )


def taken_from_lake(catalog: Catalog, asked: Asked) -> tuple[str, ...]:
    """Name the batches whose landed rows are those of the batch that is to be deleted; none if it came as files."""
    return () if asked.batch_id is None else sources_of(catalog.batch(asked.batch_id))


def as_plan(catalog: Catalog, asked: Asked, planned: EffectPlan, found: Effect, at: datetime, seconds: float) -> Plan:
    """Put together what a deletion would do: what was counted, and what the catalog and the logs say."""
    lake_rows = _lake_rows(catalog, planned.delete, asked)
    going = {planned.delete.removed} if planned.delete.removed else set(planned.delete.active_batches)
    names = {one.batch_id for one in going if one}
    batches, last_batch = _going(asked, planned.delete.active_batches)
    return Plan(
        request_type=asked.request_type,
        dataset=asked.dataset_id,
        batch=asked.batch_id,
        lake=asked.lake,
        removed=found.removed,
        rows_by_batch=found.rows_by_batch,
        bytes=_bytes(planned.delete, found.removed),
        lake_rows=sum(lake_rows.values()),
        lake_rows_by_batch=lake_rows,
        batches=batches,
        last_batch=last_batch,
        policies=found.policies,
        attributes=found.attributes,
        namespaces=found.namespaces,
        exports=_exports(catalog, names),
        cut=planned.cut,
        not_in_cut=len(names - {one.batch_id for one in planned.in_cut}),
        taken_at=at,
        seconds=round(seconds, 1),
    )


def _going(asked: Asked, counting: Sequence[BatchOrder]) -> tuple[int, str | None]:
    """Tell which batches go with a dataset, by their number and the last one: no batch comes before another."""
    if asked.batch_id is not None or not counting:
        return 0, None
    return len(counting), max(counting, key=lambda one: one.seq).batch_id


def _lapsed(catalog: Catalog, asked: Asked, counting: Sequence[BatchOrder]) -> tuple[Landed, ...]:
    """Name the other batches that count, and of which rows were refused as duplicates."""
    orders = {one.batch_id: one for one in counting}
    return tuple(
        Landed(batch=orders[batch.id], at=batch.at, sources=sources_of(batch))
        for batch in catalog.batches(asked.dataset_id, BatchStatus.ACTIVE)
        if batch.id in orders and batch.id != asked.batch_id and batch.at and _has_duplicates(batch)
    )


def _has_duplicates(batch: Batch) -> bool:
    return batch.deleted_by is None and bool((batch.result or {}).get("duplicates", 1))


def _deletion_of(batches: Sequence[Batch], job_id: str) -> int:
    return next((batch.seq or 0 for batch in batches if batch.deleted_by == job_id), 0)


def _sources(catalog: Catalog, settings: Settings, cut: Cut, taken: set[str]) -> tuple[PlannedSource, ...]:
    found = []
    for record in catalog.datasets():
        table = cut.table(f"fragments/{record.id}")
        batches = [batch for batch in catalog.graph_batches(record.id) if batch.batch_id in taken]
        if table is None or not batches or record.definition.kind is DatasetKind.PROFILES:
            continue
        found.append(
            PlannedSource(
                dataset=record.definition,
                store_root=settings.store_root,
                sandbox=catalog.sandbox,
                generation=table.generation,
                batches=tuple(BatchOrder(batch_id=batch.batch_id, seq=batch.seq) for batch in batches),
                version=table.version,
            )
        )
    return tuple(found)


def _is_leaving(batch: TakenBatch, asked: Asked) -> bool:
    """Tell whether the links of a batch go, too."""
    return asked.lake and batch.dataset_id == asked.dataset_id and asked.batch_id in (None, batch.batch_id)


def _links(
    catalog: Catalog, settings: Settings, cut: Cut, by: Sequence[TakenBatch], origins: Sequence[TakenBatch]
) -> tuple[PlannedLinks, ...]:
    """Name the links that some batches wrote for rows of some."""
    found = []
    for record in catalog.datasets():
        table = cut.table(f"links/{record.id}")
        wrote, brought = (
            tuple(one.batch_id for one in batches if one.dataset_id == record.id) for batches in (by, origins)
        )
        if table is None or not brought:
            continue
        found.append(
            PlannedLinks(
                dataset=record.definition,
                store_root=settings.store_root,
                sandbox=catalog.sandbox,
                generation=record.generation,
                batches=wrote,
                origins=brought,
                version=table.version,
            )
        )
    return tuple(found)


def _views(catalog: Catalog, settings: Settings, cut: Cut) -> tuple[PlannedView, ...]:
    """Name the views that are made by the present policies; another one will be made anew anyhow."""
    union = merge_policies.union_schema(catalog, settings)
    found = []
    for policy in merge_policies.profile_policies(catalog):
        table = cut.table(f"profiles/{policy.id}")
        if table is not None and table.digest == union.fingerprint(policy):
            found.append(PlannedView(policy=policy, table=table, profiles=profiles_in(catalog, cut, policy)))
    return tuple(found)


def _bytes(plan: DeletePlan, removed: Removed) -> int:
    store, of = plan.store, plan.dataset.id
    rooms = ("fragments", "events") if plan.dataset.kind is DatasetKind.EVENTS else ("fragments",)
    there = {room: partitions(store.generation_path(room, of, plan.generation)) for room in rooms}
    if plan.removed is None:
        return sum(part.bytes for parts in there.values() for part in parts)
    name = plan.removed.batch_id
    own = [p for parts in there.values() for p in parts if (p.values[LEVEL], p.values[PART]) == (RUN, name)]
    if any(part in own for part in there.get("events", ())):
        return sum(part.bytes for part in own)
    others = there.get("events", ())
    rows = sum(part.rows for part in others)
    share = removed.events / rows if rows else 0
    return sum(part.bytes for part in own) + round(share * sum(part.bytes for part in others))


def _lake_rows(catalog: Catalog, own: IngestPlan, asked: Asked) -> dict[str, int]:
    """Count by batch the rows of the lake that go, too; none unless that is asked."""
    table = reader.find(own.store, "lake", asked.dataset_id) if asked.lake else None
    rows = reader.rows_by_batch(table) if table else {}
    landed = [name for name, _ in catalog.active_batches(asked.dataset_id)]
    going = landed if asked.batch_id is None else {asked.batch_id, *taken_from_lake(catalog, asked)}
    return {name: rows[name] for name in landed if name in going and rows.get(name)}


def _exports(catalog: Catalog, names: set[str]) -> tuple[str, ...]:
    """Name the datasets whose newest export, or one at work, reads a cut that had one of these batches."""
    taken = [one.taken_by for one in catalog.taken_batches() if one.batch_id in names and one.is_counted]
    # Those at work first: one that succeeds meanwhile is the newest then.
    exports = catalog.exports_at_work()
    for record in catalog.datasets():
        newest = catalog.newest_export(record.id) if record.definition.kind is DatasetKind.PROFILES else None
        exports += [newest] if newest else []
    held = {one.dataset_id for one in exports if one.cut is not None and taken and one.cut >= min(taken)}
    return tuple(sorted(held))
