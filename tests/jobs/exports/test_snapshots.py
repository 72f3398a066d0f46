"""Which snapshots are due: one for each policy that has profiles, and none twice for an instant."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.dataset_fields import DATASET_PATTERN
from jobs.catalog.records import Attempt
from jobs.catalog.refreshes import CutTable
from jobs.errors import InvalidRequest
from jobs.exports.models import ExportParams, SnapshotParams
from jobs.exports.service import accept, close
from jobs.exports.service.snapshots import Snapshots, accept_snapshots, dataset_of
from jobs.merge_policies import service as merge_policies
from jobs.settings import Settings
from tests.builders import crm, definitions

ATTEMPT = Attempt(id="a", run="test")
SECOND = timedelta(seconds=1)


class Clock:
    """A clock that only a test moves."""

    now = datetime(2024, 1, 10, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += SECOND
        return self.now


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    """A sandbox whose two policies have a view in the newest cut."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with Catalog.open(settings.catalog_url, "prod", "test", clock=Clock()) as opened:
        opened.apply(definitions(crm()))
        merge_policies.create(opened, {"name": "Two words", "identityGraph": {"type": "none"}})
        refresh = opened.create_refresh({})
        opened.begin_refresh(refresh.id, ATTEMPT)
        union = merge_policies.union_schema(opened, settings)
        views = [
            CutTable(name=f"profiles/{one.id}", place=f"profiles/{one.id}/g0", version=1, digest=union.fingerprint(one))
            for one in merge_policies.profile_policies(opened)
        ]
        opened.publish_refresh(refresh.id, ATTEMPT, {}, views)
        yield opened


def accepted(catalog: Catalog, settings: Settings, since: datetime | None) -> Snapshots:
    run = f"profile_snapshots/{since}/accept_snapshots/1"
    return accept_snapshots(catalog, settings, SnapshotParams(unless_taken_since=since), run)


def datasets(found: Snapshots) -> list[str]:
    return sorted(record.dataset_id for record in found.records)


BOTH = ["profile_attribute_default", "profile_attribute_two_words"]


def test_three_missed_days_have_one_snapshot_however_their_runs_come(catalog: Catalog, settings: Settings) -> None:
    days = [datetime(2024, 1, day, 4, tzinfo=UTC) for day in (8, 9, 10)]
    first, *others = [accepted(catalog, settings, day) for day in days]
    assert datasets(first) == BOTH
    # They are asked for, and nothing ran yet: runs of a backfill begin together.
    assert [other.records for other in others] == [(), ()]
    assert others[1].why.startswith("no snapshot: those for 2024-01-10 04:00 UTC are there or under way")
    for record in first.records:
        catalog.begin_export(record.id, ATTEMPT)
        assert accepted(catalog, settings, days[2]).records == (), "under way"
        catalog.finish_export(record.id, ATTEMPT, {})
    assert accepted(catalog, settings, days[2]).records == (), "taken"
    assert datasets(accepted(catalog, settings, datetime(2024, 1, 11, 4, tzinfo=UTC))) == BOTH, "the next day's"


def test_a_run_that_is_tried_again_takes_up_what_it_asked_for(catalog: Catalog, settings: Settings) -> None:
    days = [datetime(2024, 1, day, 4, tzinfo=UTC) for day in (9, 10)]
    asked = accepted(catalog, settings, days[0])
    assert datasets(asked) == BOTH
    assert accepted(catalog, settings, days[0]) == asked
    assert accepted(catalog, settings, days[1]).records == (), "another run's"


def test_whoever_asks_by_hand_gets_one_always(catalog: Catalog, settings: Settings) -> None:
    assert datasets(accepted(catalog, settings, None)) == datasets(accepted(catalog, settings, None)) == BOTH
    names = {record.id: record.definition.name for record in catalog.datasets()}
    assert names["profile_attribute_two_words"] == "Profile Attribute two-words"


