"""The acceptance cases of exports over fixture F that need no segments, and the form of what is written."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession, functions as F

from jobs.exports.models import ExportResult
from jobs.exports.service import showing, summary
from jobs.settings import Settings
from tests.builders import at
from tests.fixture_f import P1, P2, P3, P4, P5
from tests.jobs.exports.exporting import export, flat, rows, table
from tests.jobs.ingest.workshop import Workshop

FIRST = "person.name.firstName"


@pytest.fixture
def unchanged(spark: SparkSession, engine_settings: Settings, refreshed_f: Path, tmp_path: Path) -> Iterator[Workshop]:
    """Fixture F without the later upsert."""
    with Workshop.open(spark, engine_settings, shutil.copytree(refreshed_f, tmp_path / "copy")) as workshop:
        yield workshop


def test_an_export_of_nothing_but_a_dataset_is_every_profile_with_records(company: Workshop) -> None:
    done = export(company)
    assert (done.profiles, done.left_out, done.by_namespace) == (3, 0, {"CRMID": 2, "Email": 3, "ECID": 1})
    found = rows(company)
    assert set(found) == {P1, P2, P3}
    ann = found[P1]
    assert ann["person"] == {"name": {"firstName": "Ann"}}
    assert (ann["homeAddress"], ann["loyalty"]) == ({"city": "Lyon"}, {"tier": "gold", "points": 10})
    assert ann["identityMap"] == [
        ("CRMID", [{"id": "c1", "primary": True}]),
        ("ECID", [{"id": "k1", "primary": True}]),
        ("Email", [{"id": "a@x.io", "primary": True}]),
    ]
    # The CRM has rows of c2, and names b@x.io there; no dataset has rows of b@x.io.
    assert found[P2]["identityMap"] == [
        ("CRMID", [{"id": "c2", "primary": True}]),
        ("Email", [{"id": "b@x.io", "primary": False}]),
    ]
    # What no source gave is absent as a whole.
    assert "loyalty" not in found[P2]
    assert "events" not in ann
    identities = flat(company)
    primary = {f"{namespace}:{value}": is_primary for _, namespace, value, is_primary in identities}
    assert primary == dict.fromkeys(P1 | P2 | P3, True) | {"Email:b@x.io": False}
    assert {row["profile_id"] for row in found.values()} == {profile for profile, *_ in identities}


def test_twice_over_one_cut_the_rows_are_the_same_and_the_former_version_stays_readable(company: Workshop) -> None:
    first, second = export(company, "twice"), export(company, "twice")
    before, after = (one.tables["exports/twice"].version for one in (first, second))
    assert after > before
    assert rows(company, "twice", before) == rows(company, "twice", after) == rows(company, "twice")
    assert first.checksum == second.checksum
    jobs = [job for job in company.catalog.exports().jobs if job.dataset_id == "twice"]
    assert len({job.batch_id for job in jobs}) == 2
    history = table(company, "twice").history()
    assert [json.loads(one["userMetadata"])["batch"] for one in history[:2]] == [job.batch_id for job in jobs]
    # The next export of other columns is one commit, too; who opened the one before goes on with it.
    narrow = export(company, "twice", fields=(FIRST,))
    assert narrow.tables["exports/twice"].rows == 3
    assert "loyalty" in rows(company, "twice", after)[P1]


def test_what_is_recorded_names_the_cut_the_versions_and_the_policy_and_stands_beside_the_table(
    company: Workshop,
) -> None:
    done = export(company, "recorded")
    assert (done.policy_id, done.policy_version) == ("default", 1)
    cut = company.catalog.cut()
    assert cut is not None
    assert (done.cut, done.sources) == (cut.number, {"profiles/default": cut.table("profiles/default").version})
    assert done.bytes > 0
    assert done.counted.end == done.written.begin
    manifest = json.loads(Path(done.manifest).read_text())
    assert ExportResult.model_validate(manifest) == done
    kept = table(company, "recorded")
    assert (kept.protocol().min_reader_version, kept.version()) == (1, done.tables["exports/recorded"].version)
    assert kept.metadata().configuration["delta.deletedFileRetentionDuration"] == "interval 7 days"
    # As the manifest says it is made.
    path = company.store.path("exports", "recorded")
    spelled = "sum(cast(xxhash64(to_json(struct(*))) as decimal(38,0)))"
    assert str(company.spark.read.format("delta").load(path).selectExpr(spelled).collect()[0][0]) == done.checksum
    job = company.catalog.newest_export("recorded")
    assert job is not None
    shown = showing.document(job)
    assert (shown["status"], shown["destination"]["batchId"], shown["errors"]) == ("SUCCEEDED", job.batch_id, [])
    assert shown["metrics"]["totalExportedProfileCounter"] == 3
    assert shown["metrics"]["exportedProfileByNamespaceCounter"] == {"CRMID": 2, "Email": 3, "ECID": 1}
    assert shown["metrics"]["totalTime"]["totalTimeInMs"] > 0
    assert summary(job).startswith(f"export job {job.id} to recorded: 3 profiles of policy default as of cut ")


def test_events_are_chosen_by_their_ingestion_and_ordered_by_their_timestamp(company: Workshop) -> None:
    # They happened before the instant, and came after it.
    done = export(company, "with_events", empty_profiles=True, events=True, events_after=at(2, 18))
    assert (done.profiles, done.by_namespace["ECID"]) == (5, 3)
    found = rows(company, "with_events")
    assert set(found) == {P1, P2, P3, P4, P5}
    assert found[P2]["events"] == []
    first = {
        "_id": "e1",
        "timestamp": datetime(2024, 1, 2, 10, tzinfo=UTC),
        "endUserIDs": {"ecid": "k1"},
        "personID": "c1",
        "commerce": {"order": {"priceTotal": Decimal("20.00")}},
    }
    assert found[P1]["events"][0] == first
    assert [event["_id"] for event in found[P1]["events"]] == ["e1", "e2"]
    # What an event does not have is absent.
    assert found[P4]["events"] == [
        {"_id": "e3", "timestamp": datetime(2024, 1, 2, 12, tzinfo=UTC), "endUserIDs": {"ecid": "k2"}}
    ]
    columns = company.spark.read.format("delta").load(company.store.path("exports", "with_events"))
    assert columns.where(F.size("events") > 0).count() == 3


def test_only_the_fields_asked_for_are_there_and_events_until_then_are_none(company: Workshop) -> None:
    export(
        company,
        "few_fields",
        fields=(FIRST,),
        events=True,
        events_until=at(2, 18),
        event_fields=("commerce.order",),
    )
    found = rows(company, "few_fields")
    assert set(found) == {P1, P2, P3}
    assert set(found[P1]) == {"profile_id", "person", "identityMap", "events"}
    assert found[P1]["events"] == []
    kept = json.loads(table(company, "few_fields").schema().to_json())["fields"]
    events = next(field for field in kept if field["name"] == "events")
    assert [field["name"] for field in events["type"]["elementType"]["fields"]] == ["commerce"]


def test_profiles_updated_after_an_instant_are_those_updated_later_and_not_at_it(unchanged: Workshop) -> None:
    # P2 is of the first, P3 of the second, and P1's events came on the third.
    for instant, expected in ((at(1, 12), {P1, P3}), (at(2), {P1}), (at(3), set())):
        assert export(unchanged, "changed", updated_after=instant).profiles == len(expected)
        assert set(rows(unchanged, "changed")) == expected
    assert flat(unchanged, "changed") == set()


def test_each_policy_has_its_own_values(company: Workshop) -> None:
    done = export(company, "by_crm", merge_policy="crm-first", merge_policy_version=1, copies=("csv", "parquet"))
    found = rows(company, "by_crm")
    assert found[P1]["homeAddress"]["city"] == "Paris"
    assert (done.policy_id, done.policy_version) == ("crm-first", 1)
    csv = company.spark.read.csv(done.copies["csv"], header=True, escape='"')
    ann = csv.where(F.col("`person.name.firstName`") == "Ann").collect()[0].asDict()
    assert (ann["homeAddress.city"], ann["loyalty.points"], ann["loyalty.tier"]) == ("Paris", "10", "gold")
    assert json.loads(ann["identityMap"])["CRMID"] == [{"id": "c1", "primary": True}]
    copied = company.spark.read.parquet(done.copies["parquet"])
    assert copied.count() == 3
    assert copied.schema.simpleString() == f"struct<{','.join(f'{n}:{t}' for n, t in done.columns.items())}>"


def test_a_profile_of_too_many_identities_is_left_out_and_counted(company: Workshop) -> None:
    graph = company.settings.graph.model_copy(update={"max_identities": 2})
    usual, company.settings = company.settings, company.settings.model_copy(update={"graph": graph})
    try:
        done = export(company, "small_ones")
    finally:
        company.settings = usual
    assert (done.profiles, done.left_out, done.by_namespace) == (2, 1, {"CRMID": 1, "Email": 2})
    assert set(rows(company, "small_ones")) == {P2, P3}
    assert len(flat(company, "small_ones")) == 3
