"""Refused rows written to files again, as they came, for an ingest to read.

| format of the file | what is written |
|---|---|
| JSON lines | the lines |
| CSV | the header of the file, which must still be there unchanged, and the lines |
| JSON array, Parquet | each row as a line of JSON; a Parquet column with a dotted name becomes nested |
"""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from jobs.catalog.definitions import Dataset
from jobs.catalog.records import Batch, InputFile
from jobs.errors import Conflict, InvalidRequest, NotFound
from jobs.ingest.models import FileFormat
from jobs.lake.schema import BATCH

_BAD_ENCODING = "bad_encoding"
_LINE_SUFFIXES = {FileFormat.JSON_LINES: (".jsonl", ".ndjson"), FileFormat.CSV: (".csv",)}


class _Row(NamedTuple):
    line: int
    rule: str
    raw: str


def write_refused(table: DeltaTable, batch: Batch, dataset: Dataset, folder: Path) -> list[str]:
    """Write the refused rows of a batch, in the order of their lines; one file's rows are held at a time.

    Args:
        table: the quarantine of the dataset.
        batch: whose rows.
        dataset: as it is defined now; CSV is written in its encoding.
        folder: where to.

    Returns:
        The names of the files written.

    Raises:
        NotFound: a CSV file is gone, and its header with it.
        Conflict: a CSV file is not the same any more.
        InvalidRequest: a row cannot be written in the encoding that CSV files of the dataset have now.
    """
    sources: dict[str, list[InputFile]] = {}
    for file in batch.files:
        sources.setdefault(file.name, []).append(file)
    names = []
    for name in _files_with_rows(table, batch.id):
        form = FileFormat(sources[name][0].format)
        written = _written_name(name, form)
        rows = _rows(table, batch.id, name)
        if form is FileFormat.CSV:
            lines = [_header(sources[name]), *_csv_lines(rows, dataset.csv.encoding, name)]
        else:
            lines = list(_json_lines(rows, form))
        data = b"".join(line + b"\n" for line in lines)
        # Without a time in it, so that the same rows make the same bytes.
        (folder / written).write_bytes(gzip.compress(data, mtime=0) if written.lower().endswith(".gz") else data)
        names.append(written)
    return names


def _files_with_rows(table: DeltaTable, batch_id: str) -> list[str]:
    found = table.to_pyarrow_dataset().scanner(columns=["file"], filter=pc.field(BATCH) == batch_id)
    return sorted({name for part in found.to_batches() for name in pc.unique(part["file"]).to_pylist()})


def _rows(table: DeltaTable, batch_id: str, file: str) -> Iterator[_Row]:
    condition = (pc.field(BATCH) == batch_id) & (pc.field("file") == file)
    found: pa.Table = table.to_pyarrow_dataset().to_table(columns=list(_Row._fields), filter=condition)
    for part in found.sort_by("line").to_batches():
        yield from (_Row(**row) for row in part.to_pylist())


def _written_name(name: str, form: FileFormat) -> str:
    """Keep the file's name where its suffix says what is written."""
    plain = name.lower().removesuffix(".gz")
    if plain.endswith(_LINE_SUFFIXES.get(form, ())):
        return name
    return f"{name}.csv" if form is FileFormat.CSV else f"{name}.jsonl"


def _json_lines(rows: Iterable[_Row], form: FileFormat) -> Iterator[bytes]:
    for row in rows:
        if row.rule == _BAD_ENCODING:
            yield row.raw.encode("iso-8859-1")
        else:
            yield (_nested(row.raw) if form is FileFormat.PARQUET else row.raw).encode()


def _csv_lines(rows: Iterable[_Row], encoding: str, name: str) -> Iterator[bytes]:
    for row in rows:
        try:
            # A row that was not in the file's encoding is kept by its bytes.
            yield row.raw.encode("iso-8859-1" if row.rule == _BAD_ENCODING else encoding)
        except UnicodeEncodeError:
            raise InvalidRequest(
                f"{name} line {row.line}: the row cannot be written as {encoding}, the csv.encoding that the dataset "
                "has now; replay the batch whole"
            ) from None


def _header(files: Sequence[InputFile]) -> bytes:
    headers = {_first_line(file) for file in files}
    if len(headers) > 1:
        raise InvalidRequest(
            f"{files[0].name}: {len(files)} files of the batch have this name and different headers; "
            "replay the batch whole"
        )
    return headers.pop()


def _first_line(file: InputFile) -> bytes:
    path = Path(file.path)
    if not file.digest:
        raise InvalidRequest(f"{file.path}: the header of a remote CSV file is not known here; replay the batch whole")
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        with gzip.open(path) if file.compression else path.open("rb") as opened:
            line = opened.readline()
    except FileNotFoundError:
        raise NotFound(f"{file.path}: the file is gone, and with it the header of its refused rows") from None
    if digest != file.digest:
        raise Conflict(
            f"{file.path}: the file is not the same any more, so the header of its refused rows is not known"
        )
    return line.rstrip(b"\r\n")


class _Number(str):
    """A number of a JSON text, in the digits that it has there."""

    __slots__ = ()


def _nested(raw: str) -> str:
    """Nest the columns of a Parquet row that have dotted names, as JSON rows are."""
    row = json.loads(raw, parse_int=_Number, parse_float=_Number)
    nested: dict[str, Any] = {}
    for name, value in row.items():
        parent = nested
        *parents, last = name.split(".")
        for part in parents:
            parent = parent.setdefault(part, {})
        parent[last] = value
    return _json(nested)


def _json(value: Any) -> str:  # a JSON value
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
