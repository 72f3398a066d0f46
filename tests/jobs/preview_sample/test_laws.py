"""Law 4: overlaps partition the profiles, distributions are sums over overlap rows; and everything is as counted."""

from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st
from pyspark.sql import SparkSession

from jobs.preview_sample.models import PreviewResult
from jobs.preview_sample.rows import IDLE_DAYS
from jobs.preview_sample.transforms.groups import FRAGMENTS_OF, FRAGMENTS_WITH, groups
from jobs.preview_sample.transforms.reports import reports
from jobs.preview_sample.transforms.sampling import Group
from tests.jobs.preview_sample.oracle import (
    AT,
    CODES,
    EVENT_DATASETS,
    MOST,
    PRIMARY,
    Profile,
    grouped,
    namespaces_of,
    overlap,
    plan,
    unstitched,
)

# Just before, at, and just after each bound of idleness.
AGES = [timedelta(days=days, seconds=seconds) for days in (1, *IDLE_DAYS) for seconds in (-1, 0, 1)]
VIEW = (
    "profile_id string, _identities array<string>, _identity_count int, _datasets array<string>, "
    "_fragments_by_dataset map<string,bigint>, _fragments_by_namespace map<string,bigint>, _events bigint, "
    "_last_event timestamp"
)


@st.composite
def drawn_profiles(draw: Any) -> list[Profile]:
    """Profiles with any datasets and namespaces; some have no fragment that takes part."""
    found = []
    for number in range(draw(st.integers(0, 25))):
        fragments = draw(st.dictionaries(st.sampled_from(sorted(PRIMARY)), st.integers(1, 2)))
        codes = draw(st.lists(st.sampled_from(sorted(CODES)), min_size=1, max_size=MOST + 1))
        events = draw(st.integers(1, 9)) if EVENT_DATASETS & set(fragments) else 0
        found.append(
            {
                "profile_id": f"p{number}",
                "_identities": sorted(f"{code}:{number}.{n}" for n, code in enumerate(codes)),
                "_identity_count": len(codes),
                "_datasets": sorted(fragments),
                "_fragments_by_dataset": fragments,
                "_fragments_by_namespace": dict.fromkeys(codes, 1) if fragments else {},
                "_events": events,
                "_last_event": AT - draw(st.sampled_from(AGES)) if events else None,
            }
        )
    return found


profiles_drawn = drawn_profiles()


def ages(profiles: list[Profile]) -> dict[str, dict[int, int]]:
    return {"web": {0: sum(profile["_events"] for profile in profiles)}}


def law_4_holds(result: PreviewResult) -> None:
    total = result.status.total_rows
    for rows, distribution in (
        (result.dataset_overlap, {row.value: row.profiles for row in result.dataset}),
        (result.namespace_overlap, {row.code: row.profiles for row in result.namespace}),
    ):
        assert sum(row.profiles for row in rows) == total
        assert len({row.key for row in rows}) == len(rows)
        summed: Counter[str] = Counter()
        for row in rows:
            summed.update(dict.fromkeys(row.key.split(","), row.profiles))
        summed.pop("(none)", None)
        assert dict(summed) == distribution
    windows = [row for row in result.unstitched_profiles if row.namespace == "(all)"]
    assert [row.count_of_profiles for row in windows] == sorted((r.count_of_profiles for r in windows), reverse=True)
    for window in windows:
        parts = [r for r in result.unstitched_profiles if r.days == window.days and r.namespace != "(all)"]
        assert sum(r.count_of_profiles for r in parts) == window.count_of_profiles
        assert sum(r.events_associated for r in parts) == window.events_associated


@settings(max_examples=60, deadline=None)
@given(profiles=profiles_drawn)
def test_law_4_and_every_report_says_what_one_counts_by_hand(profiles: list[Profile]) -> None:
    result = reports(plan(), grouped(profiles), ages(profiles))
    law_4_holds(result)
    assert {row.key: row.profiles for row in result.dataset_overlap} == overlap(profiles, lambda p: p["_datasets"])
    assert {row.key: row.profiles for row in result.namespace_overlap} == overlap(profiles, namespaces_of)
    found = {
        (row.days, row.namespace): (row.count_of_profiles, row.events_associated) for row in result.unstitched_profiles
    }
    assert found == unstitched(profiles)
    status = result.status
    assert status.total_rows == status.num_rows_to_read == len(profiles)
    assert status.total_rows == status.known_profiles + status.pseudonymous_profiles + status.empty_profiles
    assert status.empty_profiles == sum(not profile["_datasets"] for profile in profiles)
    assert status.over_identities == sum(len(profile["_identities"]) > MOST for profile in profiles)
    for row in result.cut_list:
        assert row.profiles_gone == sum(profile["_datasets"] == [row.dataset_id] for profile in profiles)
    for stats in result.dataset_stats:
        assert stats.total_profiles <= stats.profile_fragments
    shares = [row.share for row in result.dataset] + [row.share for row in result.namespace]
    assert all(share == round(share, 6) and 0 < share <= 1 for share in shares)


@settings(max_examples=60, deadline=None)
@given(profiles=profiles_drawn.filter(bool), more=st.integers(0, 10_000))
def test_law_4_holds_for_what_is_estimated_from_a_sample(profiles: list[Profile], more: int) -> None:
    total = len(profiles) + more
    result = reports(plan(sample=len(profiles), profiles=total), grouped(profiles), ages(profiles))
    law_4_holds(result)
    status = result.status
    assert (status.total_rows, status.num_rows_to_read) == (total, len(profiles))
    assert status.total_rows == status.known_profiles + status.pseudonymous_profiles + status.empty_profiles
    assert all(stats.total_profiles <= stats.profile_fragments for stats in result.dataset_stats)
    drawn = [profile for profile in profiles if "crm" in profile["_datasets"]]
    for row in result.dataset:
        if row.value == "crm":
            assert (row.sample_count, row.sample_percentage) == (
                len(drawn),
                round(len(drawn) / len(profiles), 6),
            )
    backwards = reports(plan(sample=len(profiles), profiles=total), grouped(profiles)[::-1], ages(profiles))
    assert (backwards.dataset_overlap, backwards.dataset) == (result.dataset_overlap, result.dataset)


@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(profiles=profiles_drawn)
def test_spark_groups_profiles_as_one_does_by_hand(spark: SparkSession, profiles: list[Profile]) -> None:
    names, codes = sorted(PRIMARY), sorted(CODES)
    rows = [tuple(profile.values()) for profile in profiles]
    found = groups(spark.createDataFrame(rows, VIEW), None, AT, names, codes, MOST).collect()
    made = [
        Group(
            datasets=tuple(row["_datasets"]),
            namespaces=tuple(row["namespaces"]),
            profiles=row["profiles"],
            events=row["events"],
            too_large=row["too_large"],
            idle=row["idle"],
            lone=None if row["idle"] is None else PRIMARY[row["_datasets"][0]],
            fragments={name: row[f"{FRAGMENTS_OF}:{n}"] for n, name in enumerate(names)},
            carrying={code: row[f"{FRAGMENTS_WITH}:{n}"] for n, code in enumerate(codes)},
        )
        for row in found
    ]
    assert reports(plan(), made, ages(profiles)) == reports(plan(), grouped(profiles), ages(profiles))
