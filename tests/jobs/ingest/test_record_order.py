"""Which of several records of one identity counts: by order of ingestion, and also when the dataset's rule changes."""

from tests.builders import CITY, FIRST, crm, customer, field
from tests.jobs.ingest.workshop import Workshop


def switch(workshop: Workshop, upsert: bool) -> None:
    workshop.apply(crm(enabled=False, upsert=not upsert))
    workshop.apply(crm(enabled=True, upsert=upsert))


def test_records_before_and_after_a_switch_of_upsert_follow_each_its_own_rule(workshop: Workshop) -> None:
    workshop.apply(crm(upsert=False))
    workshop.ingest("crm", customer("c1", **{FIRST: "Ann", CITY: "Paris"}), customer("c2", **{FIRST: "Bob"}))
    workshop.ingest("crm", customer("c2", **{CITY: "Nice"}))
    switch(workshop, upsert=True)
    workshop.ingest("crm", customer("c1", **{CITY: "Lyon"}))
    updated = workshop.fragments("crm")
    assert (updated["CRMID:c1"][FIRST], updated["CRMID:c1"][CITY]) == ("Ann", "Lyon")
    assert FIRST not in updated["CRMID:c2"]
    switch(workshop, upsert=False)
    workshop.ingest("crm", customer("c1", **{CITY: "Caen"}))
    replaced = workshop.fragments("crm")
    assert (replaced["CRMID:c1"].get(FIRST), replaced["CRMID:c1"][CITY]) == (None, "Caen")
    assert replaced["CRMID:c2"][CITY] == "Nice"


def test_7_5_9_the_last_ingested_wins_though_its_business_time_is_older(workshop: Workshop) -> None:
    workshop.apply(crm(upsert=True, fields=[*crm()["fields"], field("lastUpdated", "timestamp")]))
    workshop.ingest("crm", customer("c1", **{CITY: "Nice", "lastUpdated": "2024-02-01T00:00:00Z"}))
    workshop.ingest("crm", customer("c1", **{CITY: "Paris", "lastUpdated": "2024-01-01T00:00:00Z"}))
    assert workshop.fragments("crm")["CRMID:c1"][CITY] == "Paris"
