"""How fast raw JSON lines become rows: the whole ingest of one batch, warm, beside DuckDB's bare parse of the file.

DuckDB reads the same file with the same types and writes Parquet: no quarantine, no row numbers, no commit. It stands
for what the cores can do, not for a peer that does the same work.
"""

import json
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from benchmarks.results import Result
from jobs.catalog.database import Catalog
from jobs.catalog.definitions import Dataset, DatasetField, DatasetKind, Definitions
from jobs.ingest.models import IngestParams
from jobs.ingest.service.running import ingest
from jobs.session.engines import Engine
from jobs.settings import load_settings

ROWS = 600_000
ROUNDS = 3
_FIELDS = {
    "id": "string",
    "first": "string",
    "city": "string",
    "tier": "string",
    "points": "long",
    "spent": "decimal(10,2)",
}


def run() -> list[Result]:
    """Ingest one file ROUNDS times as batches of their own, taking turns with DuckDB."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        megabytes = _write_rows(file) / 1e6
        settings = load_settings(
            store={"root": f"{folder}/store", "sandbox": "bench"}, catalog={"url": f"sqlite:///{folder}/c.db"}
        )
        fields = tuple(DatasetField(path=name, type=kind) for name, kind in _FIELDS.items())
        dataset = Dataset(id="rows", kind=DatasetKind.RECORD, fields=fields)
        ours, bare = [], []
        with Catalog.open(settings.catalog_url, "bench", "bench") as catalog:
            catalog.apply(Definitions(datasets=(dataset,)), datetime.now(UTC))
            for number in range(ROUNDS + 1):
                params = IngestParams(dataset="rows", files=(str(file),), batch_id=f"b{number}")
                began = time.monotonic()
                ingest(catalog, settings, Engine.parse(settings.engine.spark), params)
                ours.append(time.monotonic() - began)
                bare.append(_duckdb(file, Path(folder) / f"{number}.parquet"))
    # The first round warms both.
    mine, theirs = statistics.median(ours[1:]), statistics.median(bare[1:])
    return [
        Result("file", megabytes, "MB"),
        Result("whole ingest to lake and quarantine, warm, median", megabytes / mine, "MB/s"),
        Result("whole ingest, slowest round", megabytes / max(ours[1:]), "MB/s"),
        Result("DuckDB, parse and write Parquet only, median", megabytes / theirs, "MB/s"),
        Result("ratio of times, ours to DuckDB's bare parse", mine / theirs, "x"),
    ]


def _write_rows(file: Path) -> int:
    draw = random.Random(7)
    with file.open("w", encoding="utf-8") as out:
        for number in range(ROWS):
            row = {
                "id": f"c{number:08}",
                "first": draw.choice(["Ann", "Bob", "Chloé", "다은"]),
                "city": draw.choice(["Paris", "Lyon", "서울"]),
                "tier": draw.choice(["gold", "silver"]),
                "points": draw.randrange(100_000),
                "spent": f"{draw.randrange(10_000_000) / 100:.2f}",
            }
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return file.stat().st_size


def _duckdb(file: Path, target: Path) -> float:
    types = (
        "{"
        + ", ".join(
            f"{name}: '{kind.replace('string', 'varchar').replace('long', 'bigint')}'" for name, kind in _FIELDS.items()
        )
        + "}"
    )
    began = time.monotonic()
    with duckdb.connect() as connection:
        connection.execute("set threads = 2")
        connection.execute(
            f"copy (from read_json(?, format = 'newline_delimited', columns = {types})) to '{target}'", [str(file)]
        )
    return time.monotonic() - began
