"""Rows that landed while their dataset was not enabled, taken to the Profile store later."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt, Batch
from jobs.errors import Conflict, NotFound
from jobs.ingest.models import IngestResult
from jobs.ingest.service.batches import IngestService
from jobs.ingest.service.lake_source import FromLakeParams, accept_from_lake, sources_of
from jobs.settings import Settings
from tests.builders import CITY, EMAIL, FIRST, at, crm, customer, definitions, event, web, write_csv, write_jsonl
from tests.jobs.ingest.workshop import Workshop


def take(workshop: Workshop, dataset: str, **more: Any) -> IngestResult | None:
    """What `tessera ingest DATASET --from-lake` does."""
    batch = accept_from_lake(workshop.catalog, FromLakeParams(dataset=dataset, **more))
    if batch is None:
        return None
    attempt = Attempt(id=uuid.uuid4().hex, run="test")
    plan = workshop.service.begin(batch.id, attempt)
    assert plan is not None
    return workshop.run(plan, attempt)


def test_landed_records_reach_the_profile_store_once_and_land_once(workshop: Workshop) -> None:
    known = crm(fields=crm()["fields"][:3])
    workshop.apply(known | {"enabled": False})
    lines = [customer("c1", **{EMAIL: "a@x.io", FIRST: "Ann"}), customer(..., **{FIRST: "nobody"})]
    first = write_jsonl(workshop.folder / "a.jsonl", [*lines, {"personID": True}])
    second = write_csv(workshop.folder / "b.csv", [{"personID": "c2", FIRST: "둘"}, {"personID": "c1", FIRST: "Zoé"}])
    workshop.ingest_files("crm", first, second, batch_id="off1", at=at(1))
    workshop.ingest("crm", customer("c2", **{FIRST: "Deux"}), customer("c3", **{FIRST: "x"}), batch_id="off2", at=at(2))
    # The definition gains a field that the lake's table has no column for yet.
    workshop.apply(crm())
    workshop.ingest("crm", customer("c3", **{FIRST: "Cleo", CITY: "Metz"}), batch_id="on", at=at(3))
    landed = workshop.lake("crm", "personID", "_batch", "_ord", "_profile")

    result = take(workshop, "crm", batch_id="taken", at=at(4))
    assert result is not None
    assert result.equation == "6 rows read = 3 applied + 2 superseded + 0 duplicate events + 1 quarantined"
    assert (result.landed, result.refused) == (0, {"missing_identity": 1})
    assert workshop.lake("crm", "personID", "_batch", "_ord", "_profile") == landed
    # The order of the former batches holds; the batch itself comes last.
    assert workshop.fragments("crm") == {
        "CRMID:c1": {"personID": "c1", FIRST: "Zoé"},
        "CRMID:c2": {"personID": "c2", FIRST: "Deux"},
        "CRMID:c3": {"personID": "c3", FIRST: "x"},
    }
    assert workshop.links("crm") == {("CRMID:c1", "Email:a@x.io")}
    refused = workshop.quarantine("crm", "_batch", "file", "line", "rule", "raw")
    assert ("taken", "a.jsonl", 2, "missing_identity", f'{{"{FIRST}":"nobody"}}') in refused
    assert sources_of(workshop.batch("taken")) == ("off1", "off2")
    assert take(workshop, "crm") is None
    assert workshop.fragments("crm")["CRMID:c3"][FIRST] == "x"


def test_landed_events_are_taken_once_per_id(workshop: Workshop) -> None:
    workshop.apply(web(enabled=False))
    workshop.ingest("web", event("e1"), event("e2"), event("e2"), batch_id="off", at=at(3))
    workshop.apply(web())
    workshop.ingest("web", event("e1"), batch_id="on", at=at(3))
    result = take(workshop, "web")
    assert result is not None
    assert result.equation == "3 rows read = 1 applied + 0 superseded + 2 duplicate events + 0 quarantined"
    assert workshop.fragments("web")["ECID:k1"]["events"] == 2
    assert workshop.table("lake", "web").count() == 4


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    """crm, not enabled, with two ACTIVE batches; then enabled, with one more."""
    settings.home.mkdir(parents=True)
    with Catalog.open(settings.catalog_url, "prod", "test") as opened:
        opened.apply(definitions(crm(enabled=False)))
        for batch_id in ("off2", "off1"):
            finish(opened, opened.create_batch("crm", batch_id, [], None, {}, "test"))
        opened.apply(definitions(crm()))
        finish(opened, opened.create_batch("crm", "on", [], None, {}, "test"))
        yield opened


def finish(catalog: Catalog, batch: Batch) -> None:
    attempt = Attempt(id=f"of {batch.id}")
    catalog.begin_attempt(batch.id, attempt)
    catalog.finish(batch.id, attempt, {})


def taken(catalog: Catalog, **more: Any) -> Batch | None:
    return accept_from_lake(catalog, FromLakeParams(dataset="crm", **more))


def test_what_waits_is_what_was_ingested_while_not_enabled_in_its_order(catalog: Catalog) -> None:
    batch = taken(catalog)
    assert batch is not None
    assert (sources_of(batch), batch.files) == (("off2", "off1"), ())
    # Asked again before it has run, it is the same batch.
    assert taken(catalog) == batch
    finish(catalog, batch)
    assert taken(catalog) is None
    assert taken(catalog, batch_id=batch.id) == catalog.batch(batch.id)


def test_a_taking_that_failed_leaves_its_rows_waiting(catalog: Catalog) -> None:
    batch = taken(catalog)
    assert batch is not None
    catalog.begin_attempt(batch.id, Attempt(id="one"))
    catalog.fail(batch.id, Attempt(id="one"), "broken", final=True)
    again = taken(catalog)
    assert again is not None
    assert (again.id != batch.id, sources_of(again)) == (True, ("off2", "off1"))


def test_rows_that_another_batch_took_meanwhile_are_not_taken_twice(catalog: Catalog, settings: Settings) -> None:
    first, second = taken(catalog, batch_id="first"), taken(catalog, batch_id="second")
    assert first is not None
    assert second is not None
    finish(catalog, first)
    with pytest.raises(Conflict, match=r"batch 'second': rows of off1, off2 were taken by another batch"):
        IngestService(catalog, settings).begin("second", Attempt(id="two"))
    assert catalog.batch("second").status == "FAILED"
    assert catalog.lease("crm") is None


def test_a_dataset_that_is_not_enabled_keeps_its_rows_in_the_lake(catalog: Catalog, settings: Settings) -> None:
    batch = taken(catalog)
    assert batch is not None
    catalog.apply(definitions(crm(enabled=False)))
    with pytest.raises(Conflict, match=r"dataset 'crm' is not enabled for Profile.*enabled: true"):
        taken(catalog)
    with pytest.raises(Conflict, match="dataset 'crm' was disabled for Profile meanwhile"):
        IngestService(catalog, settings).begin(batch.id, Attempt(id="one"))
    catalog.apply(definitions(crm()))
    with pytest.raises(Conflict, match="batch 'on' exists and does not take rows of 'crm' from the lake"):
        taken(catalog, batch_id="on")
    with pytest.raises(NotFound, match="no dataset 'crn'"):
        accept_from_lake(catalog, FromLakeParams(dataset="crn"))
