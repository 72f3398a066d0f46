from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import Namespace, NamespaceType
from jobs.catalog.records import EnabledInterval
from jobs.errors import Conflict, InvalidRequest, NotFound
from tests.jobs.catalog.builders import NOON, Clock, crm, definitions, field, new_batch, web

PRIMARY = field("personID", identity={"namespace": "CRMID", "primary": True})


def with_fields(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return crm(fields=[PRIMARY, *fields], **more)


def details(catalog: Catalog, dataset: dict[str, Any]) -> list[str]:
    """Apply one dataset and say what changed in it."""
    report = catalog.apply(definitions(dataset))
    return [detail for change in report.changes if change.kind == "dataset" for detail in change.details]


def test_definitions_are_created_then_unchanged(catalog: Catalog) -> None:
    assert catalog.apply(definitions(crm(), web())).lines() == [
        "namespace CRMID: created (Cross_device)",
        "dataset crm: created (record, 2 fields; enabled for Profile)",
        "dataset web: created (events, 3 fields; enabled for Profile)",
    ]
    assert catalog.apply(definitions(crm(), web())).lines() == [
        "namespace CRMID: unchanged",
        "dataset crm: unchanged",
        "dataset web: unchanged",
    ]
    assert [(d.id, d.version, d.generation) for d in catalog.datasets()] == [("crm", 1, 1), ("web", 1, 1)]
    assert catalog.namespaces() == [Namespace(code="CRMID", type=NamespaceType.CROSS_DEVICE)]


def test_a_dry_run_says_the_same_and_changes_nothing(catalog: Catalog) -> None:
    dry = catalog.apply(definitions(crm()), dry_run=True)
    assert (catalog.namespaces(), catalog.datasets(), catalog.history("dataset", "crm")) == ([], [], [])
    assert dry.lines()[-1] == "dry run: nothing was changed"
    assert catalog.apply(definitions(crm())).changes == dry.changes


def test_a_dry_run_of_a_breaking_change_is_refused_too(filled: Catalog) -> None:
    with pytest.raises(Conflict, match="nothing was applied"):
        filled.apply(definitions(crm(kind="events", fields=web()["fields"])), dry_run=True)


def test_the_definition_comes_back_as_it_was_declared(catalog: Catalog) -> None:
    declared = with_fields(
        field("loyalty.tier", comment="Tier", **{"from": "tier"}, enum=["gold", "silver"]),
        field("amount", "decimal(10,2)", required=True),
        field("tags", "array<string>", append=True),
        name="CRM",
        upsert=True,
        ordering="amount",
        timezone="Asia/Seoul",
        csv={"delimiter": ";", "encoding": "CP949", "null": "NA", "decimal_comma": True},
    )
    wanted = definitions(declared)
    catalog.apply(wanted)
    assert catalog.dataset("crm").definition == wanted.datasets[0]


def test_what_a_file_leaves_out_stays(filled: Catalog) -> None:
    filled.apply(definitions(namespaces=[{"code": "Email", "type": "Email"}]))
    assert [n.code for n in filled.namespaces()] == ["CRMID", "Email"]
    assert [d.id for d in filled.datasets()] == ["crm", "web"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"name": "CRM"}, "name changed"),
        ({}, {"description": "Customers"}, "description changed"),
        ({}, {"ordering": "name"}, "ordering changed"),
        ({}, {"csv": {"delimiter": ";"}}, "csv changed"),
        ({}, {"timezone": "Asia/Seoul"}, "timezone changed"),
        ({"fields": [PRIMARY]}, {"fields": [PRIMARY, field("city")]}, "new field 'city' (string)"),
        (
            {"fields": [PRIMARY]},
            {"fields": [PRIMARY, field("second", identity={"namespace": "CRMID"})]},
            "new field 'second' (string)",
        ),
        (
            {"fields": [PRIMARY, field("a")]},
            {"fields": [PRIMARY, field("a", comment="A")]},
            "field 'a': comment changed",
        ),
        (
            {"fields": [PRIMARY, field("a")]},
            {"fields": [PRIMARY, field("a", **{"from": "A"})]},
            "field 'a': from changed",
        ),
        (
            {"fields": [PRIMARY, field("a", required=True)]},
            {"fields": [PRIMARY, field("a")]},
            "field 'a': required is dropped",
        ),
        (
            {"fields": [PRIMARY, field("a", enum=["x"])]},
            {"fields": [PRIMARY, field("a", enum=["y", "x"])]},
            "field 'a': enum is widened",
        ),
        (
            {"fields": [PRIMARY, field("a", enum=["x"])]},
            {"fields": [PRIMARY, field("a")]},
            "field 'a': enum is widened",
        ),
        (
            {"fields": [PRIMARY, field("a", pattern="x")]},
            {"fields": [PRIMARY, field("a")]},
            "field 'a': pattern is dropped",
        ),
        (
            {"fields": [PRIMARY, field("a", format="uuid")]},
            {"fields": [PRIMARY, field("a")]},
            "field 'a': format is dropped",
        ),
    ],
)
def test_a_change_that_fits_what_is_there_is_made(
    catalog: Catalog, before: dict[str, Any], after: dict[str, Any], told: str
) -> None:
    catalog.apply(definitions(crm(**before)))
    assert details(catalog, crm(**after)) == [told]
    record = catalog.dataset("crm")
    assert record.version == 2
    assert record.definition == definitions(crm(**after)).datasets[0]
    assert catalog.history("dataset", "crm")[-1].note == told


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({}, {"fields": [PRIMARY]}, "field 'name' is left out: fields are only added"),
        ({}, {"fields": [PRIMARY, field("name", "integer")]}, "field 'name' of type string cannot become integer"),
        ({}, {"fields": [PRIMARY, field("Name")]}, "field 'name' cannot be respelled 'Name'"),
        (
            {},
            {"fields": [PRIMARY, field("name", identity={"namespace": "CRMID"})]},
            "field 'name': no identity cannot become secondary identity of CRMID",
        ),
        (
            {},
            {"fields": [field("personID", identity={"namespace": "CRMID"}), field("name")]},
            "primary identity of CRMID cannot become secondary identity of CRMID",
        ),
        (
            {},
            {"fields": [field("personID", identity={"namespace": "Email", "primary": True}), field("name")]},
            "primary identity of CRMID cannot become primary identity of Email",
        ),
        ({}, {"fields": [PRIMARY, field("name", required=True)]}, "field 'name': required is added"),
        ({}, {"fields": [PRIMARY, field("name"), field("a", required=True)]}, "new field 'a' is required"),
        ({}, {"fields": [PRIMARY, field("name", enum=["x"])]}, "field 'name': enum is added or lacks values"),
        ({}, {"fields": [PRIMARY, field("name", pattern="x")]}, "field 'name': pattern is added or changed"),
        ({}, {"fields": [PRIMARY, field("name", format="uuid")]}, "field 'name': format is added or changed"),
        (
            {"fields": [PRIMARY, field("a", enum=["x", "y"])]},
            {"fields": [PRIMARY, field("a", enum=["x", "z"])]},
            "field 'a': enum is added or lacks values",
        ),
        (
            {"fields": [PRIMARY, field("a", "array<string>")]},
            {"fields": [PRIMARY, field("a", "array<string>", append=True)]},
            "field 'a': append cannot become true",
        ),
        ({}, {"upsert": True}, "upsert cannot become true while the dataset is enabled"),
        ({}, {"kind": "events", "fields": web()["fields"]}, "kind record cannot become events"),
        (
            {"fields": [field("name")]},
            {"fields": [PRIMARY, field("name")]},
            "new field 'personID' cannot be the primary identity: that is identityMap",
        ),
    ],
)
def test_a_change_that_breaks_what_is_there_is_refused_with_the_reason(
    catalog: Catalog, before: dict[str, Any], after: dict[str, Any], reason: str
) -> None:
    email = [{"code": "CRMID", "type": "Cross_device"}, {"code": "Email", "type": "Email"}]
    catalog.apply(definitions(crm(**before), namespaces=email))
    record = catalog.dataset("crm")
    with pytest.raises(Conflict, match="nothing was applied: dataset 'crm'") as refused:
        catalog.apply(definitions(crm(**after), namespaces=[]))
    assert reason in str(refused.value)
    assert catalog.dataset("crm") == record
    assert len(catalog.history("dataset", "crm")) == 1


