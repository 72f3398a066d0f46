"""The acceptance cases of exports over fixture F that need no segments, and the form of what is written."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.builders import at
from tests.fixture_f import P1, P2, P3, P4, P5
from tests.jobs.exports.exporting import export, flat, rows, table
from tests.jobs.ingest.workshop import Workshop

pytestmark = pytest.mark.usefixtures("two_partitions")
FIRST, CITY = "person.name.firstName", "homeAddress.city"


def test_an_export_of_nothing_but_a_dataset_is_every_profile_with_records(profiled: Workshop) -> None:
    done = export(profiled)
    assert (done.profiles, done.by_namespace) == (3, {"CRMID": 2, "Email": 3, "ECID": 1})
    found = rows(profiled)
    assert set(found) == {P1, P2, P3}
    ann = found[P1]
    assert ann["person"] == {"name": {"firstName": "Ann"}}
    assert (ann["homeAddress"], ann["loyalty"]) == ({"city": "Lyon"}, {"tier": "gold", "points": 10})
    assert ann["identityMap"] == [
        ("CRMID", [{"id": "c1", "primary": False}]),
        ("ECID", [{"id": "k1", "primary": False}]),
        ("Email", [{"id": "a@x.io", "primary": False}]),
    ]
    # What no source gave is absent as a whole.
    assert "loyalty" not in found[P2]
    assert "events" not in ann
    assert {(namespace, value) for _, namespace, value, _ in flat(profiled)} == {
        tuple(identity.split(":")) for identity in P1 | P2 | P3
    }
    assert {row["profile_id"] for row in found.values()} == {profile for profile, *_ in flat(profiled)}
