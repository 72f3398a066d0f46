"""Which copies of former jobs stay, and that those of a job that did not succeed go; without Spark."""

from pathlib import Path

import pytest

from jobs.exports.service.copies import remove_copies, remove_older
from jobs.lake.store import Store


@pytest.fixture
def store(store_root: str) -> Store:
    return Store(store_root, "prod")


def folder(store: Store) -> Path:
    return Path(store.path("exports", "people-copies", "csv"))


def copied(store: Store, number: int) -> None:
    """Have a job write its copy."""
    (folder(store) / f"export-{number}").mkdir(parents=True)
    (folder(store) / f"export-{number}" / "part-0.csv").write_text("a\n1\n")


def names(store: Store) -> set[str]:
    return {path.name for path in folder(store).iterdir()}


def test_the_copies_of_a_job_and_of_the_one_before_stay_and_what_is_no_job_s(store: Store) -> None:
    for number in (2, 9, 10, 11):
        copied(store, number)
    for name in ("for-the-auditors", "export-x"):
        (folder(store) / name).mkdir()
    remove_older(store, "people", {"export-11", "export-9"})
    assert names(store) == {"export-9", "export-11", "for-the-auditors", "export-x"}
    # Neither of the two newest jobs was asked for this format.
    remove_older(store, "people", {"export-12", "export-13"})
    assert names(store) == {"for-the-auditors", "export-x"}


def test_the_copies_of_a_job_that_did_not_succeed_go_and_no_others(store: Store) -> None:
    copied(store, 1)
    copied(store, 2)
    for _ in range(2):
        remove_copies(store, "people", {"export-2", "export-3"})
        assert names(store) == {"export-1"}
