"""Who is compared: each keeps the same table on disk and applies the same batches to it.

A batch changes what it says: a null keeps the value that is there. Spark's contestants work in one warm session of the
same engine, the others in a process of their own for each batch, whose start does not count, so that their memory can
be told.
"""

import multiprocessing
import resource
import sys
import time
from abc import ABC, abstractmethod
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from benchmarks._upsert_rows import KEY, ORD, PAYLOAD, Prepared, checking_query
from jobs.faults import Fault
from jobs.lake import fold as folding, runs
from jobs.lake.definition import ensure
from jobs.lake.keyed_table import KeyedTable, Mode, Run
from jobs.lake.schema import Column
from jobs.lake.tables import CommitInfo

_COLUMNS = (KEY, *PAYLOAD)
_KEPT = ", ".join(f"t.{name} = coalesce(s.{name}, t.{name})" for name in PAYLOAD)
_INSERTED = f"({', '.join(_COLUMNS)}) values ({', '.join(f's.{name}' for name in _COLUMNS)})"

Sums = tuple[int, ...]


@dataclass
class Peer(ABC):
    """One contestant and what it has measured: seconds, bytes written and, where it has its own process, memory.

    Args:
        name: as the figures call it.
        folder: of its own.
    """

    name: str
    folder: Path
    writes: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)
    """Seconds of what a write leaves for later, after each write; 0 where there was nothing."""
    reads: list[float] = field(default_factory=list)
    bytes_written: list[int] = field(default_factory=list)
    peak_bytes: int = 0

    @abstractmethod
    def load(self, prepared: Prepared) -> None:
        """Make the table as it is at first; not timed."""

    @abstractmethod
    def _write(self, number: int, batch: Path) -> float: ...

    @abstractmethod
    def _read(self) -> tuple[float, Sums]: ...

    def _tidy(self) -> float:
        return 0.0

    def write(self, number: int, batch: Path) -> None:
        """Apply a batch, and do at once what falls due."""
        before = self._written()
        self.writes.append(self._write(number, batch))
        self.later.append(self._tidy())
        self.bytes_written.append(self._written() - before)

    def read(self) -> Sums:
        """Read every value of the current view."""
        seconds, sums = self._read()
        self.reads.append(seconds)
        return sums

    @property
    def total(self) -> float:
        """Seconds of all writes, of what they left for later, and of the last read."""
        return sum(self.writes) + sum(self.later) + self.reads[-1]

    def _written(self) -> int:
        """Bytes written so far: of a Delta table all that lies there, as nothing is vacuumed."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


class OurTable(Peer):
    """The keyed table of an upsert dataset: a batch is an append, and a fold is made when the table says it is due."""

    def __init__(self, folder: Path, spark: SparkSession) -> None:
        super().__init__("KeyedTable", folder)
        self.folded_after: set[int] = set()
        self._spark = spark
        self._active: list[tuple[str, int]] = []
        self._table = KeyedTable(
            path=str(folder / "table"),
            name="bench",
            comment="",
            key=(Column(name=KEY, type="string"),),
            payload=tuple(Column(name=name, type=kind) for name, kind in PAYLOAD.items()),
            mode=Mode.PATCH,
        )

    def load(self, prepared: Prepared) -> None:
        ensure(self._spark, self._table.table)
        self._write(0, prepared.base)
        folded = folding.fold(self._spark, self._table, self._active, CommitInfo(job="bench"))
        if not folded.runs:
            raise RuntimeError(f"nothing was folded: {folded}")

    def _write(self, number: int, batch: Path) -> float:
        began = time.monotonic()
        run = Run(f"b{number}", number + 1)
        frame = self._spark.read.parquet(str(batch)).select(*_COLUMNS, ORD)
        runs.write_run(
            self._spark, self._table, frame, run, datetime.now(UTC), CommitInfo(job="bench"), Fault.FRAGMENTS
        )
        self._active.append((run.batch_id, run.seq))
        return time.monotonic() - began

    def _tidy(self) -> float:
        began = time.monotonic()
        if not folding.fold_due(self._spark, self._table, self._active):
            return time.monotonic() - began
        folded = folding.fold(self._spark, self._table, self._active, CommitInfo(job="bench"))
        if not folded.runs:
            raise RuntimeError(f"nothing was folded: {folded}")
        self.folded_after.add(len(self.writes) - 1)
        return time.monotonic() - began

    def _read(self) -> tuple[float, Sums]:
        began = time.monotonic()
        runs.read(self._spark, self._table, self._active).createOrReplaceTempView("keyed_table")
        sums = tuple(map(int, self._spark.sql(checking_query("keyed_table", "unix_timestamp")).collect()[0]))
        return time.monotonic() - began, sums


class DeltaMerge(Peer):
    """Delta Lake's own MERGE, by Spark."""

    def __init__(self, folder: Path, spark: SparkSession, *, deletion_vectors: bool) -> None:
        super().__init__(f"MERGE {'with deletion vectors' if deletion_vectors else 'as shipped'}", folder)
        self._spark = spark
        self._at = f"delta.`{folder / 'table'}`"
        self._properties = "TBLPROPERTIES (delta.enableDeletionVectors = true)" if deletion_vectors else ""

    def load(self, prepared: Prepared) -> None:
        columns = ", ".join(f"{name} {kind}" for name, kind in {KEY: "string", **PAYLOAD}.items())
        self._spark.sql(f"CREATE TABLE {self._at} ({columns}) USING delta {self._properties}").collect()
        rows = f"SELECT {', '.join(_COLUMNS)} FROM parquet.`{prepared.base}`"
        self._spark.sql(f"INSERT INTO {self._at} {rows}").collect()

    def _write(self, number: int, batch: Path) -> float:
        began = time.monotonic()
        self._spark.sql(
            f"MERGE INTO {self._at} t USING parquet.`{batch}` s ON t.{KEY} = s.{KEY} "
            f"WHEN MATCHED THEN UPDATE SET {_KEPT} WHEN NOT MATCHED THEN INSERT {_INSERTED}"
        ).collect()
        return time.monotonic() - began

    def _read(self) -> tuple[float, Sums]:
        began = time.monotonic()
        sums = tuple(map(int, self._spark.sql(checking_query(self._at, "unix_timestamp")).collect()[0]))
        return time.monotonic() - began, sums


