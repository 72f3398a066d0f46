"""Merge policies on both databases; the rules themselves are tested with their service."""

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.policies import PolicyBody
from jobs.errors import Conflict, NotFound
from tests.jobs.catalog.builders import Clock, crm, definitions


def body(name: str, **more: object) -> PolicyBody:
    return PolicyBody.model_validate({"name": name, **more})


def test_a_policy_lives_through_its_versions(filled: Catalog, clock: Clock) -> None:
    first = filled.create_merge_policy(body("first", default=True, isActiveOnEdge=True)).policy
    assert [(one.id, one.version, one.default) for one in filled.merge_policies()] == [
        ("default", 2, False),
        ("first", 1, True),
    ]
    clock.advance(seconds=5)
    named = filled.change_merge_policy(first.id, lambda before: before.body.model_copy(update={"name": "new"})).policy
    assert (named.version, named.update_epoch - first.update_epoch) == (2, 5)
    assert filled.merge_policy(first.id, version=1) == first
    with pytest.raises(NotFound, match="has no version 3"):
        filled.merge_policy(first.id, version=3)
    filled.change_merge_policy("default", lambda before: before.body.model_copy(update={"default": True}))
    filled.change_merge_policy(first.id, lambda before: before.body.model_copy(update={"is_active_on_edge": False}))
    filled.delete_merge_policy(first.id)
    assert [one.id for one in filled.merge_policies()] == ["default"]


def test_an_apply_that_is_refused_leaves_no_policy(filled: Catalog) -> None:
    bad = {"type": "dataSetPrecedence", "order": ["web"]}
    wanted = definitions(crm(id="other")).model_copy(
        update={"merge_policies": (body("good"), body("bad", attributeMerge=bad))}
    )
    with pytest.raises(Exception, match="cannot be ordered"):
        filled.apply(wanted)
    assert [one.id for one in filled.merge_policies()] == ["default"]
    assert [one.id for one in filled.datasets()] == ["crm", "web"]
    assert filled.apply(wanted.model_copy(update={"merge_policies": (body("good"),)}), dry_run=True).changes[-1].id
    assert [one.id for one in filled.merge_policies()] == ["default"]


def test_a_sandbox_keeps_its_policies_to_itself(filled: Catalog, sandbox: str) -> None:
    with Catalog.open(str(filled._url.render_as_string(hide_password=False)), f"{sandbox}_other", "test") as other:
        assert other.merge_policies() == []
        with pytest.raises(NotFound):
            other.merge_policy("default")
    for name in "abcd":
        filled.create_merge_policy(body(name))
    with pytest.raises(Conflict, match="at most 5"):
        filled.create_merge_policy(body("e"))
