"""What a job is told to read and write, and what of it is kept from vacuum; without Spark."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt
from jobs.catalog.refreshes import CutTable, GraphBatch
from jobs.errors import Conflict, InvalidRequest
from jobs.exports.models import ExportParams
from jobs.exports.service import accept
from jobs.exports.service.planning import planned
from jobs.lake.store import Store
from jobs.maintenance.service.cuts import versions_in_use
from jobs.merge_policies import service as merge_policies
from jobs.settings import Settings
from tests.builders import crm, definitions, field, web

ONE, TWO = Attempt(id="one", run="cli"), Attempt(id="two", run="cli")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}", "prod", "test") as opened:
        opened.apply(definitions(crm(), web()))
        yield opened


def publish(catalog: Catalog, settings: Settings, version: int, batches: tuple[str, ...] = ()) -> None:
    """Publish a cut with the view of the default policy as it is, and events."""
    refresh = catalog.create_refresh({}).id
    catalog.begin_refresh(refresh, ONE)
    policy = merge_policies.default_policy(catalog)
    digest = merge_policies.union_schema(catalog, settings).fingerprint(policy)
    view = CutTable(name=f"profiles/{policy.id}", place="profiles/default/g1", version=version, digest=digest)
    events = CutTable(name="events/web", place="events/web/g1", version=version, generation=1)
    taken = [GraphBatch(batch_id=name, seq=number, counts=True) for number, name in enumerate(batches, start=1)]
    catalog.publish_refresh(refresh, ONE, {}, [view, events], {"web": taken})


def ingested(catalog: Catalog, *names: str) -> None:
    for name in names:
        catalog.create_batch("web", name, [], None, {}, "cli")
        catalog.begin_attempt(name, ONE)
        catalog.finish(name, ONE, {})


def test_a_job_goes_on_with_the_cut_that_it_began_with_and_keeps_it_from_vacuum(
    catalog: Catalog, settings: Settings
) -> None:
    ingested(catalog, "b1")
    publish(catalog, settings, 1, ("b1",))
    job = accept(catalog, settings, ExportParams(dataset="people", create=True, events=True), "cli")
    begun = catalog.begin_export(job.id, ONE)
    ingested(catalog, "b2")
    publish(catalog, settings, 2, ("b1", "b2"))
    plan = planned(catalog, settings, begun, ONE)
    assert (plan.cut, plan.view.version) == (1, 1)
    assert plan.sources == {"profiles/default": 1, "events/web": 1}
    assert plan.events is not None
    assert [batch.batch_id for batch in plan.events.sources[0].batches] == ["b1"]
    store = Store("/store", "prod")
    used = {(one.version, one.by) for one in versions_in_use(catalog, store)}
    assert used == {(2, "cut 2"), (1, f"cut 1 of export job {job.id}")}
    catalog.fail_export(job.id, "one", "broken", final=True)
    assert {one.by for one in versions_in_use(catalog, store)} == {"cut 2"}
    # Run again, it reads what is newest then.
    assert planned(catalog, settings, catalog.begin_export(job.id, TWO), TWO).cut == 2


def test_profiles_made_by_another_version_of_the_policy_are_not_exported_as_those_of_this_one(
    catalog: Catalog, settings: Settings
) -> None:
    publish(catalog, settings, 1)
    renamed = {"op": "replace", "path": "/name", "value": "Usual"}
    merge_policies.patch(catalog, "default", renamed)
    # Another name makes the same profiles.
    by_first = ExportParams(dataset="people", create=True, merge_policy="default", merge_policy_version=1)
    assert accept(catalog, settings, by_first, "cli").id == "1"
    merge_policies.patch(catalog, "default", {"op": "replace", "path": "/identityGraph.type", "value": "none"})
    with pytest.raises(Conflict, match="not made by version 3 of it; `tessera refresh` makes them anew"):
        accept(catalog, settings, ExportParams(dataset="people"), "cli")
    publish(catalog, settings, 2)
    with pytest.raises(Conflict, match="not made by version 1 of it; leave the version out"):
        accept(catalog, settings, by_first, "cli")
    assert planned_policy(catalog, settings) == ("default", 3)


def planned_policy(catalog: Catalog, settings: Settings) -> tuple[str, int]:
    job = accept(catalog, settings, ExportParams(dataset="people"), "cli")
    plan = planned(catalog, settings, catalog.begin_export(job.id, TWO), TWO)
    return plan.policy_id, plan.policy_version


def test_a_field_that_is_called_events_leaves_no_place_for_the_column(catalog: Catalog, settings: Settings) -> None:
    catalog.apply(definitions(crm(fields=[*crm()["fields"], field("Events.count", "integer")])))
    publish(catalog, settings, 1)
    with pytest.raises(InvalidRequest, match="has a field of the name 'events' itself"):
        accept(catalog, settings, ExportParams(dataset="people", create=True, events=True), "cli")
    asked = ExportParams(dataset="people", create=True, events=True, fields=("person", "homeAddress"))
    assert accept(catalog, settings, asked, "cli").dataset_id == "people"


def test_a_field_below_the_profile_s_id_is_refused_before_anything_is_written(
    catalog: Catalog, settings: Settings
) -> None:
    catalog.apply(definitions(crm(fields=[*crm()["fields"], field("profile_id.source")])))
    publish(catalog, settings, 1)
    with pytest.raises(InvalidRequest, match="has fields below 'profile_id'"):
        accept(catalog, settings, ExportParams(dataset="people", create=True), "cli")
    asked = ExportParams(dataset="people", create=True, fields=("homeAddress",))
    assert accept(catalog, settings, asked, "cli").dataset_id == "people"


def test_a_dataset_is_made_only_when_the_whole_request_is_right(catalog: Catalog, settings: Settings) -> None:
    publish(catalog, settings, 1)
    with pytest.raises(InvalidRequest, match=r"did you mean 'person\.name\.firstName'"):
        accept(catalog, settings, ExportParams(dataset="people", create=True, fields=("person.name.first",)), "cli")
    assert [record.id for record in catalog.datasets()] == ["crm", "web"]
    accept(catalog, settings, ExportParams(dataset="people", create=True, name="All people"), "cli")
    assert catalog.dataset("people").definition.name == "All people"
