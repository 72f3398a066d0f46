from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings

from jobs.catalog.union_schema import chosen
from jobs.entities.transforms import Fragment, as_json, givers, identity_parts, nested
from jobs.merge_policies.models import IDENTITY_MAP, MergePolicy, UnionSchema
from tests.jobs.merge_policies.oracle import Row, merged, profiles
from tests.jobs.merge_policies.test_transforms import CASES


def as_fragment(row: Row) -> Fragment:
    leaves = {name: value for name, value in row.items() if not name.startswith("_")}
    return Fragment(row["_dataset"], row["_identity"], row["_seq"], row["_ord"], row["_at"], leaves)


@pytest.mark.parametrize(("policy", "schema"), CASES.values(), ids=CASES.keys())
@settings(max_examples=100, deadline=None)
@given(profile=profiles())
def test_the_winner_of_each_leaf_is_the_one_that_the_merge_takes(
    policy: MergePolicy, schema: UnionSchema, profile: list[Row]
) -> None:
    found = givers([as_fragment(row) for row in profile], policy, schema)
    expected = {name: value for name, value in merged(profile, policy, schema).items() if name != IDENTITY_MAP}
    assert {name: giving[0].leaves[name] for name, giving in found.items()} == expected
    for name, giving in found.items():
        taking = policy.attribute_merge.order or schema.datasets
        assert len(giving) == sum(row["_dataset"] in taking and row.get(name) is not None for row in profile)


def test_a_leaf_that_is_older_than_its_row_came_with_an_earlier_batch() -> None:
    fragment = Fragment("loyalty", "Email:a@x.io", 7, 0, datetime(2024, 1, 1, tzinfo=UTC), {}, {"tier": 3})
    assert (fragment.seq_of("tier"), fragment.seq_of("points")) == (3, 7)


def test_leaves_are_nested_and_absent_ones_left_out() -> None:
    leaves = {"person.name.firstName": "Ann", "person.name.lastName": None, "person.age": 30, "tags": []}
    assert nested(leaves) == {"person": {"name": {"firstName": "Ann"}, "age": 30}, "tags": []}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2024, 1, 2, 10, tzinfo=UTC), "2024-01-02T10:00:00Z"),
        (datetime(2024, 1, 2, 10, 0, 0, 1500, UTC), "2024-01-02T10:00:00.001500Z"),
        (date(2024, 1, 2), "2024-01-02"),
        (Decimal("19.99"), 19.99),
        (Decimal("12345678901234567890.12"), "12345678901234567890.12"),
        ({"k": [Decimal(1), None, True]}, {"k": [1.0, None, True]}),
    ],
)
def test_values_become_json(value: Any, expected: Any) -> None:
    assert as_json(value) == expected


def test_identities_come_as_a_map_and_as_a_list_that_say_which_are_primary() -> None:
    assert identity_parts(["Email:a:b@x.io", "CRMID:c1", "Email:b"], [True, False, False]) == {
        "identityMap": {"CRMID": [{"id": "c1"}], "Email": [{"id": "a:b@x.io", "primary": True}, {"id": "b"}]},
        "identities": [
            {"id": "c1", "namespace": {"code": "CRMID"}},
            {"id": "a:b@x.io", "namespace": {"code": "Email"}, "primary": True},
            {"id": "b", "namespace": {"code": "Email"}},
        ],
    }


def test_fields_are_paths_with_all_below_them() -> None:
    names = ["person.name.firstName", "person.nameday", "person.age", "tags"]
    assert chosen(names, ["person.name", "tags"]) == ["person.name.firstName", "tags"]
    assert chosen(names, []) == names
