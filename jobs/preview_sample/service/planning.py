"""Whether a preview is due, and what it is to read, as the catalog has it at the begin of an attempt."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import DatasetKind
from jobs.catalog.policies import MergePolicy
from jobs.catalog.previews import Preview
from jobs.catalog.records import Attempt, Batch, BatchStatus
from jobs.catalog.refreshes import Cut, CutTable, TakenBatch
from jobs.errors import Conflict
from jobs.ingest.models import BatchOrder
from jobs.lake.commits import CommitInfo
from jobs.lake.store import Store
from jobs.merge_policies import service as merge_policies
from jobs.preview_sample.models import Baseline, PreviewPlan, PreviewResult, SampledDataset
from jobs.preview_sample.transforms.reports import counts_of
from jobs.settings import PreviewSettings, Settings

logger = logging.getLogger(__name__)

# Above so many times the size of a sample it is one part in so many: 5 percent.
_PARTS = 20


@dataclass(frozen=True)
class Due:
    """Whether a preview is due, and why or why not, in words that people read beside the run."""

    is_due: bool
    why: str


def due(catalog: Catalog, settings: Settings, now: datetime) -> Due:
    """Tell whether the reports should be made anew. Reads the catalog alone.

    They are when the number of profiles moved by more than the threshold, up or down, when the default merge policy is
    another one, and when the day has no report.
    """
    cut, policy = catalog.cut(), default_policy(catalog)
    if cut is None or policy is None or cut.table(f"profiles/{policy.id}") is None:
        return Due(False, "there are no profiles yet")
    last = catalog.newest_preview()
    if last is None or last.result is None:
        return Due(True, "there is no report yet")
    before = PreviewResult.model_validate(last.result).status
    if before.policy != policy.id:
        return Due(True, f"the default merge policy is {policy.id}, was {before.policy}")
    threshold, count = settings.preview.threshold_percent, profiles_in(catalog, cut, policy)
    moved = moved_percent(before.total_rows, count)
    told = f"moved {moved:.1f} %, threshold {threshold:g} %"
    if has_moved(before.total_rows, count, threshold):
        return Due(True, told)
    if last.at.astimezone(UTC).date() < now.astimezone(UTC).date():
        return Due(True, f"{told}; the first report of the day")
    return Due(False, told)


def has_moved(before: int, now: int, threshold_percent: float) -> bool:
    """Whether a number moved by more than the threshold, up or down. From nothing any profile is more."""
    return abs(now - before) * 100 > threshold_percent * before


def moved_percent(before: int, now: int) -> float:
    """By how many percent a number moved."""
    return abs(now - before) * 100 / before if before else (100.0 if now else 0.0)


def sample_size(profiles: int, settings: PreviewSettings) -> int | None:
    """Say how many profiles are counted; None when all are, which is the default."""
    if not settings.sampling or profiles <= settings.sample_profiles:
        return None
    return max(settings.sample_profiles, profiles // _PARTS)


def default_policy(catalog: Catalog) -> MergePolicy | None:
    """Return the default merge policy; None in a sandbox without a dataset."""
    return next((one for one in merge_policies.profile_policies(catalog) if one.default), None)


def profiles_in(catalog: Catalog, cut: Cut, policy: MergePolicy) -> int:
    """Return the number of profiles of a policy in a cut, as its refresh counted them."""
    result = catalog.refresh(cut.refresh_id).result or {}
    return int(((result.get("views") or {}).get(policy.id) or {}).get("profiles", 0))


def planned(catalog: Catalog, settings: Settings, preview: Preview, attempt: Attempt) -> PreviewPlan:
    """Plan an attempt at a preview that was begun.

    Raises:
        Conflict: there are profiles, but none under the default merge policy yet.
    """
    (cut, taken), policy = catalog.cut_and_batches(), default_policy(catalog)
    view = cut.table(f"profiles/{policy.id}") if cut and policy else None
    if cut and policy and view is None:
        raise Conflict(
            f"the default merge policy {policy.id!r} has no profiles yet, since it was made after the newest refresh; "
            "`tessera refresh` makes them"
        )
    profiles = profiles_in(catalog, cut, policy) if cut and policy else 0
    batches = _counting(catalog)
    last = max(batches, key=lambda batch: (batch.updated_at, batch.id), default=None)
    return PreviewPlan(
        store_root=settings.store_root,
        sandbox=catalog.sandbox,
        report_id=preview.id,
        failed=tuple(catalog.failed_previews()),
        at=preview.at,
        cut=cut.number if cut else None,
        policy_id=policy.id if policy else "",
        merge_strategy=str(policy.attribute_merge.type) if policy else "",
        view=view,
        datasets=_datasets(catalog, settings, cut, taken) if cut else (),
        namespaces=tuple(catalog.namespaces()),
        max_identities=settings.graph.max_identities,
        sample=sample_size(profiles, settings.preview),
        profiles=profiles,
        last_batch_id=last.id if last else None,
        last_batch_at=last.at if last else None,
        refused=_refused(batches),
        previous=baseline(catalog.newest_preview(before=preview.at)),
        week_before=_week_before(catalog, preview.at),
        commit=CommitInfo(job="preview", batch=preview.id, attempt=attempt.id, run=attempt.run),
    )


def baseline(preview: Preview | None) -> Baseline | None:
    """Return of an earlier preview what changes are told against."""
    if preview is None or preview.result is None:
        return None
    result = PreviewResult.model_validate(preview.result)
    counts = counts_of(result.status.total_rows, result.dataset, result.namespace)
    return Baseline(
        report_id=preview.id,
        at=preview.at,
        counts={f"{kind}:{name}": count for (kind, name), count in counts.items()},
    )


def day_of(at: datetime) -> tuple[datetime, datetime]:
    """Return the begin and the end of an instant's day, UTC."""
    begin = datetime.combine(at.astimezone(UTC).date(), time(), UTC)
    return begin, begin + timedelta(days=1)


