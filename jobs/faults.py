"""The points at which a process may be told to die, so that a test can show that dying there does no harm.

Every commit of the product, to a Delta table or to the catalog, stands inside `around`, with a name of its own:

    with around(Fault.LAKE):
        writer.save(path)

`TESSERA_FAULT=lake:before` kills the process with -9 just before that commit, `lake:after` just after it, and
`lake:after:2` at the second time it comes there. `TESSERA_PAUSE` takes the same and stops the process (SIGSTOP) until
it is told to go on: a worker that was taken for dead. Both are read once, when the process starts; nothing that a
request, a definition or a row holds comes near them. Unset, a point costs a comparison.

A new commit goes through `jobs.lake.tables` or the catalog's writing transaction, which carry the points; its author
adds a member here and passes it. `./run crash` kills at each of them.
"""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

_SIGNALS = {os.environ.get("TESSERA_FAULT"): signal.SIGKILL, os.environ.get("TESSERA_PAUSE"): signal.SIGSTOP}
_reached: Counter[str] = Counter()


class Fault(StrEnum):
    """Every commit, by what it commits."""

    # Delta: tables
    CREATE_TABLE = "create_table"
    ALTER_TABLE = "alter_table"
    # Delta: an ingest
    LAKE = "lake"
    QUARANTINE = "quarantine"
    EVENTS = "events"
    FRAGMENTS = "fragments"
    LINKS = "links"
    DROP_BATCH = "drop_batch"
    DROP_RUN = "drop_run"
    # Delta: a refresh
    IDENTITIES = "identities"
    MERGED_IDS = "merged_ids"
    PROFILES = "profiles"
    # Delta: a preview
    REPORT = "report"
    # Delta: an export
    EXPORT = "export"
    EXPORT_IDENTITIES = "export_identities"
    UNDO_EXPORT = "undo_export"
    # Delta: upkeep
    FOLD = "fold"
    COMPACT_EVENTS = "compact_events"
    TAKE_OUT = "take_out"
    MERGE_FILES = "merge_files"
    DROP_UNKNOWN = "drop_unknown"
    SET_RETENTION = "set_retention"
    CLEAR = "clear"
    # The catalog
    MIGRATE_CATALOG = "migrate_catalog"
    APPLY_DEFINITIONS = "apply_definitions"
    SWITCH_GENERATION = "switch_generation"
    CREATE_BATCH = "create_batch"
    BEGIN_ATTEMPT = "begin_attempt"
    RENEW_LEASE = "renew_lease"
    FINISH_BATCH = "finish_batch"
    FAIL_BATCH = "fail_batch"
    MERGE_POLICY = "merge_policy"
    RELOCATE_FILES = "relocate_files"
    BEGIN_REMOVAL = "begin_removal"
    END_REMOVAL = "end_removal"
    CREATE_MAINTENANCE = "create_maintenance"
    BEGIN_MAINTENANCE = "begin_maintenance"
    FINISH_MAINTENANCE = "finish_maintenance"
    FAIL_MAINTENANCE = "fail_maintenance"
    CREATE_REFRESH = "create_refresh"
    BEGIN_REFRESH = "begin_refresh"
    PUBLISH_REFRESH = "publish_refresh"
    FAIL_REFRESH = "fail_refresh"
    CREATE_PREVIEW = "create_preview"
    BEGIN_PREVIEW = "begin_preview"
    FINISH_PREVIEW = "finish_preview"
    FAIL_PREVIEW = "fail_preview"
    CREATE_EXPORT = "create_export"
    BEGIN_EXPORT = "begin_export"
    FINISH_EXPORT = "finish_export"
    FAIL_EXPORT = "fail_export"
    CANCEL_EXPORT = "cancel_export"
    CREATE_SYSTEM_JOB = "create_system_job"
    EDIT_SYSTEM_JOB = "edit_system_job"
    PLAN_SYSTEM_JOB = "plan_system_job"
    APPROVE_SYSTEM_JOB = "approve_system_job"
    BEGIN_SYSTEM_JOB = "begin_system_job"
    NOTE_SYSTEM_JOB = "note_system_job"
    APPLY_SYSTEM_JOB = "apply_system_job"
    ASK_AGAIN = "ask_again"
    FINISH_SYSTEM_JOB = "finish_system_job"
    FAIL_SYSTEM_JOB = "fail_system_job"
    CANCEL_SYSTEM_JOB = "cancel_system_job"
    REMOVE_SYSTEM_JOB = "remove_system_job"
    # Landing folders: renames
    TAKE_MARKER = "take_marker"
    TAKE_FILE = "take_file"
    NAME_CLAIM = "name_claim"
    PUT_ASIDE = "put_aside"


@contextmanager
def around(fault: Fault) -> Iterator[None]:
    """Stand around one commit: the process may end before it, or after it. A commit that raises has no after."""
    reach(fault, "before")
    yield
    reach(fault, "after")


def reach(fault: Fault, moment: str) -> None:
    """Come to the moment `before` or `after` a commit; for a commit that is made at the end of a block."""
    if any(_SIGNALS):
        point = f"{fault}:{moment}"
        _reached[point] += 1
        for told in (point, f"{point}:{_reached[point]}"):
            if told in _SIGNALS:
                os.kill(os.getpid(), _SIGNALS[told])