def test_all_reasons_are_told_and_nothing_is_half_applied(filled: Catalog) -> None:
    other = crm(id="other")
    with pytest.raises(Conflict) as refused:
        filled.apply(
            definitions(
                other,
                crm(fields=[PRIMARY]),
                web(ttl_days=30),
                namespaces=[{"code": "CRMID", "type": "Email"}, {"code": "New", "type": "Email"}],
            )
        )
    assert "namespace 'CRMID' of type Cross_device cannot become Email" in str(refused.value)
    assert "field 'name' is left out" in str(refused.value)
    assert [d.id for d in filled.datasets()] == ["crm", "web"]
    assert [n.code for n in filled.namespaces()] == ["CRMID"]
    assert filled.dataset("web").definition.ttl_days is None


def test_fields_in_another_order_are_the_same_and_new_ones_come_last(filled: Catalog) -> None:
    assert details(filled, crm(fields=[field("name"), PRIMARY])) == []
    details(filled, crm(fields=[field("city"), field("name"), PRIMARY]))
    assert [f.path for f in filled.dataset("crm").definition.fields] == ["personID", "name", "city"]


def test_upsert_is_switched_by_disabling_first(filled: Catalog) -> None:
    assert details(filled, crm(enabled=False)) == ["disabled for Profile"]
    assert details(filled, crm(enabled=True, upsert=True)) == ["upsert is true now", "enabled for Profile"]
    assert filled.dataset("crm").definition.upsert