def _week_before(catalog: Catalog, at: datetime) -> Baseline | None:
    begin, end = day_of(at - timedelta(days=7))
    return baseline(catalog.newest_preview(since=begin, before=end))


def _datasets(
    catalog: Catalog, settings: Settings, cut: Cut, taken: Sequence[TakenBatch]
) -> tuple[SampledDataset, ...]:
    """Name the datasets with rows in the cut, by id, and where they are."""
    in_profiles = {batch.batch_id for batch in taken if batch.is_counted}
    found = []
    for record in catalog.datasets():
        if record.definition.kind is DatasetKind.PROFILES:
            continue
        counted = [batch for batch in catalog.graph_batches(record.id) if batch.batch_id in in_profiles]
        fragments, events = cut.table(f"fragments/{record.id}"), cut.table(f"events/{record.id}")
        if not counted:
            continue
        found.append(
            SampledDataset(
                dataset=record.definition,
                store_root=settings.store_root,
                sandbox=catalog.sandbox,
                generation=fragments.generation if fragments else record.generation,
                batches=tuple(BatchOrder(batch_id=batch.batch_id, seq=batch.seq) for batch in counted),
                fragments_version=fragments.version if fragments else None,
                events_version=events.version if events else None,
                size_bytes=_size(Store(settings.store_root, catalog.sandbox), fragments, events),
                created_by=next((event.who for event in catalog.history("dataset", record.id)), ""),
            )
        )
    return tuple(sorted(found, key=lambda source: source.dataset.id))


def _size(store: Store, *tables: CutTable | None) -> int | None:
    try:
        opened = [DeltaTable(store.at(table.place), version=table.version) for table in tables if table]
        files = [table.get_add_actions() for table in opened]
    except (DeltaError, OSError) as away:
        # A store that only Spark can reach.
        logger.warning("the size of a dataset is not known: %s", away)
        return None
    return sum(pc.sum(pa.table(actions)["size_bytes"]).as_py() or 0 for actions in files)


def _counting(catalog: Catalog) -> list[Batch]:
    """List the batches of rows that count in the Profile store."""
    counting = {batch_id for record in catalog.datasets() for batch_id, _ in catalog.profile_batches(record.id)}
    return [one for one in catalog.batches(None, BatchStatus.ACTIVE) if one.id in counting and one.deleted_by is None]


def _refused(batches: list[Batch]) -> Mapping[str, int]:
    total: Counter[str] = Counter()
    for batch in batches:
        total.update((batch.result or {}).get("refused") or {})
    return dict(total)
