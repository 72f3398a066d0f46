"""Law 7: exported rows are a subset of the profiles, and the counters equal the rows; held to plain Python."""

from collections import Counter
from datetime import datetime
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st
from pyspark.sql import SparkSession

from jobs.catalog.definitions import Dataset
from jobs.catalog.refreshes import CutTable
from jobs.catalog.union_schema import UnionLeaf
from jobs.exports.models import Counts, ExportPlan
from jobs.exports.transforms.rows import CHECKSUM, counts, expected, exported, flat_identities, found, is_small, wanted
from jobs.exports.transforms.tables import IDENTITY_COMMENTS, comments_of
from jobs.lake.commits import CommitInfo
from tests.builders import Row, at

CODES, MOST = ("CRMID", "Email", "ECID"), 3
LEAVES = {"person.name.firstName": "string", "person.name.lastName": "string", "loyalty.points": "integer"}
VIEW = (
    "profile_id string, `person.name.firstName` string, `person.name.lastName` string, `loyalty.points` int, "
    "_identities array<string>, _are_primary array<boolean>, _identity_count int, _has_records boolean, "
    "_updated_at timestamp"
)
# Hostile values: separators, quotes, a namespace's own prefix, letters outside ASCII.
VALUES = st.sampled_from(["c1", "a:b", "Email:x", "it's", '"', "é집", "${x}", "", " "])


@st.composite
def drawn_profiles(draw: Any) -> list[Row]:
    profiles = []
    for number in range(draw(st.integers(0, 12))):
        pairs = draw(st.sets(st.tuples(st.sampled_from(CODES), VALUES), min_size=1, max_size=MOST + 1))
        identities = sorted(f"{code}:{number}{value}" for code, value in pairs)
        are_primary = draw(st.lists(st.booleans(), min_size=len(identities), max_size=len(identities)))
        profiles.append(
            {
                "profile_id": f"p{number}",
                "person.name.firstName": draw(st.none() | VALUES),
                "person.name.lastName": draw(st.none() | VALUES),
                "loyalty.points": draw(st.none() | st.integers(0, 9)),
                "_identities": identities,
                "_are_primary": are_primary,
                "_identity_count": len(identities),
                "_has_records": draw(st.booleans()),
                "_updated_at": at(draw(st.integers(1, 3))),
            }
        )
    return profiles


def plan_of(updated_after: datetime | None, empty_profiles: bool) -> ExportPlan:
    return ExportPlan(
        store_root="/none",
        sandbox="prod",
        job_id="1",
        dataset=Dataset.model_validate({"id": "people", "kind": "profiles"}),
        cut=1,
        policy_id="default",
        policy_version=1,
        view=CutTable(name="profiles/default", place="profiles/default/g1", version=1),
        leaves=tuple(UnionLeaf(name=name, type=kind, datasets=("crm",)) for name, kind in LEAVES.items()),
        codes=CODES,
        max_identities=MOST,
        updated_after=updated_after,
        empty_profiles=empty_profiles,
        commit=CommitInfo(job="export"),
    )


def asked_for(plan: ExportPlan, profile: Row) -> bool:
    is_new = plan.updated_after is None or profile["_updated_at"] > plan.updated_after
    return is_new and (plan.empty_profiles or profile["_has_records"])


def told(plan: ExportPlan, profiles: list[Row]) -> Counts:
    """The counters, counted by hand."""
    taken = [profile for profile in profiles if asked_for(plan, profile)]
    small = [profile for profile in taken if len(profile["_identities"]) <= MOST]
    by_namespace = Counter(code for one in small for code in {name.split(":")[0] for name in one["_identities"]})
    return Counts(
        profiles=len(small),
        identities=sum(len(profile["_identities"]) for profile in small),
        by_namespace=dict(by_namespace),
        left_out=len(taken) - len(small),
    )


def shaped(profile: Row) -> Row:
    """The row that a profile is exported as, without what is null."""
    identity_map: dict[str, list[Row]] = {}
    for identity, is_primary in zip(profile["_identities"], profile["_are_primary"], strict=True):
        code, _, value = identity.partition(":")
        identity_map.setdefault(code, []).append({"id": value, "primary": is_primary})
    name = {key: profile[f"person.name.{key}"] for key in ("firstName", "lastName")}
    name = {key: value for key, value in name.items() if value is not None}
    row: Row = {"profile_id": profile["profile_id"], "identityMap": identity_map}
    row |= {"person": {"name": name}} if name else {}
    return row | ({} if profile["loyalty.points"] is None else {"loyalty": {"points": profile["loyalty.points"]}})


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(profiles=drawn_profiles(), after=st.none() | st.integers(0, 3).map(lambda day: at(day + 1)), empty=st.booleans())
def test_rows_are_the_profiles_asked_for_and_counters_equal_rows(
    spark: SparkSession, profiles: list[Row], after: datetime | None, empty: bool
) -> None:
    plan = plan_of(after, empty)
    view = spark.createDataFrame([tuple(profile.values()) for profile in profiles], VIEW)
    by_hand = told(plan, profiles)
    assert counts(expected(view, plan).collect()[0], CODES) == by_hand
    chosen = view.where(wanted(after, empty) & is_small(MOST))
    frame = exported(chosen, list(LEAVES), None, comments_of(plan))
    rows = [without_nulls(row.asDict(recursive=True)) for row in frame.collect()]
    small = [profile for profile in profiles if asked_for(plan, profile) and len(profile["_identities"]) <= MOST]
    assert sorted(rows, key=lambda row: row["profile_id"]) == sorted(
        map(shaped, small), key=lambda row: row["profile_id"]
    )
    row = found(frame, CODES).collect()[0]
    assert counts(row, CODES) == by_hand.model_copy(update={"left_out": 0})
    # The same rows in another order, in other partitions.
    shuffled = found(frame.repartition(3), CODES).collect()[0]
    assert shuffled[CHECKSUM] == row[CHECKSUM]
    flat = {tuple(one) for one in flat_identities(chosen, IDENTITY_COMMENTS).collect()}
    assert len(flat) == by_hand.identities
    assert flat == {
        (one["profile_id"], code, entry["id"], entry["primary"])
        for one in map(shaped, small)
        for code, entries in one["identityMap"].items()
        for entry in entries
    }
