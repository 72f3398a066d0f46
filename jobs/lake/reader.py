"""What the store's tables say of themselves, read without Spark."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from pyarrow import fs
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from jobs.lake.commits import CommitText
from jobs.lake.store import Store

# What analysts read; the other rooms of a store are the platform's own.
READABLE = ("lake", "quarantine", "reports", "exports")


class TableFacts(BaseModel):
    """One table as a reader finds it."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="Room and name, e.g. lake/web_orders")
    description: str
    rows: int
    version: int
    updated: AwareDatetime
    run: str = Field(description="Run that wrote the version, <dag>/<run>/<task>/<try> or cli; empty when unknown")
    batch: str = Field(description="Batch that the version wrote; empty when none")
    path: str


def tables(store: Store) -> list[TableFacts]:
    """List the tables that analysts read, by name; a room that holds none yet is no error."""
    found = []
    for room in READABLE:
        folder = store.path(room)
        system, inside = fs.FileSystem.from_uri(folder)
        for entry in system.get_file_info(fs.FileSelector(inside, allow_not_found=True)):
            path = f"{folder}/{entry.base_name}"
            if entry.type is fs.FileType.Directory and DeltaTable.is_deltatable(path):
                found.append(_facts(f"{room}/{entry.base_name}", path))
    return sorted(found, key=lambda table: table.name)


def _facts(name: str, path: str) -> TableFacts:
    table = DeltaTable(path)
    last = table.history(1)[0]
    by = _committed_by(last.get("userMetadata"))
    rows = pc.sum(pa.table(table.get_add_actions(flatten=True))["num_records"]).as_py()
    return TableFacts(
        name=name,
        description=table.metadata().description or "",
        rows=rows or 0,
        version=table.version(),
        updated=datetime.fromtimestamp(last["timestamp"] / 1000, UTC),
        run=by.run,
        batch=by.batch,
        path=path,
    )


def _committed_by(text: str | None) -> CommitText:
    try:
        return CommitText.model_validate_json(text or "")
    except ValidationError:
        # Another program's commit, or the one that made the table.
        return CommitText(job="", write="")
