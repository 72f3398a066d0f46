"""The log of a table on this machine: looked at before it is trusted, and asked what Spark needs a query for.

A machine that loses its power may leave a commit file empty or cut short. Delta reads what is left of it as if it were
all: cut in the middle of a line it is an error, but cut between two lines, or empty, it is a commit that did less, and
rows are missing without a word. An object store has no half files.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from jobs.errors import StoreError

logger = logging.getLogger(__name__)

_LOG = "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\b.*\.parquet")
_ALTERATIONS = ("CREATE ", "REPLACE ", "SET ", "ADD ", "CHANGE ", "RENAME ")  # each comes with a new description
_ADD, _REMOVE = '{"add":', '{"remove":'
Answer = TypeVar("Answer")


def refuse_damaged(path: str, name: str) -> None:
    """Look at the commits since the last checkpoint; a table elsewhere, or none, is no error.

    Raises:
        StoreError: a commit file is cut short; names the table, the file and what helps.
    """
    log = _log_of(path)
    if log is None:
        return
    names = [entry.name for entry in log.iterdir()]
    since = max((match[1] for each in names if (match := _CHECKPOINT.fullmatch(each))), default="")
    for each in sorted(names):
        if (match := _COMMIT.fullmatch(each)) and match[1] > since and _is_cut_short((log / each).read_text()):
            raise StoreError(
                f"{name}: {log / each} is cut short, so a commit of the table is lost in part or whole: put the file "
                "back from a copy and run the same again"
            )


def is_here(path: str) -> bool:
    """Tell whether the table at a path has its log on this machine."""
    return _log_of(path) is not None


def commits(path: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Give the version and `commitInfo` of each commit of a table that is here, the newest first.

    A thousandth of what Spark's DESCRIBE HISTORY takes. Those that Delta has tidied away are not among them.
    """
    log = _log_of(path)
    names = sorted((entry.name for entry in log.iterdir()), reverse=True) if log else []
    for name in names:
        if log and (match := _COMMIT.fullmatch(name)):
            with (log / name).open(encoding="utf-8") as actions:
                yield int(match[1]), json.loads(actions.readline()).get("commitInfo") or {}


def properties_here(path: str) -> dict[str, str] | None:
    """Give the properties of a table that is here; None when there is none, and when the log cannot tell."""
    return _asked(path, lambda table: {key: value or "" for key, value in table.metadata().configuration.items()})


def files_here(path: str) -> list[str] | None:
    """Name the files of a table that is here; None when there is none, and when the log cannot tell."""
    return _asked(path, lambda table: table.file_uris())


def bytes_here(path: str, columns: Sequence[str]) -> dict[tuple[str, ...], int] | None:
    """Sum the bytes of a table that is here by the values of partition columns; None as of `files_here`."""

    def summed(table: DeltaTable) -> dict[tuple[str, ...], int]:
        actions = pa.table(table.get_add_actions(flatten=True))
        names = [f"partition.{column}" for column in columns]
        rows = actions.group_by(names).aggregate([("size_bytes", "sum")]).to_pylist() if actions.num_rows else []
        return {tuple(row[name] for name in names): row["size_bytes_sum"] for row in rows}

    return _asked(path, summed)


def version_without(path: str, values: Mapping[str, str]) -> int | None:
    """Give the present version of a table that is here, when no file lies where partition columns have these values.

    None when one does, and when the log cannot tell.
    """
    own = [(column, "=", value) for column, value in values.items()]
    return _asked(path, lambda table: None if table.file_uris(file_pruning_predicate=own) else table.version())


def commits_into(path: str, values: Mapping[str, str], after: int) -> int:
    """Count the commits of a table that is here, after a version, that add files of these partition values."""
    log = Path(path) / _LOG
    later = [entry for entry in log.iterdir() if (match := _COMMIT.fullmatch(entry.name)) and int(match[1]) > after]
    return sum(_adds_to(entry.read_text(encoding="utf-8"), values) for entry in later)


def _adds_to(commit: str, values: Mapping[str, str]) -> bool:
    adds = (json.loads(action)["add"] for action in commit.splitlines() if action.startswith(_ADD))
    return any(values.items() <= add["partitionValues"].items() for add in adds)


def _asked(path: str, question: Callable[[DeltaTable], Answer | None]) -> Answer | None:
    if not is_here(path):
        return None
    try:
        return question(DeltaTable(path))
    except DeltaError as refused:
        logger.info("%s: %s", path, refused)
        return None


def _log_of(path: str) -> Path | None:
    log = Path(path) / _LOG
    return log if "://" not in path and log.is_dir() else None


def _is_cut_short(commit: str) -> bool:
    actions = commit.splitlines()
    if not actions or not _is_json(actions[-1]):
        return True
    info = json.loads(actions[0]).get("commitInfo") or {}
    operation = info.get("operation", "")
    if operation == "WRITE":
        return _lacks_files(actions, info.get("operationMetrics") or {})
    return len(actions) == 1 and operation.startswith(_ALTERATIONS)


def _lacks_files(actions: Sequence[str], counts: Mapping[str, str]) -> bool:
    """Hold the files that a commit names to what its first line counts."""
    adds = [action for action in actions if action.startswith(_ADD)]
    removes = sum(action.startswith(_REMOVE) for action in actions)
    if removes < int(counts.get("numRemovedFiles", 0)):
        return True
    # A file without rows is counted and not named.
    return len(adds) < int(counts.get("numFiles", 0)) and _rows(adds) < int(counts.get("numOutputRows", 1))


def _rows(adds: Sequence[str]) -> int:
    stats = (json.loads(add)["add"].get("stats") for add in adds)
    return sum(json.loads(told).get("numRecords", 0) for told in stats if told)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
