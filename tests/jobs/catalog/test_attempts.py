from datetime import UTC, datetime, timedelta

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.records import BatchStatus, DatasetBusy, StaleAttempt
from jobs.errors import Conflict, NotFound
from tests.jobs.catalog.builders import NOON, Clock, active_batch, attempt, crm, definitions, new_batch

ONE, TWO = attempt("one"), attempt("two")


def begun(catalog: Catalog, batch_id: str = "b1", by: str = "one", dataset: str = "crm") -> None:
    new_batch(catalog, batch_id, dataset)
    catalog.begin_attempt(batch_id, attempt(by))


def told(catalog: Catalog, batch_id: str) -> list[tuple[str | None, str]]:
    return [(e.from_status, e.to_status) for e in catalog.history("batch", batch_id)]


def test_beginning_takes_the_dataset_and_gives_the_batch_its_place_and_instant(filled: Catalog, clock: Clock) -> None:
    new_batch(filled)
    clock.advance(minutes=5)
    batch = filled.begin_attempt("b1", ONE)
    assert (batch.status, batch.seq, batch.at) == (BatchStatus.PROCESSING, 1, clock.now)
    assert (batch.attempt, batch.session_id, batch.engine, batch.run) == (
        "one",
        "session-one",
        "embedded",
        "ingest/one",
    )
    lease = filled.lease("crm")
    assert lease is not None
    assert (lease.batch_id, lease.attempt, lease.expires_at) == ("b1", ONE, clock.now + timedelta(seconds=60))


def test_finishing_makes_it_active_with_its_result_and_frees_the_dataset(filled: Catalog) -> None:
    begun(filled)
    batch = filled.finish("b1", ONE, {"read": 3})
    assert (batch.status, batch.result) == (BatchStatus.ACTIVE, {"read": 3})
    assert filled.lease("crm") is None


def test_every_change_of_a_batch_is_told_with_who_when_and_which_run(filled: Catalog, clock: Clock) -> None:
    new_batch(filled, run="cli")
    clock.advance(minutes=1)
    filled.begin_attempt("b1", ONE)
    clock.advance(minutes=1)
    filled.fail("b1", ONE, "the store was away", final=False)
    filled.begin_attempt("b1", TWO, takes_over="one")
    filled.finish("b1", TWO, {})
    events = filled.history("batch", "b1")
    assert [(e.from_status, e.to_status, e.run) for e in events] == [
        (None, "NEW", "cli"),
        ("NEW", "PROCESSING", "ingest/one"),
        ("PROCESSING", "PROCESSING", "ingest/one"),
        ("PROCESSING", "PROCESSING", "ingest/two"),
        ("PROCESSING", "ACTIVE", "ingest/two"),
    ]
    assert [e.at for e in events[:3]] == [NOON, NOON + timedelta(minutes=1), NOON + timedelta(minutes=2)]
    assert {e.who for e in events} == {"tester"}
    assert events[2].note == "attempt one failed: the store was away"


def test_an_active_batch_begun_again_answers_its_result_and_changes_nothing(filled: Catalog) -> None:
    active_batch(filled)
    before = filled.batch("b1")
    again = filled.begin_attempt("b1", TWO)
    assert again == before.model_copy(update={"already_active": True})
    assert filled.lease("crm") is None
    assert len(told(filled, "b1")) == 3


def test_a_dataset_that_is_held_refuses_another_batch_and_names_the_holder(filled: Catalog, clock: Clock) -> None:
    begun(filled)
    new_batch(filled, "b2")
    clock.advance(seconds=59)
    with pytest.raises(DatasetBusy, match=r"batch 'b1' runs in attempt 'one' \(ingest/one\)") as busy:
        filled.begin_attempt("b2", TWO)
    assert busy.value.lease.expires_at == NOON + timedelta(seconds=60)
    assert filled.batch("b2").status is BatchStatus.NEW


