"""What lies in a store: its tables, their partitions as the log tells them, and files on disk; read without Spark."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow import fs
from pydantic import AwareDatetime, BaseModel, ConfigDict

from jobs.errors import StoreError
from jobs.lake.store import Store

_LOG = "_delta_log"


class Partition(BaseModel):
    """One partition of a table: its values by column, and its files."""

    model_config = ConfigDict(frozen=True)

    values: Mapping[str, str]
    sizes: tuple[int, ...]
    rows: int = 0
    newest: AwareDatetime

    @property
    def bytes(self) -> int:
        """Bytes of its files."""
        return sum(self.sizes)


def table_names(store: Store) -> list[str]:
    """List every table of a sandbox by its place in it, e.g. `lake/crm` and `fragments/crm/g0`.

    Raises:
        StoreError: the file system refused.
    """
    try:
        system, inside = opened(store.sandbox_path)
        return sorted(_below(system, inside, ""))
    except OSError as refused:
        raise StoreError(f"{store.sandbox_path} cannot be listed: {refused}") from refused


def partitions(path: str) -> list[Partition]:
    """List the partitions of the table at a path, as it is now; none when there is no table.

    Raises:
        StoreError: something is there that cannot be read.
    """
    with _refusals(path):
        if not DeltaTable.is_deltatable(path):
            return []
        actions = pa.table(DeltaTable(path).get_add_actions(flatten=True)).to_pylist()
    found: dict[tuple[tuple[str, str], ...], list[dict[str, object]]] = {}
    for action in actions:
        values = {key.removeprefix("partition."): str(v) for key, v in action.items() if key.startswith("partition.")}
        found.setdefault(tuple(sorted(values.items())), []).append(action)
    return [
        Partition(
            values=dict(values),
            sizes=tuple(file["size_bytes"] for file in files),
            rows=sum(file["num_records"] or 0 for file in files),
            newest=max(_instant(file["modification_time"]) for file in files),
        )
        for values, files in found.items()
    ]


def version_of(path: str) -> int:
    """Return the present version of the table at a path; StoreError when it cannot be read."""
    with _refusals(path):
        return DeltaTable(path).version()


def properties_of(path: str) -> dict[str, str]:
    """Return the properties of the table at a path; StoreError when it cannot be read."""
    with _refusals(path):
        return {key: value or "" for key, value in DeltaTable(path).metadata().configuration.items()}


def data_files(path: str) -> dict[str, int]:
    """Return the size of every file below a table's directory, by its path there; the log is left out."""
    return {entry.path: entry.size for entry in _data_entries(path)}


def has_former_files(path: str, before: datetime) -> bool:
    """Tell whether files lie below a table that its present version does not have, unchanged since an instant.

    Every file that a vacuum with that bound would remove is one of them: a file is never younger than its removal.

    Raises:
        StoreError: the table cannot be read.
    """
    with _refusals(path):
        actions = pa.table(DeltaTable(path).get_add_actions(flatten=True))
        present = {unquote(name).rpartition("/")[2] for name in actions["path"].to_pylist()}
        entries = _data_entries(path)
    return any(entry.base_name not in present and (entry.mtime is None or entry.mtime < before) for entry in entries)


def _data_entries(path: str) -> list[fs.FileInfo]:
    system, inside = opened(path)
    entries = system.get_file_info(fs.FileSelector(inside, recursive=True, allow_not_found=True))
    files = (entry for entry in entries if entry.type is fs.FileType.File)
    return [entry for entry in files if f"/{_LOG}/" not in entry.path.removeprefix(inside)]


def opened(path: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a path or URL, and the path on it."""
    system, inside = fs.FileSystem.from_uri(path.replace("s3a://", "s3://", 1))
    return system, inside


@contextmanager
def _refusals(path: str) -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError) as refused:
        reason = next(iter(str(refused).strip().splitlines()), type(refused).__name__)
        raise StoreError(f"table {path} cannot be read: {reason}") from refused


def _below(system: fs.FileSystem, inside: str, name: str) -> Iterator[str]:
    entries = system.get_file_info(fs.FileSelector(f"{inside}/{name}".rstrip("/"), allow_not_found=True))
    folders = [entry.base_name for entry in entries if entry.type is fs.FileType.Directory]
    if _LOG in folders:
        yield name
        return
    for folder in folders:
        # What a Spark job is writing, and partitions of what is no table.
        if not folder.startswith((".", "_")) and "=" not in folder:
            yield from _below(system, inside, f"{name}/{folder}".lstrip("/"))


def _instant(given: object) -> datetime:
    """Read a modification time: an instant, or milliseconds since 1970, by version of the reader."""
    if isinstance(given, datetime):
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given
    return datetime.fromtimestamp(int(str(given)) / 1000, UTC)
