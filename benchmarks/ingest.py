"""How fast raw JSON lines become rows, beside Spark's and DuckDB's bare parse of the same file.

Bare: both read the file with the fields' types and write Parquet; no rule is checked, nothing is refused or numbered,
and no commit is made. They stand for what the cores can do, not for peers that do the same work.
"""

import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from benchmarks._engine import own_engine
from benchmarks.results import Result
from jobs.catalog.database import Catalog
from jobs.catalog.definitions import Definitions
from jobs.ingest import job
from jobs.ingest.models import IngestParams
from jobs.ingest.service.batches import IngestService
from jobs.ingest.service.running import ingest
from jobs.session.client import new_session_id, open_session
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.settings import Settings
from jobs.turns import new_attempt

LINES = 700_000
# HotSpot optimizes what a parse runs for about seven rounds of each kind; then it is warm.
WARMING, ROUNDS = 7, 12
_FIELDS = {
    "personID": "string",
    "personalEmail.address": "string",
    "person.name.firstName": "string",
    "person.name.lastName": "string",
    "homeAddress.city": "string",
    "loyalty.points": "long",
    "modified": "timestamp",
}
_DDL = (
    "personID string, personalEmail struct<address string>, "
    "person struct<name struct<firstName string, lastName string>>, "
    "homeAddress struct<city string>, loyalty struct<points bigint>, modified timestamp"
)
_DUCKDB_TYPES = (
    "{personID: 'varchar', personalEmail: 'struct(address varchar)', "
    "person: 'struct(name struct(firstName varchar, lastName varchar))', homeAddress: 'struct(city varchar)', "
    "loyalty: 'struct(points bigint)', modified: 'timestamp'}"
)
_ENGINE = Engine.parse("embedded")


def run(lines: int = LINES) -> list[Result]:
    """Measure on an engine of its own."""
    with own_engine() as settings:
        return measured(settings, lines, batch_rows=50_000)


def measured(settings: Settings, lines: int, batch_rows: int) -> list[Result]:
    """Ingest one file again and again as batches of their own, and smaller batches as an upsert dataset gets them."""
    with TemporaryDirectory(prefix="tessera-bench-") as folder:
        file, small = Path(folder) / "rows.jsonl", Path(folder) / "batch.jsonl"
        megabytes, small_megabytes = _write_rows(file, lines) / 1e6, _write_rows(small, batch_rows) / 1e6
        with Catalog.open(settings.catalog_url, settings.store.sandbox, "bench") as catalog:
            catalog.apply(_definitions(), datetime.now(UTC))
            seconds = _rounds(
                {
                    "land": lambda n: _parse_and_land(catalog, settings, file, n),
                    "whole": lambda n: _whole_job(catalog, settings, file, f"whole-{n}"),
                    "small": lambda n: _whole_job(catalog, settings, small, f"small-{n}"),
                    "spark": lambda n: _spark(settings, file, Path(folder) / f"spark-{n}"),
                    "duckdb": lambda n: _duckdb(file, Path(folder) / f"{n}.parquet"),
                }
            )
    speeds = {name: [megabytes / one for one in taken] for name, taken in seconds.items()}
    return [
        Result(f"file of {lines} JSON lines of {len(_FIELDS)} fields", megabytes, "MB"),
        Result.median("raw JSON lines, parse and land", speeds["land"], "MB/s", 20),
        Result.median("raw JSON lines, the whole job of an upsert dataset, warm", speeds["whole"], "MB/s", 8),
        Result.median("Spark, bare parse and write of Parquet", speeds["spark"], "MB/s"),
        Result.median("DuckDB, bare parse and write of Parquet", speeds["duckdb"], "MB/s"),
        Result(f"file of one batch, {batch_rows} JSON lines", small_megabytes, "MB"),
        Result.median("one batch, the whole job: check, parse, land, upsert, record", seconds["small"], "s"),
    ]


def _rounds(contestants: dict[str, Callable[[int], float]]) -> dict[str, list[float]]:
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(ROUNDS):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            taken = contestants[name](number)
            if number >= WARMING:
                seconds[name].append(taken)
    return seconds


def _definitions() -> Definitions:
    identities = {
        "personID": {"identity": {"namespace": "CRMID", "primary": True}},
        "personalEmail.address": {"identity": {"namespace": "Email"}},
    }
    fields = [{"path": path, "type": kind, **identities.get(path, {})} for path, kind in _FIELDS.items()]
    shared = {"kind": "record", "fields": fields}
    return Definitions.model_validate(
        {
            "namespaces": [{"code": "CRMID", "type": "Cross_device"}, {"code": "Email", "type": "Email"}],
            "datasets": [{"id": "landed", **shared}, {"id": "whole", "enabled": True, "upsert": True, **shared}],
        }
    )


def _parse_and_land(catalog: Catalog, settings: Settings, file: Path, number: int) -> float:
    """Run the Spark job of a dataset that goes to the lake alone, in a session that is open already."""
    service = IngestService(catalog, settings)
    params = IngestParams(dataset="landed", files=(str(file),), batch_id=f"landed-{number}")
    batch = service.accept(params)
    attempt = new_attempt(settings, _ENGINE, "bench")
    plan = service.begin(batch.id, attempt)
    if plan is None:
        raise RuntimeError(f"batch {batch.id} is there already")
    with open_session(settings, _ENGINE, attempt.session_id) as spark:
        began = time.monotonic()
        result = job.run(spark, plan, LogProgress())
        seconds = time.monotonic() - began
    service.finish(plan, attempt, result)
    return seconds


def _whole_job(catalog: Catalog, settings: Settings, file: Path, batch_id: str) -> float:
    """Do all that `tessera ingest` does: digest, record, session, parse, lake, fragments, links."""
    params = IngestParams(dataset="whole", files=(str(file),), batch_id=batch_id)
    began = time.monotonic()
    ingest(catalog, settings, _ENGINE, params)
    return time.monotonic() - began


def _spark(settings: Settings, file: Path, target: Path) -> float:
    with open_session(settings, _ENGINE, new_session_id()) as spark:
        began = time.monotonic()
        spark.read.schema(_DDL).json(str(file)).write.parquet(str(target))
        return time.monotonic() - began


def _duckdb(file: Path, target: Path) -> float:
    with duckdb.connect() as connection:
        began = time.monotonic()
        connection.execute(
            f"copy (from read_json(?, format = 'newline_delimited', columns = {_DUCKDB_TYPES})) to '{target}'",
            [str(file)],
        )
        return time.monotonic() - began


def _write_rows(file: Path, rows: int) -> int:
    draw = random.Random(7)
    with file.open("w", encoding="utf-8") as out:
        for number in range(rows):
            name = {
                "firstName": draw.choice(["Ann", "Bob", "Chloé", "다은"]),
                "lastName": draw.choice(["Smith", "Müller", "Kim", "García"]),
            }
            row = {
                "personID": f"c{number:08}",
                "personalEmail": {"address": f"person.{number}@example.org"},
                "person": {"name": name},
                "homeAddress": {"city": draw.choice(["Paris", "Lyon", "서울"])},
                "loyalty": {"points": draw.randrange(100_000)},
                "modified": f"2024-0{draw.randrange(1, 10)}-1{draw.randrange(10)}T10:20:{draw.randrange(10, 60)}Z",
            }
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return file.stat().st_size
