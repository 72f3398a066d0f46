"""The acceptance cases of the preview over fixture F, reported as of 2024-01-04."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs.errors import Conflict, NotFound
from jobs.merge_policies.models import PolicyBody
from jobs.preview_sample.models import PreviewResult
from jobs.preview_sample.rows import REPORTS
from jobs.preview_sample.service import due
from jobs.preview_sample.service.showing import newest
from jobs.settings import Settings
from tests.builders import at, customer
from tests.jobs.ingest.workshop import Workshop
from tests.jobs.preview_sample.previewing import data, died, plan_of, preview, shown
from tests.jobs.profiles.refreshing import refresh

NOW = datetime(2024, 1, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def company(
    spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory, refreshed_f: Path
) -> Iterator[Workshop]:
    folder = shutil.copytree(refreshed_f, tmp_path_factory.mktemp("preview"), dirs_exist_ok=True)
    with Workshop.open(spark, engine_settings, folder) as workshop:
        yield workshop


@pytest.fixture(scope="module")
def reports(company: Workshop) -> PreviewResult:
    return preview(company, at(4))


def test_5_10_13_a_preview_of_an_empty_sandbox_is_made_of_zeros(
    spark: SparkSession, engine_settings: Settings, tmp_path: Path
) -> None:
    with Workshop.open(spark, engine_settings, tmp_path) as empty:
        result = preview(empty, at(4))
        assert (result.status.total_rows, result.status.sampling_ratio, result.dataset_overlap) == (0, 1.0, ())
        assert DeltaTable(empty.store.path("reports", "status")).to_pyarrow_table().num_rows == 1
        assert newest(empty.catalog, None, NOW).report_id == result.report_id


def test_5_10_1_the_status_counts_all_profiles_exactly(company: Workshop, reports: PreviewResult) -> None:
    status = shown(company, reports, "status")
    assert (status["totalRows"], status["numRowsToRead"], status["samplingRatio"]) == (5, 5, 1.0)
    assert (status["totalFragmentCount"], status["docCount"], status["totalEvents"]) == (7, 8, 4)
    assert (status["mergeStrategy"], status["status"]) == ("timestampOrdered", "TASK_FINISHED")
    assert (status["lastBatchId"], status["lastSuccessfulBatchTimestamp"]) == ("b3", "2024-01-03T00:00:00Z")
    assert status["lastSampledTimestamp"] == "2024-01-04T00:00:00Z"
    assert status["sampleJobRunning"] == {"status": False, "submissionTimestamp": None}
    kinds = ("knownProfiles", "pseudonymousProfiles", "emptyProfiles", "overIdentities")
    assert [status[kind] for kind in kinds] == [3, 2, 0, 0]


def test_5_10_2_a_profile_counts_in_each_of_its_datasets(company: Workshop, reports: PreviewResult) -> None:
    rows = {row["value"]: row for row in data(company, reports, "dataset")}
    found = {name: (row["fullIDsCount"], row["fullIDsPercentage"], row["sampleCount"]) for name, row in rows.items()}
    assert found == {"crm": (2, 0.4, 2), "loyalty": (2, 0.4, 2), "web": (3, 0.6, 3)}
    assert (rows["crm"]["name"], rows["crm"]["createdUser"]) == ("CRM", "test")
    assert {row["streamingIngestionEnabled"] for row in rows.values()} == {False}
    assert {row["reportTimestamp"] for row in rows.values()} == {"2024-01-04T00:00:00Z"}


def test_5_10_3_and_11_a_profile_counts_once_in_a_namespace(company: Workshop, reports: PreviewResult) -> None:
    rows = data(company, reports, "namespace")
    found = {row["code"]: (row["fullIDsCount"], row["fullIDsFragmentCount"]) for row in rows}
    assert found == {"CRMID": (2, 3), "Email": (3, 4), "ECID": (3, 3)}
    assert {row["code"]: row["value"] for row in rows} == {"CRMID": "CRMID", "Email": "6", "ECID": "4"}


def test_5_10_4_and_5_overlaps_name_exact_sets(company: Workshop, reports: PreviewResult) -> None:
    assert data(company, reports, "dataset/overlap") == {"crm,loyalty,web": 1, "crm": 1, "loyalty": 1, "web": 2}
    expected = {"CRMID,ECID,Email": 1, "CRMID,Email": 1, "Email": 1, "ECID": 2}
    assert data(company, reports, "namespace/overlap") == expected


def test_5_10_6_unstitched_profiles_by_window_and_primary_namespace(company: Workshop, reports: PreviewResult) -> None:
    found = data(company, reports, "unstitchedProfiles")
    assert (found["totalNumberOfProfiles"], found["totalNumberOfEvents"]) == (5, 4)
    three = {
        "countOfProfiles": 3,
        "eventsAssociated": 1,
        "nsDistribution": {
            "CRMID": {"countOfProfiles": 1, "eventsAssociated": 0},
            "ECID": {"countOfProfiles": 1, "eventsAssociated": 1},
            "Email": {"countOfProfiles": 1, "eventsAssociated": 0},
        },
    }
    two = {
        "countOfProfiles": 2,
        "eventsAssociated": 0,
        "nsDistribution": {space: {"countOfProfiles": 1, "eventsAssociated": 0} for space in ("CRMID", "Email")},
    }
    assert found["unstitchedProfiles"] == {"7days": three, "30days": three} | {
        f"{days}days": two for days in (60, 90, 120)
    }
    assert data(company, reports, "unknownProfiles") == found


def test_5_10_7_dataset_statistics(company: Workshop, reports: PreviewResult) -> None:
    rows = {row.pop("datasetId"): row for row in data(company, reports, "dataset_stats")}
    web = {f"{days}days": 3 for days in (7, 14, 30)} | {f"{days}days": 4 for days in (60, 90, 120, 365)}
    assert rows["web"] == web | {
        "datasetType": "ExperienceEvents",
        "records": 4,
        "profileFragments": 3,
        "totalProfiles": 3,
        "percentEvents": 100.0,
        "percentProfiles": 0.0,
        "reportTimestamp": "2024-01-04T00:00:00Z",
    }
    assert {rows["crm"][f"{days}days"] for days in (7, 14, 30, 60, 90, 120, 365)} == {0}
    assert (rows["crm"]["records"], rows["crm"]["percentProfiles"], rows["crm"]["datasetType"]) == (2, 50.0, "Profiles")


def test_the_cut_list_ranks_by_profiles_that_would_be_gone(company: Workshop, reports: PreviewResult) -> None:
    rows = data(company, reports, "cutList")
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert (rows[0]["datasetId"], rows[0]["profilesGone"], rows[0]["share"]) == ("web", 2, 0.4)
    assert {row["profilesGone"] for row in rows[1:]} == {1}
    assert all(row["bytesFreed"] > 0 for row in rows)
    assert rows[1]["bytesFreed"] >= rows[2]["bytesFreed"]


def test_reports_are_tables_that_any_reader_opens_and_every_column_says_what_it_is(
    company: Workshop, reports: PreviewResult
) -> None:
    for report in REPORTS:
        table = DeltaTable(company.store.path("reports", report.table))
        assert table.protocol().min_reader_version == 1
        assert table.metadata().description == report.about
        comments = {field.name: field.metadata.get("comment") for field in table.schema().fields}
        told = {name: field.description for name, field in report.model_fields.items()}
        assert {name: comments[name] for name in told} == told
        assert all(comments.values())
        rows = [row for row in table.to_pyarrow_table().to_pylist() if row["report_id"] == reports.report_id]
        assert len(rows) == len(reports.rows_of(report))
        assert {(row["sampling_ratio"], row["standard_error"]) for row in rows} == {(1.0, 0.0)}
    path = company.store.path("reports", "dataset_overlap")
    overlap = DeltaTable(path).to_pyarrow_dataset()
    query = f"select sum(profiles) from overlap where report_id = '{reports.report_id}'"
    assert duckdb.sql(query).fetchall() == [(5,)]
    assert pl.read_delta(path).filter(pl.col("report_id") == reports.report_id)["profiles"].sum() == 5
    by_pandas = DeltaTable(path).to_pandas()
    assert by_pandas[by_pandas.report_id == reports.report_id].profiles.sum() == 5
    assert overlap.schema.field("report_at").type.tz == "UTC"


def test_a_sampled_preview_says_so_beside_every_row(company: Workshop, reports: PreviewResult) -> None:
    """Of five profiles two are wanted; their ids decide which are taken."""
    bounds = company.settings.preview.model_copy(update={"sampling": True, "sample_profiles": 2})
    sampling = replace(company, settings=company.settings.model_copy(update={"preview": bounds}))
    result = preview(sampling, at(3, 12))
    counted = result.status.num_rows_to_read
    assert (0 < counted < 5, result.status.total_rows, result.status.sampling_ratio) == (True, 5, counted / 5)
    assert sum(row.profiles for row in result.dataset_overlap) == 5
    for report in REPORTS:
        rows = DeltaTable(company.store.path("reports", report.table)).to_pyarrow_table().to_pylist()
        told = {(row["sampling_ratio"], row["standard_error"]) for row in rows if row["report_id"] == result.report_id}
        assert told == {(counted / 5, result.status.standard_error)}, report.table


def reports_in(company: Workshop) -> set[str]:
    """The previews whose rows are in a table."""
    rows = DeltaTable(company.store.path("reports", "dataset")).to_pyarrow_table(columns=["report_id"])
    return set(rows["report_id"].to_pylist())


def test_5_10_8_reports_are_found_by_their_day(company: Workshop, reports: PreviewResult) -> None:
    dead = died(company, at(4, 13))
    assert dead in reports_in(company)
    later = preview(company, at(4, 12))
    assert reports_in(company) >= {reports.report_id, later.report_id}
    assert dead not in reports_in(company), "what a preview that failed has written is removed by the next"
    assert newest(company.catalog, "2024-01-04", NOW).report_id == later.report_id
    assert newest(company.catalog, None, NOW).report_id == later.report_id
    with pytest.raises(NotFound, match="no report of 2024-01-05"):
        newest(company.catalog, "2024-01-05", NOW)
    totals = next(row for row in later.changes if row.kind == "total")
    assert (totals.profiles, totals.previous, totals.change, totals.week_before) == (5, 5, 0, None)


@pytest.mark.thorough
def test_what_changed_since_the_report_before_and_since_a_week_ago(company: Workshop, reports: PreviewResult) -> None:
    """Also cases 12 and 14, since it changes the company: a new customer, another default policy, a dataset emptied."""
    company.ingest("crm", customer("c3"), at=at(10), batch_id="b4")
    assert not due(company.catalog, company.settings, at(4, 13)).is_due
    refresh(company)
    moved = due(company.catalog, company.settings, at(4, 13))
    assert (moved.is_due, moved.why) == (True, "moved 20.0 %, threshold 3 %")
    week = preview(company, at(11))
    found = {(row.kind, row.id): (row.profiles, row.change, row.change_since_week_before) for row in week.changes}
    assert found["total", ""] == (6, 1, 1)
    assert found["dataset", "crm"] == (3, 1, 1)
    assert found["namespace", "Email"] == (3, 0, 0)
    assert due(company.catalog, company.settings, at(11, 23)).why == "moved 0.0 %, threshold 3 %"
    assert not due(company.catalog, company.settings, at(11, 23)).is_due
    assert due(company.catalog, company.settings, at(12)).is_due, "the first of the day"
    alone = PolicyBody.model_validate({"name": "Alone", "identityGraph": {"type": "none"}, "default": True})
    company.catalog.create_merge_policy(alone)
    assert not due(company.catalog, company.settings, at(11, 23)).is_due, "it has no view yet"
    with pytest.raises(Conflict, match="the default merge policy 'alone' has no profiles yet"):
        plan_of(company)
    refresh(company)
    switched = due(company.catalog, company.settings, at(11, 23))
    assert (switched.is_due, switched.why) == (True, "the default merge policy is alone, was default")
    by_identity = preview(company, at(12))
    assert by_identity.status.total_rows == 8
    assert not [row.key for row in by_identity.dataset_overlap if "," in row.key]
    _expiring_a_dataset_takes_the_profiles_of_its_own_row_and_no_more(company, week)


def _expiring_a_dataset_takes_the_profiles_of_its_own_row_and_no_more(company: Workshop, before: PreviewResult) -> None:
    """Case 14; and the dataset is gone between two reports."""
    company.catalog.change_merge_policy("default", lambda policy: policy.body.model_copy(update={"default": True}))
    generation = company.catalog.dataset("web").generation
    company.catalog.switch_generation("web", generation, generation + 1)
    refresh(company)
    after = preview(company, at(13))
    [alone] = [row.profiles for row in before.dataset_overlap if row.key == "web"]
    assert (alone, after.status.total_rows) == (2, before.status.total_rows - alone)
    assert "web" not in {row.value for row in after.dataset}
    assert "web" not in {row.dataset_id for row in after.cut_list}
    [gone] = [row for row in after.changes if row.id == "web"]
    assert (gone.profiles, gone.previous) == (0, 3)