class InOwnProcess(Peer):
    """A contestant that is a library: every call is made in a new process, and is timed there."""

    blocks_written = 0

    def _call(self, function: Any, *arguments: Any) -> Any:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            answer, used = process.submit(_with_usage, function, *arguments).result()
        # In kilobytes on Linux, in bytes on macOS.
        self.peak_bytes = max(self.peak_bytes, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        self.blocks_written += used.ru_oublock
        return answer

    def _write(self, number: int, batch: Path) -> float:
        seconds: float = self._call(self.apply, str(self.folder), str(batch))
        return seconds

    def _read(self) -> tuple[float, Sums]:
        answer: tuple[float, Sums] = self._call(self.sums, str(self.folder))
        return answer

    def load(self, prepared: Prepared) -> None:
        self._call(self.make, str(self.folder), str(prepared.base))
        self.peak_bytes = 0


class DeltaRs(InOwnProcess):
    """delta-rs, the Rust implementation of Delta, by its MERGE."""

    def __init__(self, folder: Path) -> None:
        super().__init__("delta-rs MERGE", folder)

    @staticmethod
    def make(folder: str, base: str) -> None:
        """Write the table."""
        deltalake.write_deltalake(f"{folder}/table", pq.ParquetFile(base).read(columns=list(_COLUMNS)))

    @staticmethod
    def apply(folder: str, batch: str) -> float:
        """Merge a batch; opening the table counts."""
        began = time.monotonic()
        table = deltalake.DeltaTable(f"{folder}/table")
        changes = pq.read_table(batch, columns=list(_COLUMNS))
        merge = table.merge(changes, f"t.{KEY} = s.{KEY}", source_alias="s", target_alias="t")
        merge.when_matched_update(
            {name: f"coalesce(s.{name}, t.{name})" for name in PAYLOAD}
        ).when_not_matched_insert_all().execute()
        return time.monotonic() - began

    @staticmethod
    def sums(folder: str) -> tuple[float, Sums]:
        """Sum the table up with its own query engine."""
        began = time.monotonic()
        query = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(f"{folder}/table"))
        rows = query.execute(checking_query("t", "to_unixtime")).read_all()
        return time.monotonic() - began, tuple(int(column[0].as_py()) for column in rows.columns)


class DuckDb(InOwnProcess):
    """DuckDB, a database of its own format; the connection is made before the clock starts, as a server has it."""

    def __init__(self, folder: Path) -> None:
        super().__init__("DuckDB ON CONFLICT", folder)

    def _written(self) -> int:
        # It writes into one file, and into a log that it removes again.
        return self.blocks_written * 512

    @staticmethod
    def make(folder: str, base: str) -> None:
        """Write the table, with its primary key."""
        kinds = {"string": "varchar", "timestamp": "timestamptz"}
        columns = ", ".join(f"{name} {kinds.get(kind, kind)}" for name, kind in PAYLOAD.items())
        with duckdb.connect(f"{folder}/table.duckdb") as connection:
            connection.execute(f"create table t ({KEY} varchar primary key, {columns})")
            connection.execute(f"insert into t select {', '.join(_COLUMNS)} from '{base}'")

    @staticmethod
    def apply(folder: str, batch: str) -> float:
        """Insert a batch; ends with the commit, the checkpoint at the connection's end does not count."""
        kept = ", ".join(f"{name} = coalesce(excluded.{name}, {name})" for name in PAYLOAD)
        with duckdb.connect(f"{folder}/table.duckdb") as connection:
            began = time.monotonic()
            connection.execute(
                f"insert into t select {', '.join(_COLUMNS)} from '{batch}' on conflict do update set {kept}"
            )
            return time.monotonic() - began

    @staticmethod
    def sums(folder: str) -> tuple[float, Sums]:
        """Sum the table up."""
        with duckdb.connect(f"{folder}/table.duckdb") as connection:
            began = time.monotonic()
            row = connection.execute(checking_query("t", "epoch")).fetchone()
            return time.monotonic() - began, tuple(map(int, row or ()))


def _with_usage(function: Any, *arguments: Any) -> tuple[Any, resource.struct_rusage]:
    return function(*arguments), resource.getrusage(resource.RUSAGE_SELF)
