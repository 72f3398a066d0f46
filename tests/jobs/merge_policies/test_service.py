"""The calls on merge policies, over fixture F's datasets: the cases of the guide and its limits."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.catalog.database import Catalog
from jobs.errors import Conflict, InvalidRequest, NotFound
from jobs.merge_policies import service
from tests.builders import crm, definitions, field, loyalty, web

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
PRECEDENCE = {"type": "dataSetPrecedence", "order": ["crm", "loyalty"]}


class Clock:
    """Each look at it is a minute later."""

    now = NOON

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """A sandbox with the datasets of fixture F."""
    with Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}", "prod", "tester", Clock()) as opened:
        opened.apply(definitions())
        yield opened


def create(catalog: Catalog, name: str = "p", **body: Any) -> str:
    return service.create(catalog, {"name": name, **body}).policy.id


def defaults(catalog: Catalog) -> list[str]:
    return [one.id for one in catalog.merge_policies() if one.default]


def test_a_sandbox_with_a_dataset_has_the_policy_that_is_shipped(catalog: Catalog) -> None:
    shipped = service.default_policy(catalog)
    assert shipped.model_dump(mode="json") == {
        "id": "default",
        "name": "Default",
        "sandbox": {"sandboxName": "prod"},
        "schema": {"name": "_xdm.context.profile"},
        "version": 1,
        "identityGraph": {"type": "pdg"},
        "attributeMerge": {"type": "timestampOrdered", "order": []},
        "isActiveOnEdge": False,
        "default": True,
        "updateEpoch": int((NOON + timedelta(minutes=1)).timestamp()),
    }
    catalog.apply(definitions(crm(name="again")))
    assert catalog.merge_policies() == [shipped]


def test_a_policy_is_made_with_the_defaults_of_the_guide(catalog: Catalog) -> None:
    made = service.get(catalog, create(catalog, "Latest value!"))
    assert (made.id, made.version, made.default, made.is_active_on_edge) == ("latest-value", 1, False, False)
    assert (made.attribute_merge.type, made.identity_graph.type) == ("timestampOrdered", "pdg")
    assert [create(catalog, "Latest value"), create(catalog, "최신")] == ["latest-value-2", "policy"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "name: is missing"),
        ({"name": "p", "attributeMerge": {"type": "dataSetPrecedence"}}, "dataSetPrecedence needs `order`"),
        ({"name": "p", "attributeMerge": {"type": "dataSetPrecedence", "order": ["crm", "crm"]}}, "'crm' twice"),
        (
            {"name": "p", "attributeMerge": {"type": "dataSetPrecedence", "order": ["cmr"]}},
            r"order = 'cmr': no such dataset; did you mean 'crm'\? Known here: crm, loyalty, web",
        ),
        (
            {"name": "p", "attributeMerge": {"type": "dataSetPrecedence", "order": ["web"]}},
            r"kind events cannot be ordered; events are collected .* Name record datasets; known here: crm, loyalty",
        ),
        ({"name": "p", "attributeMerge": {"type": "newest"}}, "attributeMerge.type = 'newest'"),
        ({"name": "p", "identityGraph": {"type": "public"}}, "identityGraph.type = 'public'"),
        ({"name": "p", "merge": {}}, r"merge: unknown key; .*attributeMerge"),
        ({"name": "p", "schema": {"name": "profile"}}, "schema.name = 'profile'"),
    ],
)
def test_a_wrong_policy_is_refused_with_value_and_rule(catalog: Catalog, body: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        service.create(catalog, body)
    assert len(catalog.merge_policies()) == 1


def test_making_one_the_default_makes_the_former_none(catalog: Catalog) -> None:
    first = create(catalog, "first", default=True)
    assert defaults(catalog) == [first]
    assert service.get(catalog, "default").version == 2
    second = create(catalog, "second")
    service.patch(catalog, second, {"op": "replace", "path": "/default", "value": "true"})
    assert defaults(catalog) == [second]
    with pytest.raises(Conflict, match="a class keeps a default"):
        service.patch(catalog, second, {"op": "replace", "path": "/default", "value": "false"})


def test_two_classes_may_each_have_a_default(catalog: Catalog) -> None:
    account = create(catalog, "accounts", default=True, schema={"name": "_xdm.context.account"})
    assert defaults(catalog) == ["default", account]
    assert [one.id for one in service.profile_policies(catalog)] == ["default"]


def test_a_patch_makes_a_new_version_and_the_former_one_can_still_be_listed(catalog: Catalog) -> None:
    before = service.get(catalog, create(catalog, "old", attributeMerge=PRECEDENCE))
    after = service.patch(catalog, before.id, {"op": "add", "path": "/name", "value": "new"}).policy
    assert (after.version, after.name, after.attribute_merge) == (2, "new", before.attribute_merge)
    assert after.update_epoch > before.update_epoch
    assert before in service.listed(catalog, {"version": "1"}).children
    assert [one.id for one in service.listed(catalog, {"version": 2}).children] == [before.id]
    assert service.patch(catalog, before.id, {"op": "add", "path": "/name", "value": "new"}).policy == after


@pytest.mark.parametrize(
    ("operation", "error", "told"),
    [
        ({"op": "remove", "path": "/name"}, InvalidRequest, "op = 'remove'"),
        ({"op": "add", "path": "/attributeMerge.order", "value": []}, InvalidRequest, "path = '/attributeMerge.order'"),
        ({"op": "add", "path": "/attributeMerge.type", "value": "dataSetPrecedence"}, InvalidRequest, "needs `order`"),
        ({"op": "add", "path": "/default", "value": "maybe"}, InvalidRequest, "default = 'maybe'"),
        ({"op": "add", "path": "/version", "value": 7}, Conflict, "at version 1, not 7"),
    ],
)
def test_a_wrong_patch_is_refused_and_changes_nothing(
    catalog: Catalog, operation: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        service.patch(catalog, create(catalog), operation)
    assert service.get(catalog, "p").version == 1


def test_a_put_replaces_all_of_a_policy_also_by_what_was_read(catalog: Catalog) -> None:
    read = service.get(catalog, create(catalog, attributeMerge=PRECEDENCE)).model_dump(mode="json")
    assert service.replace(catalog, "p", read).policy.version == 1
    replaced = service.replace(catalog, "p", {"name": "q", "imsOrgId": "x@AdobeOrg"}).policy
    assert (replaced.version, replaced.name, replaced.attribute_merge.type) == (2, "q", "timestampOrdered")
    with pytest.raises(InvalidRequest, match="an id never changes"):
        service.replace(catalog, "p", read | {"id": "other"})
    with pytest.raises(Conflict, match="a class keeps a default"):
        service.replace(catalog, "default", {"name": "Default"})
    with pytest.raises(NotFound, match="no merge policy 'x' in sandbox 'prod'; known here: default, p"):
        service.replace(catalog, "x", read | {"id": "x"})


def test_a_sixth_policy_is_refused_until_one_is_deleted(catalog: Catalog) -> None:
    for name in "abcd":
        create(catalog, name)
    with pytest.raises(Conflict, match=r"at most 5, and this one has default, a, b, c, d"):
        create(catalog, "e")
    service.delete(catalog, "a")
    assert create(catalog, "e") == "e"


def test_a_deleted_policy_is_gone_and_its_id_is_not_used_again(catalog: Catalog) -> None:
    service.delete(catalog, create(catalog))
    with pytest.raises(NotFound):
        service.get(catalog, "p")
    assert create(catalog) == "p-2"
    with pytest.raises(Conflict, match="is the default of"):
        service.delete(catalog, "default")
    assert [(e.from_status, e.to_status) for e in catalog.history("merge_policy", "p")] == [
        (None, "v1"),
        ("v1", "DELETED"),
    ]


def test_one_policy_is_active_on_edge_and_is_not_deleted_while_it_is(catalog: Catalog) -> None:
    edge = create(catalog, "edge", isActiveOnEdge=True)
    with pytest.raises(Conflict, match="only one may be"):
        create(catalog, "other", isActiveOnEdge=True)
    with pytest.raises(Conflict, match="active on edge"):
        service.delete(catalog, edge)
    service.patch(catalog, edge, {"op": "replace", "path": "/isActiveOnEdge", "value": "false"})
    service.delete(catalog, edge)


def test_a_bulk_get_answers_those_that_exist(catalog: Catalog) -> None:
    found = service.bulk_get(catalog, {"ids": [{"id": "default"}, {"id": "unknown"}]})
    assert list(found.model_dump(mode="json")["results"]) == ["default"]


def test_a_list_is_filtered_ordered_and_cut_into_pages(catalog: Catalog) -> None:
    create(catalog, "b", identityGraph={"type": "none"})
    create(catalog, "a", attributeMerge=PRECEDENCE, isActiveOnEdge=True)

    def ids(**query: Any) -> list[str]:
        return [one.id for one in service.listed(catalog, query).children]

    assert ids() == ["default", "b", "a"]
    assert ids(orderBy="+name") == ids(orderBy=" name") == ids(orderBy="name") == ["a", "b", "default"]
    assert ids(orderBy="-name") == ["default", "b", "a"]
    assert ids(default="true") == ["default"]
    assert ids(isActiveOnEdge=True) == ["a"]
    assert ids(**{"identityGraph.type": "none"}) == ["b"]
    assert ids(**{"attributeMerge.type": "dataSetPrecedence"}) == ["a"]
    assert ids(**{"schema.name": "_xdm.context.account"}) == []
    first = service.listed(catalog, {"limit": 2, "orderBy": "name"}).model_dump(by_alias=True)
    assert first["_page"] == {"totalCount": 3, "pageSize": 2}
    assert first["_links"] == {"next": {"href": "?limit=2&orderBy=name&start=2"}}
    last = service.listed(catalog, {"limit": 2, "start": 2, "orderBy": "name"})
    assert ([one.id for one in last.children], last.links["next"]["href"]) == (["default"], "")
    with pytest.raises(InvalidRequest, match="limit = 0"):
        service.listed(catalog, {"limit": 0})
    with pytest.raises(InvalidRequest, match="unknown key"):
        service.listed(catalog, {"sort": "name"})


def test_a_policy_that_does_what_another_does_is_made_with_a_warning(catalog: Catalog) -> None:
    assert not service.create(catalog, {"name": "by dataset", "attributeMerge": PRECEDENCE}).warnings
    made = service.create(catalog, {"name": "twin", "attributeMerge": PRECEDENCE})
    assert made.policy.id == "twin"
    assert "makes the same profiles as by-dataset" in made.warnings[0]


def declared(*policies: dict[str, Any]) -> Any:
    return definitions(crm(), loyalty(), web()).model_validate({"merge_policies": policies})


def test_definition_files_declare_policies_by_name(catalog: Catalog) -> None:
    by_dataset = {"name": "by dataset", "attributeMerge": PRECEDENCE}
    assert catalog.apply(declared(by_dataset)).lines() == [
        "merge policy by dataset: created (id by-dataset; pdg; dataSetPrecedence)"
    ]
    service.patch(catalog, "by-dataset", {"op": "add", "path": "/default", "value": True})
    assert catalog.apply(declared(by_dataset)).lines() == ["merge policy by dataset: unchanged"]
    assert defaults(catalog) == ["by-dataset"]
    back = declared({"name": "Default", "default": True}, by_dataset | {"identityGraph": {"type": "none"}})
    assert catalog.apply(back).lines() == [
        "merge policy Default: changed (version 3)",
        "merge policy by dataset: changed (version 4)",
    ]
    with pytest.raises(InvalidRequest, match="no such dataset"):
        catalog.apply(declared({"name": "new"}, {"name": "bad", "attributeMerge": PRECEDENCE | {"order": ["no"]}}))
    assert len(catalog.merge_policies()) == 2


def test_an_entry_of_its_name_changes_the_policy_that_is_shipped(tmp_path: Path) -> None:
    with Catalog.open(f"sqlite:///{tmp_path / 'new.db'}", "prod", "tester") as catalog:
        alone = declared({"name": "Default", "identityGraph": {"type": "none"}}).merge_policies
        catalog.apply(definitions(crm()).model_copy(update={"merge_policies": alone}))
        found = catalog.merge_policies()
        assert [(one.id, one.default, one.identity_graph.type) for one in found] == [("default", True, "none")]


def test_a_default_that_is_declared_with_the_first_dataset_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    with Catalog.open(f"sqlite:///{tmp_path / 'new.db'}", "prod", "tester") as catalog:
        both = definitions(crm()).model_copy(
            update={"merge_policies": declared({"name": "latest", "default": True}).merge_policies}
        )
        catalog.apply(both)
        assert [one.id for one in catalog.merge_policies()] == ["latest"]


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (field("loyalty.tier", "integer"), r"'loyalty.tier' of type string in dataset 'loyalty' is 'loyalty.tier' of "),
        (field("loyalty.Tier"), "spell it the same everywhere"),
        (field("Loyalty.since"), r"'loyalty\.points' .* is beside 'Loyalty\.since' .*: spell what both have"),
        (field("Person.age"), r"'Person\.age' in dataset 'crm' is beside 'person\.name\.firstName' in dataset 'crm'"),
        (field("loyalty"), "is a leaf in dataset 'crm'; it cannot hold 'loyalty.tier' of 'loyalty'"),
    ],
)
def test_a_dataset_that_does_not_fit_the_union_is_refused(catalog: Catalog, extra: dict[str, Any], told: str) -> None:
    with pytest.raises(Conflict, match=told):
        catalog.apply(definitions(crm(fields=[*crm()["fields"], extra])))
    # Not for Profile, it may be what it likes.
    catalog.apply(definitions(crm(id="other", enabled=False, fields=[*crm()["fields"], extra])))


def test_records_and_events_have_a_union_each(catalog: Catalog) -> None:
    catalog.apply(definitions(crm(id="other", fields=[crm()["fields"][0], field("commerce.order.priceTotal", "long")])))


def test_the_union_of_fixture_f_has_each_field_once_and_grows_with_a_dataset(catalog: Catalog, settings: Any) -> None:
    union = service.union_schema(catalog, settings)
    assert union.names == [
        "personID",
        "personalEmail.address",
        "person.name.firstName",
        "homeAddress.city",
        "loyalty.tier",
        "loyalty.points",
        "identityMap",
    ]
    assert next(leaf for leaf in union.leaves if leaf.name == "homeAddress.city").datasets == ("crm", "loyalty")
    catalog.apply(definitions(loyalty(fields=[*loyalty()["fields"], field("loyalty.since", "date", comment="Day")])))
    grown = service.union_schema(catalog, settings)
    assert ("loyalty.since", "date", "Day") in [(leaf.name, leaf.type, leaf.comment) for leaf in grown.leaves]


def test_a_dataset_may_say_which_field_tells_when_its_source_changed_a_record(catalog: Catalog, settings: Any) -> None:
    with_instant = crm(fields=[*crm()["fields"], field("changed", "timestamp")], last_updated="changed")
    catalog.apply(definitions(with_instant))
    assert service.union_schema(catalog, settings).instants == {}
    profiles = settings.profiles.model_copy(update={"custom_timestamps": True})
    used = service.union_schema(catalog, settings.model_copy(update={"profiles": profiles}))
    assert used.instants == {"crm": "changed"}
    policy = service.default_policy(catalog)
    assert used.fingerprint(policy) != service.union_schema(catalog, settings).fingerprint(policy)
    with pytest.raises(ValueError, match="last_updated 'name' names a field of type timestamp"):
        definitions(crm(last_updated="name"))
