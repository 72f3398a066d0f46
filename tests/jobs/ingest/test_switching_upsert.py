"""A dataset may change between replacing and updating records; what it holds keeps its meaning."""

from tests.builders import CITY, FIRST, crm, customer
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
