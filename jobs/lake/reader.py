"""What the store's tables hold and say of themselves, read without Spark."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow import fs
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from jobs.errors import NotFound, StoreError, known_here, shortened
from jobs.lake.commits import CommitText
from jobs.lake.leaves import count_nulls, leaves
from jobs.lake.listing import opened
from jobs.lake.log import refuse_damaged
from jobs.lake.schema import BATCH, Column
from jobs.lake.store import Store

_HINT = "_last_checkpoint"
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


class DescribedColumn(Column):
    """One leaf of a table; the fields of a struct are told one by one, by their paths."""

    nulls: int = Field(description="Rows in which it is null")


class TableDescription(TableFacts):
    """One table with its columns."""

    columns: tuple[DescribedColumn, ...]
    partitioned_by: tuple[str, ...]


def tables(store: Store) -> list[TableFacts]:
    """List the tables that analysts read, by name; a room that holds none yet is no error."""
    return [_facts(store, name, table) for name, table in _readable(store)]


def describe(store: Store, name: str) -> TableDescription:
    """Describe a table that analysts read.

    Raises:
        NotFound: there is none of that name; the message names the nearest.
        StoreError: a file of it cannot be read.
    """
    found = dict(_readable(store))
    if name not in found:
        raise NotFound(f"no table {shortened(name)} in sandbox {store.sandbox!r}; {known_here(name, found)}")
    table = found[name]
    found_leaves = leaves(table)
    nulls = count_nulls(table, found_leaves)
    columns = tuple(
        DescribedColumn(name=leaf.name, type=leaf.type, comment=leaf.comment, nulls=nulls[leaf.name])
        for leaf in found_leaves
    )
    facts = _facts(store, name, table).model_dump()
    return TableDescription(**facts, columns=columns, partitioned_by=tuple(table.metadata().partition_columns))


def find(store: Store, room: str, name: str) -> DeltaTable | None:
    """Open the table `<room>/<name>` as it is now; None when there is none.

    Raises:
        StoreError: something is there that cannot be read.
    """
    return _open(f"{room}/{name}", store.path(room, name))


def history(path: str, most: int | None = None) -> list[tuple[int, CommitText]]:
    """List the versions of a table that its log has still, the newest first, and who made them; of no table none.

    Args:
        path: the table.
        most: so many of them at most.

    Raises:
        StoreError: something is there that cannot be read.
    """
    table = _open(path, path)
    entries = table.history(most) if table else []
    return [(one["version"], _committed_by(one.get("userMetadata"))) for one in entries]


def rows_by_batch(table: DeltaTable) -> dict[str, int]:
    """Count the rows of each batch's partition; reads the table's log alone."""
    actions = pa.table(table.get_add_actions(flatten=True))
    if not actions.num_rows:
        return {}
    summed = actions.group_by(f"partition.{BATCH}").aggregate([("num_records", "sum")]).to_pylist()
    return {row[f"partition.{BATCH}"]: row["num_records_sum"] or 0 for row in summed}


def _readable(store: Store) -> Iterator[tuple[str, DeltaTable]]:
    for room in sorted(READABLE):
        folder = store.path(room)
        system, inside = opened(folder)
        entries = system.get_file_info(fs.FileSelector(inside, allow_not_found=True))
        for entry in sorted((e for e in entries if e.type is fs.FileType.Directory), key=lambda e: e.base_name):
            name = f"{room}/{entry.base_name}"
            table = _open(name, f"{folder}/{entry.base_name}")
            if table is not None:
                yield name, table


def _open(name: str, path: str) -> DeltaTable | None:
    refuse_damaged(path, f"table {name}")
    try:
        return DeltaTable(path) if DeltaTable.is_deltatable(path) else None
    except (DeltaError, OSError) as refused:
        reason = next(iter(str(refused).strip().splitlines()), type(refused).__name__)
        hint = f"; remove {path}/_delta_log/_last_checkpoint, which only saves time" if _HINT in reason else ""
        raise StoreError(f"table {name} cannot be read: {reason}{hint}") from refused


def _facts(store: Store, name: str, table: DeltaTable) -> TableFacts:
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
        path=f"{store.sandbox_path}/{name}",
    )


def _committed_by(text: str | None) -> CommitText:
    try:
        return CommitText.model_validate_json(text or "")
    except ValidationError:
        # Another program's commit, or the one that made the table.
        return CommitText(job="", write="")