def test_another_dataset_is_not_held(filled: Catalog) -> None:
    begun(filled, "b1", "one", "crm")
    begun(filled, "b2", "two", "web")
    assert [lease.dataset_id for lease in filled.leases()] == ["crm", "web"]


def test_a_lease_that_is_renewed_stays(filled: Catalog, clock: Clock) -> None:
    begun(filled)
    new_batch(filled, "b2")
    for _ in range(3):
        clock.advance(seconds=50)
        filled.renew(ONE)
    with pytest.raises(DatasetBusy):
        filled.begin_attempt("b2", TWO)


def test_an_expired_lease_is_taken_over_only_by_naming_its_attempt(filled: Catalog, clock: Clock) -> None:
    begun(filled)
    new_batch(filled, "b2")
    clock.advance(seconds=61)
    with pytest.raises(StaleAttempt) as stale:
        filled.begin_attempt("b2", TWO)
    assert (stale.value.attempt_id, stale.value.session_id, stale.value.engine) == ("one", "session-one", "embedded")
    with pytest.raises(StaleAttempt):
        filled.begin_attempt("b2", TWO, takes_over="someone")
    assert filled.begin_attempt("b2", TWO, takes_over="one").status is BatchStatus.PROCESSING


def test_a_holder_that_renews_while_it_is_being_taken_over_keeps_the_dataset(filled: Catalog, clock: Clock) -> None:
    begun(filled)
    new_batch(filled, "b2")
    clock.advance(seconds=61)
    filled.renew(ONE)
    with pytest.raises(DatasetBusy):
        filled.begin_attempt("b2", TWO, takes_over="one")


def test_a_batch_whose_dataset_is_taken_over_by_another_batch_is_failed(filled: Catalog, clock: Clock) -> None:
    begun(filled)
    new_batch(filled, "b2")
    clock.advance(seconds=61)
    filled.begin_attempt("b2", TWO, takes_over="one")
    left = filled.batch("b1")
    assert (left.status, left.reason) == (
        BatchStatus.FAILED,
        "attempt one stopped renewing its lease, and batch b2 took the dataset over",
    )
    assert told(filled, "b1")[-1] == ("PROCESSING", "FAILED")


def test_a_retry_of_the_same_batch_need_not_wait_for_the_lease_but_names_the_former_attempt(
    filled: Catalog, clock: Clock
) -> None:
    begun(filled)
    clock.advance(seconds=1)
    with pytest.raises(StaleAttempt) as stale:
        filled.begin_attempt("b1", TWO)
    assert stale.value.session_id == "session-one"
    batch = filled.begin_attempt("b1", TWO, takes_over="one")
    assert (batch.seq, batch.at, batch.attempt, batch.attempts) == (1, NOON, "two", 2)


def test_beginning_twice_by_one_attempt_is_beginning_once(filled: Catalog, clock: Clock) -> None:
    begun(filled)
    clock.advance(seconds=30)
    again = filled.begin_attempt("b1", ONE)
    assert (again.seq, again.attempts) == (1, 1)
    lease = filled.lease("crm")
    assert lease is not None
    assert lease.expires_at == clock.now + timedelta(seconds=60)


@pytest.mark.parametrize("what", ["renew", "finish", "fail"])
def test_an_attempt_that_was_taken_over_can_do_nothing_any_more(filled: Catalog, what: str) -> None:
    begun(filled)
    filled.begin_attempt("b1", TWO, takes_over="one")
    before = filled.batch("b1"), filled.leases(), filled.history("batch", "b1")
    with pytest.raises(Conflict, match="attempt 'one'"):
        {
            "renew": lambda: filled.renew(ONE),
            "finish": lambda: filled.finish("b1", ONE, {"late": True}),
            "fail": lambda: filled.fail("b1", ONE, "late", final=True),
        }[what]()
    assert (filled.batch("b1"), filled.leases(), filled.history("batch", "b1")) == before


