"""From groups of profiles to the rows of the reports, in plain Python."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from jobs.catalog.definitions import DatasetKind, NamespaceType
from jobs.preview_sample.models import (
    AGE_DAYS,
    ALL,
    IDLE_DAYS,
    NONE,
    Baseline,
    ChangeRow,
    CutListRow,
    DatasetOverlapRow,
    DatasetRow,
    DatasetStatsRow,
    NamespaceOverlapRow,
    NamespaceRow,
    PreviewPlan,
    PreviewResult,
    StatusRow,
    UnstitchedRow,
)

_PSEUDONYMOUS = (NamespaceType.COOKIE, NamespaceType.DEVICE)
_DECIMALS = 6
# Rules of ingestion by which a row's identity cannot be linked.
_UNLINKED = ("bad_identity", "unknown_namespace")


@dataclass(frozen=True)
class Group:
    """Profiles that are alike in everything that a report asks; see `groups.groups`.

    Args:
        datasets: with a fragment that takes part, sorted.
        namespaces: of their identities, sorted.
        profiles: how many they are.
        events: of all of them.
        too_large: of them, with too many identities.
        idle: how many of IDLE_DAYS passed without a new event; None unless they are of exactly one fragment.
        lone: namespace of the primary identity of that fragment.
        fragments: by dataset.
        carrying: fragments that carry an identity of a namespace, by code.
    """

    datasets: tuple[str, ...]
    namespaces: tuple[str, ...]
    profiles: int
    events: int = 0
    too_large: int = 0
    idle: int | None = None
    lone: str | None = None
    fragments: Mapping[str, int] = field(default_factory=dict)
    carrying: Mapping[str, int] = field(default_factory=dict)


def reports(plan: PreviewPlan, found: Sequence[Group], ages: Mapping[str, Mapping[int, int]]) -> PreviewResult:
    """Derive every report.

    Args:
        plan: of the attempt.
        found: the groups; none for an empty store.
        ages: of each dataset of events, events that are younger than each of AGE_DAYS; under 0 all of them.
    """
    counted = sum(group.profiles for group in found)
    scale = _Scale(counted, counted if plan.sample is None else plan.profiles)
    stats = _dataset_stats(plan, found, ages, scale)
    datasets, namespaces = _by_dataset(plan, found, scale), _by_namespace(plan, found, scale)
    total = StatusRow(
        **_totals(found, stats, scale),
        **_kinds(plan, found, scale),
        over_identities=scale.up(sum(group.too_large for group in found)),
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
            DatasetOverlapRow(key=key, profiles=scale.up(count))
            for key, count in _overlap((group.datasets, group.profiles) for group in found)
        ),
        namespace_overlap=tuple(
            NamespaceOverlapRow(key=key, profiles=scale.up(count))
            for key, count in _overlap((group.namespaces, group.profiles) for group in found)
        ),
        unstitched_profiles=_unstitched(found, scale),
        cut_list=_cut_list(plan, found, stats, scale),
        changes=changes(plan, counts_of(total.total_rows, datasets, namespaces)),
    )


@dataclass(frozen=True)
class _Scale:
    """From what was counted to what there is: the same, unless only a sample was counted."""

    counted: int
    total: int

    @property
    def ratio(self) -> float:
        return self.counted / self.total if self.total else 1.0

    def up(self, count: int) -> int:
        return round(count / self.ratio) if self.counted else 0

    def share(self, count: int) -> float:
        return round(count / self.counted, _DECIMALS) if self.counted else 0.0

    @property
    def standard_error(self) -> float:
        """Of a share of one half, with the correction for a finite population."""
        if self.ratio == 1.0 or self.counted < 2:
            return 0.0
        return round(sqrt(0.25 / self.counted * (1 - self.ratio)), _DECIMALS)


def _totals(found: Sequence[Group], stats: Sequence[DatasetStatsRow], scale: _Scale) -> dict[str, Any]:
    return {
        "total_rows": scale.total,
        "num_rows_to_read": scale.counted,
        "sampling_ratio": round(scale.ratio, _DECIMALS),
        "standard_error": scale.standard_error,
        "total_fragment_count": scale.up(sum(sum(group.fragments.values()) for group in found)),
        "doc_count": sum(row.records for row in stats),
        "total_events": scale.up(sum(group.events for group in found)),
    }


def _kinds(plan: PreviewPlan, found: Sequence[Group], scale: _Scale) -> dict[str, int]:
    pseudonymous = {space.code for space in plan.namespaces if space.type in _PSEUDONYMOUS}
    kinds: Counter[str] = Counter()
    for group in found:
        if not group.datasets:
            kinds["empty_profiles"] += group.profiles
        elif pseudonymous.issuperset(group.namespaces):
            kinds["pseudonymous_profiles"] += group.profiles
        else:
            kinds["known_profiles"] += group.profiles
    return {f"{kind}_profiles": scale.up(kinds[f"{kind}_profiles"]) for kind in ("known", "pseudonymous", "empty")}


def _by_dataset(plan: PreviewPlan, found: Sequence[Group], scale: _Scale) -> tuple[DatasetRow, ...]:
    counts = _members((group.datasets, group.profiles) for group in found)
    return tuple(
        DatasetRow(
            value=source.dataset.id,
            name=source.dataset.name,
            description=source.dataset.description,
            sample_count=count,
            sample_percentage=scale.share(count),
            profiles=scale.up(count),
            share=scale.share(count),
        )
        for source in plan.datasets
        if (count := counts[source.dataset.id])
    )


def _by_namespace(plan: PreviewPlan, found: Sequence[Group], scale: _Scale) -> tuple[NamespaceRow, ...]:
    counts = _members((group.namespaces, group.profiles) for group in found)
    carrying = _summed(group.carrying for group in found)
    return tuple(
        NamespaceRow(
            code=space.code,
            sample_count=count,
            sample_percentage=scale.share(count),
            profiles=scale.up(count),
            share=scale.share(count),
            fragments=scale.up(carrying[space.code]),
        )
        for space in sorted(plan.namespaces, key=lambda space: space.code)
        if (count := counts[space.code])
    )


def _dataset_stats(
    plan: PreviewPlan, found: Sequence[Group], ages: Mapping[str, Mapping[int, int]], scale: _Scale
) -> tuple[DatasetStatsRow, ...]:
    profiles = _members((group.datasets, group.profiles) for group in found)
    fragments = _summed(group.fragments for group in found)
    is_events = {source.dataset.id: source.dataset.kind is DatasetKind.EVENTS for source in plan.datasets}
    records = {
        name: ages.get(name, {}).get(0, 0) if of_events else scale.up(fragments[name])
        for name, of_events in is_events.items()
    }
    totals = {kind: sum(count for name, count in records.items() if is_events[name] is kind) for kind in (True, False)}

    def percent(name: str, kind: bool) -> float:
        is_of_kind = is_events[name] is kind and totals[kind] > 0
        return round(100 * records[name] / totals[kind], _DECIMALS) if is_of_kind else 0.0

    return tuple(
        DatasetStatsRow(
            dataset_id=name,
            dataset_type="ExperienceEvents" if of_events else "Profiles",
            **{f"days_{days}": ages.get(name, {}).get(days, 0) for days in AGE_DAYS},
            records=records[name],
            profile_fragments=scale.up(fragments[name]),
            total_profiles=scale.up(profiles[name]),
            percent_events=percent(name, True),
            percent_profiles=percent(name, False),
        )
        for name, of_events in is_events.items()
        if records[name] or fragments[name]
    )


def _unstitched(found: Sequence[Group], scale: _Scale) -> tuple[UnstitchedRow, ...]:
    rows = []
    for number, days in enumerate(IDLE_DAYS, start=1):
        profiles: Counter[str] = Counter()
        events: Counter[str] = Counter()
        for group in found:
            if group.idle is not None and group.idle >= number:
                for namespace in (ALL, group.lone or NONE):
                    profiles[namespace] += group.profiles
                    events[namespace] += group.events
        rows += [
            UnstitchedRow(
                days=days,
                namespace=namespace,
                count_of_profiles=scale.up(profiles[namespace]),
                events_associated=scale.up(events[namespace]),
            )
            for namespace in (ALL, *sorted(set(profiles) - {ALL}))
        ]
    return tuple(rows)


def _cut_list(
    plan: PreviewPlan, found: Sequence[Group], stats: Sequence[DatasetStatsRow], scale: _Scale
) -> tuple[CutListRow, ...]:
    alone = Counter[str]()
    for group in found:
        if len(group.datasets) == 1:
            alone[group.datasets[0]] += group.profiles
    sizes = {source.dataset.id: source.size_bytes for source in plan.datasets}
    there = [row.dataset_id for row in stats]
    ranked = sorted(there, key=lambda name: (-alone[name], -(sizes[name] or 0), name))
    return tuple(
        CutListRow(
            rank=rank,
            dataset_id=name,
            profiles_gone=scale.up(alone[name]),
            share=scale.share(alone[name]),
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