def test_the_intervals_of_being_enabled_are_kept(filled: Catalog, clock: Clock) -> None:
    for hours, enabled in ((1, False), (2, True), (3, True)):
        clock.now = NOON + timedelta(hours=hours)
        filled.apply(definitions(crm(enabled=enabled, name=f"after {hours}")))
    hour = timedelta(hours=1)
    assert filled.enabled_intervals("crm") == [
        EnabledInterval(enabled_from=NOON, enabled_until=NOON + hour),
        EnabledInterval(enabled_from=NOON + 2 * hour, enabled_until=None),
    ]
    assert [(e.from_status, e.to_status) for e in filled.history("dataset", "crm")] == [
        (None, "ENABLED"),
        ("ENABLED", "DISABLED"),
        ("DISABLED", "ENABLED"),
        ("ENABLED", "ENABLED"),
    ]


def test_a_dataset_that_was_never_enabled_has_no_interval(catalog: Catalog) -> None:
    catalog.apply(definitions(crm(enabled=False)))
    assert catalog.enabled_intervals("crm") == []


def test_an_instant_given_before_the_last_change_gives_no_overlapping_intervals(filled: Catalog) -> None:
    filled.apply(definitions(crm(enabled=False)), at=NOON - timedelta(hours=1))
    filled.apply(definitions(crm(enabled=True)), at=NOON - timedelta(hours=2))
    assert filled.enabled_intervals("crm") == [
        EnabledInterval(enabled_from=NOON, enabled_until=NOON),
        EnabledInterval(enabled_from=NOON, enabled_until=None),
    ]


def test_changes_carry_the_instant_given(catalog: Catalog) -> None:
    catalog.apply(definitions(crm()), at=NOON - timedelta(days=1), run="apply/1")
    event = catalog.history("dataset", "crm")[0]
    assert (event.at, event.who, event.run) == (NOON - timedelta(days=1), "tester", "apply/1")
    with pytest.raises(InvalidRequest, match="has no time zone"):
        catalog.apply(definitions(crm()), at=datetime(2024, 1, 1))  # noqa: DTZ001 - that is what is tested


def test_a_namespace_is_known_in_any_case_and_kept_as_defined(catalog: Catalog) -> None:
    dataset = crm(fields=[field("personID", identity={"namespace": "crmid", "primary": True})])
    catalog.apply(definitions(dataset))
    primary = catalog.dataset("crm").definition.primary
    assert primary is not None
    assert primary.identity is not None
    assert primary.identity.namespace == "CRMID"
    assert [c.action for c in catalog.apply(definitions(dataset, namespaces=[])).changes] == ["unchanged"]


def test_an_unknown_namespace_is_refused_with_the_nearest(filled: Catalog) -> None:
    second = field("mail", identity={"namespace": "CRMDI"})
    with pytest.raises(InvalidRequest, match=r"field 'mail': no namespace 'CRMDI'; .*did you mean 'CRMID'"):
        filled.apply(definitions(with_fields(field("name"), second), namespaces=[]))


def test_code_and_type_of_a_namespace_never_change_but_its_name_does(filled: Catalog) -> None:
    with pytest.raises(Conflict, match="namespace 'crmid' is defined as 'CRMID'"):
        filled.apply(definitions(namespaces=[{"code": "crmid", "type": "Cross_device"}]))
    report = filled.apply(definitions(namespaces=[{"code": "CRMID", "type": "Cross_device", "name": "Customer"}]))
    assert report.lines() == ["namespace CRMID: changed (name changed)"]
    assert filled.namespaces()[0].name == "Customer"


def test_the_ttl_of_events_may_change(filled: Catalog) -> None:
    assert details(filled, web(ttl_days=30)) == ["ttl_days changed"]


def test_a_dataset_that_changes_keeps_its_counters(filled: Catalog) -> None:
    new_batch(filled)
    details(filled, crm(name="CRM"))
    assert [b.id for b in filled.batches("crm")] == ["b1"]


def test_an_unknown_dataset_is_not_found(filled: Catalog) -> None:
    for call in (filled.dataset, filled.enabled_intervals, filled.active_batches, filled.profile_batches):
        with pytest.raises(NotFound, match=r"no dataset 'webb' .*did you mean 'web'"):
            call("webb")