def test_an_attempt_cannot_finish_a_batch_that_it_does_not_run(filled: Catalog) -> None:
    begun(filled)
    new_batch(filled, "b2")
    with pytest.raises(Conflict, match="does not hold dataset 'crm' for batch 'b2': the batch is NEW"):
        filled.finish("b2", ONE, {})


def test_an_attempt_whose_lease_expired_but_was_not_taken_may_still_finish(filled: Catalog, clock: Clock) -> None:
    begun(filled)
    clock.advance(hours=1)
    assert filled.finish("b1", ONE, {}).status is BatchStatus.ACTIVE


def test_finishing_or_failing_twice_is_doing_it_once(filled: Catalog) -> None:
    begun(filled)
    assert filled.finish("b1", ONE, {"read": 1}) == filled.finish("b1", ONE, {"read": 2})
    begun(filled, "b2", "two")
    assert filled.fail("b2", TWO, "first", final=True) == filled.fail("b2", TWO, "second", final=True)
    assert len(told(filled, "b1")) == len(told(filled, "b2")) == 3


def test_an_active_batch_cannot_be_failed(filled: Catalog) -> None:
    begun(filled)
    filled.finish("b1", ONE, {})
    with pytest.raises(Conflict, match="the batch is ACTIVE"):
        filled.fail("b1", ONE, "too late", final=True)


def test_any_text_can_be_the_reason_of_a_failure(filled: Catalog) -> None:
    begun(filled)
    reason = filled.fail("b1", ONE, "\0 '; DROP TABLE batches; -- 한국어 \udcff " + "x" * 9000, final=True).reason
    assert reason is not None
    assert reason.startswith(" '; DROP TABLE batches; -- 한국어 ? xxx")
    assert len(reason) == 4000


def test_a_retry_after_a_failed_attempt_keeps_place_and_instant(filled: Catalog, clock: Clock) -> None:
    begun(filled)
    failed = filled.fail("b1", ONE, "no space", final=False)
    assert (failed.status, failed.reason) == (BatchStatus.PROCESSING, "no space")
    clock.advance(hours=1)
    batch = filled.begin_attempt("b1", TWO, takes_over="one")
    assert (batch.seq, batch.at) == (1, NOON)


def test_a_batch_failed_for_good_gets_a_new_place_when_it_is_run_again(filled: Catalog, clock: Clock) -> None:
    begun(filled)
    failed = filled.fail("b1", ONE, "every row was refused", final=True)
    assert (failed.status, failed.reason, filled.lease("crm")) == (BatchStatus.FAILED, "every row was refused", None)
    active_batch(filled, "b2")
    clock.advance(hours=1)
    batch = filled.begin_attempt("b1", TWO)
    assert (batch.seq, batch.at, batch.reason) == (3, clock.now, None)


def test_places_are_counted_for_each_dataset(filled: Catalog) -> None:
    for batch_id, dataset in (("b1", "crm"), ("b2", "web"), ("b3", "crm")):
        active_batch(filled, batch_id, dataset)
    assert [filled.batch(b).seq for b in ("b1", "b2", "b3")] == [1, 1, 2]
    assert filled.dataset("crm").last_seq == 2


def test_an_instant_before_the_datasets_last_one_is_refused_with_both(filled: Catalog) -> None:
    active_batch(filled, "b1", at=NOON)
    new_batch(filled, "b2", at=NOON - timedelta(hours=1))
    with pytest.raises(
        Conflict, match=r"instant 2024-01-01T11:00:00\+00:00, but dataset 'crm' is at 2024-01-01T12:00:00"
    ):
        filled.begin_attempt("b2", TWO)
    assert filled.batch("b2").status is BatchStatus.NEW
    assert filled.lease("crm") is None
    assert filled.dataset("crm").last_seq == 1


