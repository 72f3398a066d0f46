"""From groups of profiles to the rows of the reports, in plain Python."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jobs.catalog.definitions import DatasetKind, NamespaceType
from jobs.preview_sample.models import Baseline, PreviewPlan, PreviewResult
from jobs.preview_sample.rows import (
    AGE_DAYS,
    ALL,
    IDLE_DAYS,
    NONE,
    ChangeRow,
    CutListRow,
    DatasetOverlapRow,
    DatasetRow,
    DatasetStatsRow,
    NamespaceOverlapRow,
    NamespaceRow,
    StatusRow,
    UnstitchedRow,
    namespace_id,
)
from jobs.preview_sample.transforms.sampling import DECIMALS, Group, Sample, of_the_whole

_PSEUDONYMOUS = (NamespaceType.COOKIE, NamespaceType.DEVICE)
# Rules of ingestion by which a row's identity cannot be linked.
_UNLINKED = ("bad_identity", "unknown_namespace")


def reports(plan: PreviewPlan, found: Sequence[Group], ages: Mapping[str, Mapping[int, int]]) -> PreviewResult:
    """Derive every report.

    Args:
        plan: of the attempt.
        found: the groups; none for an empty store.
        ages: of each dataset of events, events that are younger than each of AGE_DAYS; under 0 all of them.
    """
    counted = sum(group.profiles for group in found)
    sample = Sample(counted, plan.profiles if plan.sample is not None and counted else counted)
    whole = of_the_whole(found, sample.total)
    stats = _dataset_stats(plan, whole, ages)
    datasets, namespaces = _by_dataset(plan, found, whole, sample), _by_namespace(plan, found, whole, sample)
    total = StatusRow(
        **_totals(whole, stats, sample),
        **_kinds(plan, whole),
        over_identities=sum(group.too_large for group in whole),
        oversized_rows=plan.refused.get("row_too_large", 0),
        rows_without_identity=plan.refused.get("missing_identity", 0),
        refused_links=sum(plan.refused.get(rule, 0) for rule in _UNLINKED),
        merge_strategy=plan.merge_strategy,
        policy=plan.policy_id,
        cut=plan.cut,
        last_batch_id=plan.last_batch_id,
        last_successful_batch_timestamp=plan.last_batch_at,
    )
    return PreviewResult(
        sandbox=plan.sandbox,
        report_id=plan.report_id,
        at=plan.at,
        status=total,
        dataset=datasets,
        namespace=namespaces,
        dataset_stats=stats,
        dataset_overlap=tuple(
            DatasetOverlapRow(key=key, profiles=count)
            for key, count in _overlap((group.datasets, group.profiles) for group in whole)
        ),
        namespace_overlap=tuple(
            NamespaceOverlapRow(key=key, profiles=count)
            for key, count in _overlap((group.namespaces, group.profiles) for group in whole)
        ),
        unstitched_profiles=_unstitched(whole),
        cut_list=_cut_list(plan, whole, stats, sample),
        changes=changes(plan, counts_of(total.total_rows, datasets, namespaces)),
    )


def _totals(whole: Sequence[Group], stats: Sequence[DatasetStatsRow], sample: Sample) -> dict[str, Any]:
    return {
        "total_rows": sample.total,
        "num_rows_to_read": sample.counted,
        "sampling_ratio": round(sample.ratio, DECIMALS),
        "standard_error": sample.standard_error,
        "total_fragment_count": sum(sum(group.fragments.values()) for group in whole),
        "doc_count": sum(row.records for row in stats),
        "total_events": sum(group.events for group in whole),
    }


def _kinds(plan: PreviewPlan, whole: Sequence[Group]) -> dict[str, int]:
    pseudonymous = {space.code for space in plan.namespaces if space.type in _PSEUDONYMOUS}
    kinds = {"known_profiles": 0, "pseudonymous_profiles": 0, "empty_profiles": 0}
    for group in whole:
        if not group.datasets:
            kinds["empty_profiles"] += group.profiles
        elif pseudonymous.issuperset(group.namespaces):
            kinds["pseudonymous_profiles"] += group.profiles
        else:
            kinds["known_profiles"] += group.profiles
    return kinds


def _by_dataset(
    plan: PreviewPlan, found: Sequence[Group], whole: Sequence[Group], sample: Sample
) -> tuple[DatasetRow, ...]:
    sampled = _members((group.datasets, group.profiles) for group in found)
    counts = _members((group.datasets, group.profiles) for group in whole)
    return tuple(
        DatasetRow(
            value=source.dataset.id,
            name=source.dataset.name,
            description=source.dataset.description,
            created_user=source.created_by,
            sample_count=sampled[source.dataset.id],
            sample_percentage=_share(sampled[source.dataset.id], sample.counted),
            profiles=count,
            share=_share(count, sample.total),
        )
        for source in plan.datasets
        if (count := counts[source.dataset.id])
    )


def _by_namespace(
    plan: PreviewPlan, found: Sequence[Group], whole: Sequence[Group], sample: Sample
) -> tuple[NamespaceRow, ...]:
    sampled = _members((group.namespaces, group.profiles) for group in found)
    counts = _members((group.namespaces, group.profiles) for group in whole)
    carrying = _summed(group.carrying for group in whole)
    return tuple(
        NamespaceRow(
            code=space.code,
            value=namespace_id(space.code),
            name=space.name,
            sample_count=sampled[space.code],
            sample_percentage=_share(sampled[space.code], sample.counted),
            profiles=count,
            share=_share(count, sample.total),
            fragments=carrying[space.code],
        )
        for space in sorted(plan.namespaces, key=lambda space: space.code)
        if (count := counts[space.code])
    )


def _dataset_stats(
    plan: PreviewPlan, whole: Sequence[Group], ages: Mapping[str, Mapping[int, int]]
) -> tuple[DatasetStatsRow, ...]:
    profiles = _members((group.datasets, group.profiles) for group in whole)
    fragments = _summed(group.fragments for group in whole)
    is_events = {source.dataset.id: source.dataset.kind is DatasetKind.EVENTS for source in plan.datasets}
    records = {
        name: ages.get(name, {}).get(0, 0) if of_events else fragments[name] for name, of_events in is_events.items()
    }
    totals = {kind: sum(count for name, count in records.items() if is_events[name] is kind) for kind in (True, False)}

    def percent(name: str, kind: bool) -> float:
        is_of_kind = is_events[name] is kind and totals[kind] > 0
        return round(100 * records[name] / totals[kind], DECIMALS) if is_of_kind else 0.0

    return tuple(
        DatasetStatsRow(
            dataset_id=name,
            dataset_type="ExperienceEvents" if of_events else "Profiles",
            **{f"days_{days}": ages.get(name, {}).get(days, 0) for days in AGE_DAYS},
            records=records[name],
            profile_fragments=fragments[name],
            total_profiles=profiles[name],
            percent_events=percent(name, True),
            percent_profiles=percent(name, False),
        )
        for name, of_events in is_events.items()
        if records[name] or fragments[name]
    )


def _unstitched(whole: Sequence[Group]) -> tuple[UnstitchedRow, ...]:
    rows = []
    for number, days in enumerate(IDLE_DAYS, start=1):
        profiles: Counter[str] = Counter()
        events: Counter[str] = Counter()
        for group in whole:
            if group.idle is not None and group.idle >= number:
                for namespace in (ALL, group.lone or NONE):
                    profiles[namespace] += group.profiles
                    events[namespace] += group.events
        rows += [
            UnstitchedRow(
                days=days,
                namespace=namespace,
                count_of_profiles=profiles[namespace],
                events_associated=events[namespace],
            )
            for namespace in (ALL, *sorted(set(profiles) - {ALL}))
        ]
    return tuple(rows)


def _cut_list(
    plan: PreviewPlan, whole: Sequence[Group], stats: Sequence[DatasetStatsRow], sample: Sample
) -> tuple[CutListRow, ...]:
    alone = Counter[str]()
    for group in whole:
        if len(group.datasets) == 1:
            alone[group.datasets[0]] += group.profiles
    sizes = {source.dataset.id: source.size_bytes for source in plan.datasets}
    there = [row.dataset_id for row in stats]
    ranked = sorted(there, key=lambda name: (-alone[name], -(sizes[name] or 0), name))
    return tuple(
        CutListRow(
            rank=rank,
            dataset_id=name,
            profiles_gone=alone[name],
            share=_share(alone[name], sample.total),
            bytes_freed=sizes[name],
        )
        for rank, name in enumerate(ranked, start=1)
    )


def counts_of(
    total: int, datasets: Iterable[DatasetRow], namespaces: Iterable[NamespaceRow]
) -> dict[tuple[str, str], int]:
    """Return the numbers of profiles that changes are told of, by kind and id."""
    return (
        {("total", ""): total}
        | {("dataset", row.value): row.profiles for row in datasets}
        | {("namespace", row.code): row.profiles for row in namespaces}
    )


def changes(plan: PreviewPlan, now: Mapping[tuple[str, str], int]) -> tuple[ChangeRow, ...]:
    """Compare with the earlier reports; what only they have is now 0, what they lack was 0."""

    def before(earlier: Baseline | None, key: tuple[str, str]) -> int | None:
        return None if earlier is None else earlier.counts.get(":".join(key), 0)

    keys = dict.fromkeys(now)
    for earlier in (plan.previous, plan.week_before):
        for text in earlier.counts if earlier else ():
            kind, _, name = text.partition(":")
            keys.setdefault((kind, name))
    rows = []
    for key in keys:
        count, previous, week = now.get(key, 0), before(plan.previous, key), before(plan.week_before, key)
        rows.append(
            ChangeRow(
                kind=key[0],
                id=key[1],
                profiles=count,
                previous=previous,
                change=None if previous is None else count - previous,
                week_before=week,
                change_since_week_before=None if week is None else count - week,
            )
        )
    return tuple(rows)


def _share(part: int, whole: int) -> float:
    return round(part / whole, DECIMALS) if whole else 0.0


def _overlap(sets: Iterable[tuple[tuple[str, ...], int]]) -> list[tuple[str, int]]:
    counts: Counter[str] = Counter()
    for names, count in sets:
        counts[",".join(names) or NONE] += count
    return sorted(counts.items(), key=lambda row: (-row[1], row[0]))


def _members(sets: Iterable[tuple[tuple[str, ...], int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for names, count in sets:
        for name in names:
            counts[name] += count
    return counts


def _summed(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total
