"""What a commit that was cut short is told by; a whole one is never taken for one."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import StoreError
from jobs.lake.log import commits, is_here, refuse_damaged

REMOVED = {"remove": {"path": "old.parquet"}}


def added(rows: int) -> dict[str, Any]:
    return {"add": {"path": "new.parquet", "stats": json.dumps({"numRecords": rows})}}


def commit(folder: Path, files: int, removed: int, rows: int, *actions: dict[str, Any]) -> str:
    counts = {"numFiles": str(files), "numRemovedFiles": str(removed), "numOutputRows": str(rows)}
    first = {"commitInfo": {"operation": "WRITE", "operationMetrics": counts}}
    log = folder / "_delta_log"
    log.mkdir()
    text = "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in (first, *actions))
    (log / f"{0:020}.json").write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("files", "removed", "rows", "actions"),
    [
        (1, 0, 3, [added(3)]),
        (2, 1, 3, [added(1), added(2), REMOVED]),
        # Spark writes a file for a first task that has no rows; Delta counts it, and leaves it out.
        (1, 1, 0, [REMOVED]),
        (2, 1, 3, [added(3), REMOVED]),
    ],
)
def test_a_whole_commit_is_trusted(tmp_path: Path, files: int, removed: int, rows: int, actions: list[Any]) -> None:
    refuse_damaged(commit(tmp_path, files, removed, rows, *actions), "exports/people")


@pytest.mark.parametrize(
    ("files", "removed", "rows", "actions"),
    [
        (1, 0, 3, []),
        (2, 0, 3, [added(1)]),
        (2, 1, 3, [added(1), added(2)]),
        (1, 1, 0, []),
    ],
)
def test_a_commit_that_names_less_than_it_counts_is_refused(
    tmp_path: Path, files: int, removed: int, rows: int, actions: list[Any]
) -> None:
    with pytest.raises(StoreError, match=r"exports/people: .*00\.json is cut short"):
        refuse_damaged(commit(tmp_path, files, removed, rows, *actions), "exports/people")


def test_the_newest_commit_is_told_first(tmp_path: Path) -> None:
    path = commit(tmp_path, 1, 0, 3, added(3))
    later = {"commitInfo": {"operation": "WRITE", "userMetadata": "mine"}}
    (tmp_path / "_delta_log" / f"{1:020}.json").write_text(json.dumps(later) + "\n")
    assert [(version, told.get("userMetadata")) for version, told in commits(path)] == [(1, "mine"), (0, None)]
    assert is_here(path)


@pytest.mark.parametrize("path", ["s3a://bucket/table", "/no/such/table"])
def test_a_table_elsewhere_has_no_commits_here(path: str) -> None:
    assert not is_here(path)
    assert list(commits(path)) == []