def test_two_batches_may_have_one_instant_and_another_dataset_an_older_one(filled: Catalog) -> None:
    active_batch(filled, "b1", at=NOON)
    active_batch(filled, "b2", at=NOON)
    active_batch(filled, "b3", "web", at=NOON - timedelta(days=1))
    assert [filled.batch(b).at for b in ("b1", "b2")] == [NOON, NOON]


def test_a_clock_that_was_set_back_does_not_take_the_dataset_back(filled: Catalog, clock: Clock) -> None:
    active_batch(filled, "b1")
    clock.advance(hours=-1)
    active_batch(filled, "b2")
    assert filled.batch("b2").at == NOON
    assert filled.dataset("crm").last_at == NOON


def test_a_batch_that_failed_for_good_does_not_hold_the_datasets_instant(filled: Catalog) -> None:
    new_batch(filled, "b1", at=datetime(2206, 1, 1, tzinfo=UTC))
    filled.begin_attempt("b1", ONE)
    filled.fail("b1", ONE, "the instant was a slip", final=True)
    active_batch(filled, "b2", at=NOON)
    assert filled.dataset("crm").last_at == NOON


def test_a_batch_begun_while_the_dataset_is_enabled_counts_in_the_profile_store(filled: Catalog, clock: Clock) -> None:
    active_batch(filled, "b1")
    filled.apply(definitions(crm(enabled=False)))
    active_batch(filled, "b2")
    begun(filled, "b3", "three")
    filled.apply(definitions(crm(enabled=True)))
    filled.finish("b3", attempt("three"), {})
    active_batch(filled, "b4")
    assert filled.profile_batches("crm") == [("b1", 1), ("b4", 4)]
    assert [b for b, _ in filled.active_batches("crm")] == ["b1", "b2", "b3", "b4"]
    assert [filled.batch(b).applied_from for b in ("b1", "b2")] == [clock.now, None]


def test_a_dataset_switched_to_another_generation_starts_with_no_batches_in_the_profile_store(filled: Catalog) -> None:
    active_batch(filled, "b1")
    begun(filled, "b2", "two")
    filled.switch_generation("crm", 1, 2)
    filled.finish("b2", TWO, {})
    active_batch(filled, "b3")
    assert filled.profile_batches("crm") == [("b3", 3)]
    with pytest.raises(Conflict, match="is at generation 2, not 1"):
        filled.switch_generation("crm", 1, 3)
    filled.switch_generation("crm", 2, 1)
    assert filled.profile_batches("crm") == [("b1", 1)]
    assert [(e.from_status, e.to_status) for e in filled.history("dataset", "crm")][1:] == [("g1", "g2"), ("g2", "g1")]


def test_an_unknown_batch_is_not_found(filled: Catalog) -> None:
    for call in (
        lambda: filled.batch("nope"),
        lambda: filled.begin_attempt("nope", ONE),
        lambda: filled.finish("nope", ONE, {}),
        lambda: filled.fail("nope", ONE, "", final=True),
    ):
        with pytest.raises(NotFound, match="no batch 'nope'"):
            call()


def test_a_clock_that_is_set_back_moves_no_instant_back_and_steals_no_lease(filled: Catalog, clock: Clock) -> None:
    new_batch(filled, "b1")
    new_batch(filled, "b2")
    first = filled.begin_attempt("b1", ONE)
    clock.advance(hours=-5)
    with pytest.raises(DatasetBusy):
        filled.begin_attempt("b2", TWO)
    # A holder that lives renews, and then its lease is of the clock as it is now.
    assert filled.renew(ONE).expires_at == clock.now + timedelta(seconds=ONE.lease_seconds)
    with pytest.raises(DatasetBusy):
        filled.begin_attempt("b2", TWO)
    assert filled.finish("b1", ONE, {}).status is BatchStatus.ACTIVE
    second = filled.begin_attempt("b2", TWO)
    assert (first.seq, second.seq) == (1, 2)
    assert second.at == first.at