def test_a_snapshot_that_came_to_nothing_is_taken_again(catalog: Catalog, settings: Settings) -> None:
    day = datetime(2024, 1, 10, 4, tzinfo=UTC)
    failed, cancelled = accepted(catalog, settings, day).records
    catalog.begin_export(failed.id, ATTEMPT)
    catalog.fail_export(failed.id, ATTEMPT.id, "the disk is full", final=True)
    catalog.cancel_export(cancelled.id)
    assert datasets(accepted(catalog, settings, day)) == BOTH


def test_a_policy_whose_dataset_is_of_another_kind_keeps_the_others_from_nothing(
    catalog: Catalog, settings: Settings
) -> None:
    catalog.apply(definitions(crm(id=BOTH[1], enabled=False)))
    found = accepted(catalog, settings, None)
    assert datasets(found) == BOTH[:1]
    assert found.why.startswith(
        "no snapshot of merge policy 'two-words': dataset 'profile_attribute_two_words' is of kind"
    )


def test_when_no_policy_s_dataset_will_do_the_request_is_refused(catalog: Catalog, settings: Settings) -> None:
    catalog.apply(definitions(*(crm(id=name, enabled=False) for name in BOTH)))
    with pytest.raises(InvalidRequest, match=r"'profile_attribute_default' is of .*; no snapshot .*'two-words'"):
        accepted(catalog, settings, None)


def test_another_export_to_the_same_dataset_is_no_snapshot(catalog: Catalog, settings: Settings) -> None:
    day = datetime(2024, 1, 10, 4, tzinfo=UTC)
    for record in accepted(catalog, settings, day).records:
        catalog.begin_export(record.id, ATTEMPT)
        catalog.finish_export(record.id, ATTEMPT, {})
    assert accepted(catalog, settings, day).records == ()
    changed = accept(catalog, settings, ExportParams(dataset=BOTH[0], updated_after=day), "cli")
    catalog.begin_export(changed.id, ATTEMPT)
    assert accepted(catalog, settings, day).records == (), "the snapshot's rows are there still"
    catalog.finish_export(changed.id, ATTEMPT, {})
    assert datasets(accepted(catalog, settings, day)) == BOTH[:1]


def test_what_a_run_did_not_come_to_is_under_way_no_more(catalog: Catalog, settings: Settings) -> None:
    day = datetime(2024, 1, 10, 4, tzinfo=UTC)
    asked = accepted(catalog, settings, day).records
    for record in asked:
        assert close(catalog, settings, record.id, "profile_snapshots/other/record_outcome/1").endswith("is NEW")
        told = close(catalog, settings, record.id, f"profile_snapshots/{day}/record_outcome/1")
        assert told.endswith("is CANCELLED: its run ended before it began")
    assert datasets(accepted(catalog, settings, day)) == BOTH


def test_a_policy_that_was_changed_since_the_refresh_is_left_to_a_later_snapshot(
    catalog: Catalog, settings: Settings
) -> None:
    merge_policies.replace(catalog, "two-words", {"name": "Two words"})
    assert datasets(accepted(catalog, settings, None)) == BOTH[:1]


def test_a_sandbox_without_profiles_has_no_snapshot(settings: Settings) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    with Catalog.open(settings.catalog_url, "empty", "test") as empty:
        empty.apply(definitions(crm()))
        found = accepted(empty, settings, None)
    assert found == Snapshots(why="no snapshot: sandbox empty has no profiles yet")


def test_no_two_policies_share_a_dataset() -> None:
    long = "p" * 63
    ids = ["a", "a-b", "a_b", "a-identities", "a-identities-2", "a_identities", "identities", long, f"{long[:-1]}q"]
    found = {dataset_of(policy_id) for policy_id in ids}
    assert len(found) == len(ids)
    assert not any(dataset.endswith("_identities") for dataset in found)
    assert all(re.fullmatch(DATASET_PATTERN, dataset) for dataset in found)
