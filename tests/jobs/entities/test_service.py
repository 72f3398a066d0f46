"""Lookups over the profiles of fixture F, under three policies."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.catalog.database import Catalog
from jobs.entities.models import EntityQuery
from jobs.entities.service import Found, lookup
from jobs.errors import InvalidRequest, NotFound, TooLarge
from jobs.merge_policies import service as merge_policies
from jobs.settings import Settings
from tests.builders import at, definitions, event
from tests.jobs.ingest.workshop import Workshop
from tests.jobs.profiles.refreshing import refresh

ANN = {
    "personID": "c1",
    "personalEmail": {"address": "a@x.io"},
    "person": {"name": {"firstName": "Ann"}},
    "homeAddress": {"city": "Lyon"},
    "loyalty": {"tier": "gold", "points": 10},
}


def ask(workshop: Workshop, namespace: str | None, value: str, origins: bool = False, **more: Any) -> Found:
    query = EntityQuery(entity_id=value, entity_id_ns=namespace, **more)
    return lookup(workshop.catalog, workshop.settings, query, origins)


def attributes(found: Found) -> dict[str, Any]:
    return {name: value for name, value in found.entity.entity.items() if not name.startswith("identit")}


# Sorted; each is the primary one of a dataset.
P1_IDENTITIES = {"CRMID": "c1", "ECID": "k1", "Email": "a@x.io"}


def test_every_identity_of_a_person_finds_the_same_profile(profiled: Workshop) -> None:
    by_email, by_cookie, by_number = (
        ask(profiled, namespace, value).document.model_dump(mode="json")
        for namespace, value in (("Email", "a@x.io"), ("ecid", "k1"), ("crmid", "c1"))
    )
    assert by_email == by_cookie == by_number
    ((profile_id, profile),) = by_email.items()
    assert profile == {
        "entityId": profile_id,
        "mergePolicy": {"id": "default"},
        "sources": ["crm", "loyalty", "web"],
        "entity": {
            **ANN,
            "identityMap": {code: [{"id": one, "primary": True}] for code, one in P1_IDENTITIES.items()},
            "identities": [
                {"id": one, "namespace": {"code": code}, "primary": True} for code, one in P1_IDENTITIES.items()
            ],
        },
        "lastModifiedAt": "2024-01-03T00:00:00Z",
    }
    assert ask(profiled, None, profile_id).entity.entity_id == profile_id


def test_only_the_fields_that_are_asked_for_are_answered(profiled: Workshop) -> None:
    found = ask(profiled, "Email", "a@x.io", fields=("person.name", "loyalty.tier"))
    assert found.entity.entity == {"person": {"name": {"firstName": "Ann"}}, "loyalty": {"tier": "gold"}}
    with pytest.raises(InvalidRequest, match=r"fields = 'person.nmae': no such field of a profile; did you mean"):
        ask(profiled, "Email", "a@x.io", fields=("person.nmae",))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, ANN),
        ("crm-first", ANN | {"homeAddress": {"city": "Paris"}}),
        ("single", {name: ANN[name] for name in ("personalEmail", "homeAddress", "loyalty")}),
    ],
)
def test_a_policy_decides_whose_values_a_profile_has(
    profiled: Workshop, policy: str | None, expected: dict[str, Any]
) -> None:
    assert attributes(ask(profiled, "Email", "a@x.io", merge_policy_id=policy)) == expected


def test_making_another_policy_the_default_only_points_lookups_to_its_view(
    spark: SparkSession, engine_settings: Settings, profiled: Workshop, tmp_path: Path
) -> None:
    folder = shutil.copytree(profiled.folder, tmp_path / "copy")
    with Workshop.open(spark, engine_settings, folder) as company:
        before = company.catalog.cut()
        operation = {"op": "replace", "path": "/default", "value": "true"}
        merge_policies.patch(company.catalog, "crm-first", operation)
        assert ask(company, "Email", "a@x.io").entity.entity["homeAddress"] == {"city": "Paris"}
        assert refresh(company).views == {}
        assert company.catalog.cut() == before


def test_without_the_graph_a_profiles_id_stays_its_own_when_stitching_ends_it_elsewhere(
    spark: SparkSession, engine_settings: Settings, profiled: Workshop, tmp_path: Path
) -> None:
    folder = shutil.copytree(profiled.folder, tmp_path / "copy")
    with Workshop.open(spark, engine_settings, folder) as company:
        ended = ask(company, "ECID", "k2").entity.entity_id
        assert ask(company, "ECID", "k2", merge_policy_id="single").entity.entity_id == ended
        company.ingest("web", event("e5", personID="c1", **{"endUserIDs.ecid": "k2"}), at=at(5))
        refresh(company)
        assert ask(company, None, ended).document == ask(company, "CRMID", "c1").document
        assert ask(company, None, ended, merge_policy_id="single").entity.sources == ["web"]


def test_origins_name_dataset_batch_and_instant_of_each_value_and_of_those_that_lost(profiled: Workshop) -> None:
    origins = ask(profiled, "CRMID", "c1", origins=True, fields=("homeAddress", "loyalty.tier")).entity.origins
    assert origins is not None
    told = {name: [(o.wins, o.value, o.dataset, o.batch, str(o.at)[:10]) for o in of] for name, of in origins.items()}
    assert told == {
        "homeAddress.city": [
            (True, "Lyon", "loyalty", "b2", "2024-01-02"),
            (False, "Paris", "crm", "b1", "2024-01-01"),
        ],
        "loyalty.tier": [(True, "gold", "loyalty", "b2", "2024-01-02")],
    }
    by_dataset = ask(profiled, "CRMID", "c1", origins=True, merge_policy_id="crm-first").entity.origins
    assert by_dataset is not None
    assert [o.value for o in by_dataset["homeAddress.city"]] == ["Paris", "Lyon"]


def test_who_is_not_known_is_not_found_and_is_told_what_is_known(profiled: Workshop) -> None:
    with pytest.raises(NotFound, match=r"no profile of 'Email:A@x.io' under policy 'default'.* byte for byte"):
        ask(profiled, "Email", "A@x.io")
    with pytest.raises(NotFound, match="no profile of"):
        ask(profiled, "Email", "a@x.io' or 1=1")
    with pytest.raises(InvalidRequest, match=r"no namespace 'Emial' .* did you mean 'Email'"):
        ask(profiled, "Emial", "a@x.io")
    with pytest.raises(NotFound, match="no merge policy 'x'"):
        ask(profiled, "Email", "a@x.io", merge_policy_id="x")


def test_a_profile_of_too_many_identities_is_not_answered(profiled: Workshop) -> None:
    def limited(most: int) -> Settings:
        graph = profiled.settings.graph.model_copy(update={"max_identities": most})
        return profiled.settings.model_copy(update={"graph": graph})

    query = EntityQuery(entity_id="c1", entity_id_ns="CRMID")
    assert lookup(profiled.catalog, limited(3), query).entity.sources
    with pytest.raises(TooLarge, match="Too many related identities"):
        lookup(profiled.catalog, limited(2), query)


def test_before_the_first_refresh_nothing_is_found(profiled: Workshop, tmp_path: Path) -> None:
    with Catalog.open(f"sqlite:///{tmp_path / 'new.db'}", "prod", "test") as catalog:
        query = EntityQuery(entity_id="c1", entity_id_ns="CRMID")
        with pytest.raises(InvalidRequest, match="has no default merge policy"):
            lookup(catalog, profiled.settings, query)
        catalog.apply(definitions())
        with pytest.raises(NotFound, match="`tessera refresh` makes them"):
            lookup(catalog, profiled.settings, query)


def test_a_value_that_an_upsert_kept_has_the_origin_of_the_batch_that_gave_it(profiled: Workshop) -> None:
    found = ask(profiled, "Email", "z@x.io", origins=True)
    assert attributes(found)["loyalty"] == {"tier": "silver", "points": 7}
    assert found.entity.origins is not None
    told = {name: [(o.batch, o.at, o.fragment_at) for o in of] for name, of in found.entity.origins.items()}
    assert told["loyalty.tier"] == [("b2", at(2), at(4))]
    assert told["loyalty.points"] == [("b4", at(4), at(4))]
