"""When a preview is due, how much is counted, and what is compared; and the reports shown, without Spark."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import Dataset
from jobs.catalog.job_records import JobBusy
from jobs.catalog.records import Attempt
from jobs.errors import InvalidRequest, NotFound
from jobs.ingest.models import BatchOrder
from jobs.preview_sample.models import PreviewParams, SampledDataset
from jobs.preview_sample.service import accept, close, due, showing, summary
from jobs.preview_sample.service.planning import has_moved, sample_size
from jobs.preview_sample.transforms.reports import reports
from jobs.preview_sample.transforms.sampling import Group
from jobs.settings import Settings
from tests.builders import at, crm, definitions
from tests.jobs.preview_sample.oracle import AT, ATTEMPT, baseline, done, plan

NOW = datetime(2024, 2, 1, tzinfo=UTC)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}", "prod", "test") as opened:
        yield opened


@pytest.mark.parametrize(
    ("before", "now", "moved"),
    [(100, 103, False), (100, 104, True), (100, 97, False), (100, 96, True), (0, 0, False), (0, 1, True), (1, 0, True)],
)
def test_5_10_9_only_more_than_the_threshold_counts_up_or_down(before: int, now: int, moved: bool) -> None:
    assert has_moved(before, now, 3) is moved


@pytest.mark.parametrize(
    ("profiles", "size"),
    [(999_999, None), (1_000_000, None), (1_000_001, 1_000_000), (20_000_000, 1_000_000), (40_000_000, 2_000_000)],
)
def test_5_10_10_the_guides_sizes_hold_when_sampling_is_on(settings: Settings, profiles: int, size: int | None) -> None:
    assert sample_size(profiles, settings.preview.model_copy(update={"sampling": True})) == size
    assert sample_size(profiles, settings.preview) is None, "exact unless sampling is asked for"


@pytest.mark.parametrize(("profiles", "size"), [(10, None), (11, 10), (200, 10), (400, 20)])
def test_a_sample_of_another_size_is_taken_by_the_same_rule(
    settings: Settings, profiles: int, size: int | None
) -> None:
    small = settings.preview.model_copy(update={"sampling": True, "sample_profiles": 10})
    assert sample_size(profiles, small) == size


def test_a_sampled_report_says_its_ratio_and_error_and_estimates_the_whole(catalog: Catalog) -> None:
    found = [Group(("crm",), ("CRMID",), 60, fragments={"crm": 60}), Group(("web",), ("ECID",), 40)]
    result = reports(plan(sample=100, profiles=1000), found, {})
    assert (result.status.total_rows, result.status.num_rows_to_read, result.status.sampling_ratio) == (1000, 100, 0.1)
    assert [(row.sample_count, row.profiles, row.share) for row in result.dataset] == [(60, 600, 0.6), (40, 400, 0.4)]
    for name in showing.NAMES:
        told = showing.document(catalog, name, result)
        assert (told["samplingRatio"], told["standardError"]) == (0.1, 0.047434), name
    assert "samplingRatio" not in showing.document(catalog, "dataset", done(catalog, at(1)))


def test_5_10_13_an_empty_store_gives_zeros(catalog: Catalog) -> None:
    result = reports(plan(datasets=(), namespaces=()), [], {})
    assert (result.status.total_rows, result.status.sampling_ratio) == (0, 1.0)
    for name in ("dataset", "namespace", "dataset_stats", "cutList"):
        assert showing.document(catalog, name, result)["data"] == []
    assert showing.document(catalog, "dataset/overlap", result)["data"] == {}
    windows = showing.document(catalog, "unstitchedProfiles", result)["data"]["unstitchedProfiles"]
    assert windows["7days"] == {"countOfProfiles": 0, "eventsAssociated": 0, "nsDistribution": {}}


def test_what_is_gone_since_the_report_before_is_told_with_0() -> None:
    """A dataset that was removed between two reports."""
    found = [Group(("crm",), ("CRMID",), 4, fragments={"crm": 4})]
    changed = reports(plan(previous=baseline(total_=6, dataset_old=2, dataset_crm=4)), found, {}).changes
    rows = {(row.kind, row.id): (row.profiles, row.previous, row.change, row.week_before) for row in changed}
    assert rows == {
        ("total", ""): (4, 6, -2, None),
        ("dataset", "crm"): (4, 4, 0, None),
        ("dataset", "old"): (0, 2, -2, None),
        ("namespace", "CRMID"): (4, 0, 4, None),
    }


def test_what_was_refused_and_is_too_large_is_counted() -> None:
    refused = {"row_too_large": 3, "missing_identity": 2, "bad_identity": 4, "unknown_namespace": 1, "required": 9}
    status = reports(plan(refused=refused), [Group((), ("Email",), 2, too_large=2)], {}).status
    assert (status.oversized_rows, status.rows_without_identity, status.refused_links) == (3, 2, 5)
    assert (status.over_identities, status.empty_profiles) == (2, 2)


def test_100_datasets_and_names_of_every_length_are_reported() -> None:
    names = [f"d{number:03}" for number in range(100)]
    sources = [
        SampledDataset(
            dataset=Dataset.model_validate(crm(id=name)),
            store_root="/none",
            sandbox="prod",
            generation=0,
            batches=(BatchOrder(batch_id="b", seq=1),),
        )
        for name in names
    ]
    found = [Group(tuple(names), ("CRMID",), 1, fragments=dict.fromkeys(names, 1))]
    result = reports(plan(datasets=tuple(sources)), found, {})
    assert [row.key for row in result.dataset_overlap] == [",".join(names)]
    assert len(result.dataset) == len(result.cut_list) == 100
    assert {row.profiles_gone for row in result.cut_list} == {0}


def test_5_10_8_the_later_report_of_a_day_holds_and_a_day_without_one_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="sandbox 'prod' has no report yet: `tessera preview` makes one"):
        showing.newest(catalog, None, NOW)
    done(catalog, at(4, 12), profiles=7)
    done(catalog, at(4, 10), profiles=6)
    done(catalog, at(5), profiles=8)
    assert showing.newest(catalog, "2024-01-04", NOW).status.total_rows == 7
    assert showing.newest(catalog, None, NOW).status.total_rows == 8
    with pytest.raises(NotFound, match="no report of 2024-01-03"):
        showing.newest(catalog, "2024-01-03", NOW)


@pytest.mark.parametrize("day", ["2024-02-30", "yesterday", "20240101", "2024-1-1", "", "2024-01-01T00:00:00Z", "²024"])
def test_a_date_that_is_none_is_refused_with_how_to_write_it(catalog: Catalog, day: str) -> None:
    with pytest.raises(InvalidRequest, match=r"is none; write it as YYYY-MM-DD, e\.g\. 2024-02-01"):
        showing.newest(catalog, day, NOW)


def test_days_and_instants_to_come_are_refused(catalog: Catalog, settings: Settings) -> None:
    with pytest.raises(InvalidRequest, match="date 2024-02-02 is to come: it is 2024-02-01 in UTC"):
        showing.newest(catalog, "2024-02-02", NOW)
    with pytest.raises(InvalidRequest, match="that is to come"):
        accept(catalog, settings, PreviewParams(as_of=datetime(9999, 1, 1, tzinfo=UTC)), "test")
    assert catalog.previews() == []


def test_a_report_of_no_name_is_not_found_and_the_nearest_is_named() -> None:
    with pytest.raises(NotFound, match="no report 'datasets'; did you mean 'dataset'"):
        showing.report_named("datasets")


def test_5_10_15_while_a_preview_runs_the_report_before_is_served(catalog: Catalog, settings: Settings) -> None:
    before = done(catalog, at(4))
    running = accept(catalog, settings, PreviewParams(as_of=at(5)), "test")
    catalog.begin_preview(running.id, ATTEMPT)
    shown = showing.newest(catalog, None, NOW)
    assert shown.report_id == before.report_id
    assert showing.document(catalog, "status", shown)["sampleJobRunning"]["status"] is True
    other = accept(catalog, settings, PreviewParams(), "test")
    with pytest.raises(JobBusy, match=f"preview '{running.id}' of sandbox 'prod' is running"):
        catalog.begin_preview(other.id, Attempt(id="two"))
    # Its run was killed: the teardown closes it, and the report before stays.
    assert close(catalog, settings, running.id, "preview_sample/run/record_outcome/1").endswith("before it was done")
    assert showing.newest(catalog, None, NOW).report_id == before.report_id
    assert catalog.failed_previews() == [running.id]
    assert showing.document(catalog, "status", shown)["sampleJobRunning"]["status"] is False


def test_a_preview_that_nobody_works_at_any_more_is_not_said_to_run(catalog: Catalog, settings: Settings) -> None:
    shown = done(catalog, at(4))
    left = accept(catalog, settings, PreviewParams(as_of=at(5)), "test")
    catalog.begin_preview(left.id, Attempt(id="killed", lease_seconds=0.001))
    time.sleep(0.01)
    job = showing.document(catalog, "status", shown)["sampleJobRunning"]
    assert job == {"status": False, "submissionTimestamp": None}


def test_a_sandbox_without_profiles_is_never_due(catalog: Catalog, settings: Settings) -> None:
    assert due(catalog, settings, NOW).why == "there are no profiles yet"
    catalog.apply(definitions())
    assert not due(catalog, settings, NOW).is_due


def test_a_preview_is_summed_up_in_one_line(catalog: Catalog) -> None:
    done(catalog, AT)
    [record] = catalog.previews()
    assert summary(record) == (
        f"preview {record.id}: 5 profiles of 5 fragments, 1 datasets, 1 namespaces; exact; in 0 s"
    )
