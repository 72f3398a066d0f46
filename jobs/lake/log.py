"""The log of a table on this machine, looked at before it is trusted.

A machine that loses its power may leave a commit file empty or cut short. Delta reads what is left of it as if it were
all: cut in the middle of a line it is an error, but cut between two lines, or empty, it is a commit that did less, and
rows are missing without a word. An object store has no half files.
"""

import json
import re
from pathlib import Path

from jobs.errors import StoreError

_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\b.*\.parquet")
_ALTERATIONS = ("CREATE ", "REPLACE ", "SET ", "ADD ", "CHANGE ", "RENAME ")  # each comes with a new description
# Counted in the first line of a commit that writes rows, and the action that each stands for.
_COUNTED = {"numFiles": '{"add":', "numRemovedFiles": '{"remove":'}


def refuse_damaged(path: str, name: str) -> None:
    """Look at the commits since the last checkpoint; a table elsewhere, or none, is no error.

    Raises:
        StoreError: a commit file is cut short; names the table, the file and what helps.
    """
    log = Path(path) / "_delta_log"
    if "://" in path or not log.is_dir():
        return
    names = [entry.name for entry in log.iterdir()]
    since = max((match[1] for each in names if (match := _CHECKPOINT.fullmatch(each))), default="")
    for each in sorted(names):
        if (match := _COMMIT.fullmatch(each)) and match[1] > since and _is_cut_short((log / each).read_text()):
            raise StoreError(
                f"{name}: {log / each} is cut short, so a commit of the table is lost in part or whole: put the file "
                "back from a copy and run the same again"
            )


def _is_cut_short(commit: str) -> bool:
    actions = commit.splitlines()
    if not actions or not _is_json(actions[-1]):
        return True
    info = json.loads(actions[0]).get("commitInfo") or {}
    operation = info.get("operation", "")
    if operation == "WRITE":
        counts = info.get("operationMetrics") or {}
        return any(
            sum(action.startswith(begin) for action in actions) < int(counts.get(key, 0))
            for key, begin in _COUNTED.items()
        )
    return len(actions) == 1 and operation.startswith(_ALTERATIONS)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
