"""Several callers at one instant, each with a catalog of its own as if in a process of its own."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.records import BatchStatus, DatasetBusy
from jobs.errors import TesseraError
from tests.jobs.catalog.builders import Clock, attempt, crm, definitions, new_batch

CALLERS = 6


@pytest.fixture
def together(
    filled: Catalog, shared_url: str, clock: Clock
) -> Callable[[Callable[[Catalog, int], object]], Counter[str]]:
    """Return a function that lets callers do something at once and counts their answers."""

    def run(do: Callable[[Catalog, int], object]) -> Counter[str]:
        start = threading.Barrier(CALLERS)

        def call(number: int) -> str:
            with Catalog.open(shared_url, filled.sandbox, actor=f"caller{number}", clock=clock) as catalog:
                start.wait()
                try:
                    return str(do(catalog, number))
                except TesseraError as refused:
                    return type(refused).__name__

        with ThreadPoolExecutor(CALLERS) as pool:
            return Counter(pool.map(call, range(CALLERS)))

    return run


Together = Callable[[Callable[[Catalog, int], object]], Counter[str]]


def test_of_many_batches_that_begin_at_once_one_gets_the_dataset(filled: Catalog, together: Together) -> None:
    for number in range(CALLERS):
        new_batch(filled, f"b{number}")
    said = together(lambda catalog, n: catalog.begin_attempt(f"b{n}", attempt(f"a{n}")).status)
    assert said == {"PROCESSING": 1, "DatasetBusy": CALLERS - 1}
    assert len(filled.batches(status=BatchStatus.PROCESSING)) == 1


def test_of_many_attempts_at_one_batch_one_begins_it(filled: Catalog, together: Together) -> None:
    new_batch(filled)
    said = together(lambda catalog, n: catalog.begin_attempt("b1", attempt(f"a{n}")).seq)
    assert said == {"1": 1, "StaleAttempt": CALLERS - 1}
    assert filled.batch("b1").attempts == 1


def test_of_many_that_take_over_one_attempt_one_does(filled: Catalog, together: Together, clock: Clock) -> None:
    new_batch(filled)
    filled.begin_attempt("b1", attempt("dead"))
    clock.advance(hours=1)
    said = together(lambda catalog, n: catalog.begin_attempt("b1", attempt(f"a{n}"), takes_over="dead").attempt)
    assert said.pop("StaleAttempt") == CALLERS - 1
    assert list(said) == [filled.batch("b1").attempt]


def test_batches_that_wait_for_each_other_all_get_places_of_their_own(filled: Catalog, together: Together) -> None:
    for number in range(CALLERS):
        new_batch(filled, f"b{number}")

    def ingest(catalog: Catalog, number: int) -> int | None:
        while True:
            try:
                seq = catalog.begin_attempt(f"b{number}", attempt(f"a{number}")).seq
            except DatasetBusy:
                continue
            catalog.finish(f"b{number}", attempt(f"a{number}"), {})
            return seq

    assert together(ingest) == {str(seq): 1 for seq in range(1, CALLERS + 1)}


def test_of_an_end_and_a_takeover_at_once_exactly_one_happens(filled: Catalog, together: Together) -> None:
    new_batch(filled)
    filled.begin_attempt("b1", attempt("first"))

    def end_or_take(catalog: Catalog, number: int) -> str:
        if number % 2:
            return f"finished {catalog.finish('b1', attempt('first'), {'read': 1}).status}"
        taken = catalog.begin_attempt("b1", attempt(f"a{number}"), takes_over="first")
        return "already" if taken.already_active else "taken"

    said = together(end_or_take)
    batch = filled.batch("b1")
    if batch.status is BatchStatus.ACTIVE:
        assert said == {"finished ACTIVE": CALLERS // 2, "already": CALLERS // 2}
        assert filled.leases() == []
    else:
        assert said == {"taken": 1, "StaleAttempt": CALLERS // 2 - 1, "Conflict": CALLERS // 2}
        assert batch.result is None


def test_a_batch_sent_many_times_at_once_is_created_once(filled: Catalog, together: Together) -> None:
    assert together(lambda catalog, _n: new_batch(catalog)) == {"b1": CALLERS}
    assert [e.to_status for e in filled.history("batch", "b1")] == ["NEW"]


def test_definitions_applied_many_times_at_once_are_applied_once(filled: Catalog, together: Together) -> None:
    wanted = definitions(crm(id="orders"), namespaces=[{"code": "OrderId", "type": "Non_people"}, CRMID])
    said = together(lambda catalog, _n: ",".join(c.action for c in catalog.apply(wanted).changes))
    assert said == {"created,unchanged,created": 1, "unchanged,unchanged,unchanged": CALLERS - 1}
    assert len(filled.history("dataset", "orders")) == 1


CRMID = {"code": "CRMID", "type": "Cross_device"}
