"""Exports of a view of profiles: memory at two sizes, and what an incremental export costs beside a full one.

Each size has an engine of its own, of a heap so small that the smaller export fills it, too: else what is compared is
how far a collector lets a heap grow that has room. An export that brought rows to the driver would not come to its end
there. The counters of every export are held to what the view was made of, and to the rows of its table; else the
benchmark ends without a figure.
"""

import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession, functions as F

from benchmarks._engine import PeakMemory, own_engine
from benchmarks.results import Result
from jobs.catalog.definitions import Dataset
from jobs.catalog.refreshes import CutTable
from jobs.catalog.union_schema import UnionLeaf, UnionSchema
from jobs.exports import job
from jobs.exports.models import ExportPlan, ExportResult
from jobs.faults import Fault
from jobs.lake.commits import CommitInfo
from jobs.lake.definition import ensure
from jobs.lake.keyed_table import AT, BASE, LEVEL, OP, ORD, PART, PUT, RUN_ID, SEQ, KeyedTable
from jobs.lake.runs import hash_of
from jobs.lake.store import Store
from jobs.lake.tables import replace_where
from jobs.merge_policies.models import IDENTITY_MAP
from jobs.profiles.models import ARE_PRIMARY, HAS_RECORDS, IDENTITIES, IDENTITY_COUNT, PROFILE_ID, UPDATED_AT
from jobs.profiles.transforms import profiles_table
from jobs.session.client import new_session_id, open_session
from jobs.session.engines import Engine
from jobs.settings import Settings

ROWS = 1_000_000
GROWTH = 10
MEMORY = "640m"
_CHANGED_SHARE = 100  # one in so many profiles changed since
_WITH_COOKIE = 4  # one in so many has a cookie beside its e-mail address
_PROFILES_A_BUCKET = 250_000
_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
_COMMIT = CommitInfo(job="bench", batch="bench")
_LEAVES = tuple(
    UnionLeaf(name=name, type=kind, datasets=("crm",))
    for name, kind in {
        "personID": "string",
        "person.name.firstName": "string",
        "person.name.lastName": "string",
        "homeAddress.city": "string",
        "loyalty.tier": "string",
        "loyalty.points": "integer",
        "loyalty.joined": "timestamp",
        "tags": "array<string>",
    }.items()
)
_UNION = UnionSchema(leaves=(*_LEAVES, UnionLeaf(name=IDENTITY_MAP, type=IDENTITY_MAP, datasets=())), datasets=("crm",))


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str, **counts: int | str) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Measured:
    """What one size cost."""

    profiles: int
    peak_bytes: int
    full_seconds: float
    incremental_seconds: float


def run(rows: int = ROWS, growth: int = GROWTH, memory: str = MEMORY) -> list[Result]:
    """Export `rows` profiles, and `growth` times as many, each fully and incrementally."""
    small, large = (_measured(size, memory) for size in (rows, rows * growth))
    found = []
    for one in (small, large):
        name = f"{one.profiles:,} profiles"
        found += [
            Result(f"{name}: full export", one.full_seconds, "s"),
            Result(f"{name}: incremental export of {100 // _CHANGED_SHARE} %", one.incremental_seconds, "s"),
            Result(f"{name}: largest resident memory of the engine", one.peak_bytes / 1e6, "MB"),
        ]
    return [
        *found,
        Result(f"memory at {growth} times the profiles", large.peak_bytes / small.peak_bytes, "x", 1.3, at_most=True),
        Result("incremental to full, of the larger", large.incremental_seconds / large.full_seconds, "x"),
    ]


def _measured(profiles: int, memory: str) -> Measured:
    with TemporaryDirectory(prefix="tessera-bench-") as folder:
        # The engine that makes the view is gone when the export is measured.
        with own_engine(memory, Path(folder)) as settings, _session(settings) as spark:
            _make_view(spark, settings, profiles)
        with own_engine(memory, Path(folder)) as settings, PeakMemory(settings) as peak, _session(settings) as spark:
            # The first one pays for compiling.
            _export(spark, settings, profiles, _SINCE)
            full = _export(spark, settings, profiles, None)
            incremental = _export(spark, settings, profiles, _SINCE)
        return Measured(profiles, peak.bytes, full, incremental)


def _session(settings: Settings) -> AbstractContextManager[SparkSession]:
    return open_session(settings, Engine.parse("embedded"), new_session_id())


def _export(spark: SparkSession, settings: Settings, profiles: int, since: datetime | None) -> float:
    plan = _plan(settings, since)
    began = time.monotonic()
    result = job.run(spark, plan, Silent())
    seconds = time.monotonic() - began
    _require_right(result, plan, profiles // _CHANGED_SHARE if since else profiles)
    sys.stderr.write(f"{profiles:,} profiles, {result.profiles:,} exported in {seconds:.1f} s\n")
    return seconds


def _require_right(result: ExportResult, plan: ExportPlan, wanted: int) -> None:
    name = f"exports/{plan.dataset.id}"
    lying = DeltaTable(plan.store.at(name), version=result.tables[name].version).to_pyarrow_dataset().count_rows()
    if not result.profiles == result.by_namespace["Email"] == lying == wanted:
        raise RuntimeError(f"{wanted} profiles were to be exported, counted are {result.profiles}, {lying} lie there")


def _plan(settings: Settings, since: datetime | None) -> ExportPlan:
    return ExportPlan(
        store_root=settings.store_root,
        sandbox="bench",
        job_id="1",
        dataset=Dataset.model_validate({"id": "people", "kind": "profiles"}),
        cut=1,
        policy_id="default",
        policy_version=1,
        view=CutTable(name="profiles/default", place="profiles/default/g1", version=_version(settings)),
        leaves=_LEAVES,
        codes=("Email", "ECID"),
        max_identities=settings.graph.max_identities,
        updated_after=since,
        commit=_COMMIT,
    )


def _version(settings: Settings) -> int:
    return DeltaTable(Store(settings.store_root, "bench").at("profiles/default/g1")).version()


def _make_view(spark: SparkSession, settings: Settings, profiles: int) -> None:
    """Write a view of folded profiles, as refreshes leave it."""
    view = profiles_table(Store(settings.store_root, "bench"), "default", 1, _UNION)
    ensure(spark, view.table)
    rows = _rows(spark, view, profiles)
    replace_where(spark, view.table, rows, f"{LEVEL} = '{BASE}'", _COMMIT, Fault.PROFILES)


def _rows(spark: SparkSession, view: KeyedTable, profiles: int) -> DataFrame:
    number = F.col("id")
    email = F.concat(F.lit("Email:p"), number, F.lit("@example.org"))
    cookie = F.concat(F.lit("ECID:"), F.lpad(number.cast("string"), 38, "7"))
    identities = F.when(number % _WITH_COOKIE == 0, F.array(cookie, email)).otherwise(F.array(email))
    is_changed = number % _CHANGED_SHARE == 0
    buckets = max(1, profiles // _PROFILES_A_BUCKET)
    given = {
        PROFILE_ID: F.md5(number.cast("string")),
        "personID": F.concat(F.lit("c"), number),
        "person.name.firstName": F.concat(F.lit("First "), number % 5000),
        "person.name.lastName": F.concat(F.lit("Last "), number % 70_000),
        "homeAddress.city": F.when(number % 3 > 0, F.concat(F.lit("City "), number % 900)),
        "loyalty.tier": F.when(number % 5 == 0, F.lit("gold")),
        "loyalty.points": (number % 1000).cast("int"),
        "loyalty.joined": F.lit(_SINCE - timedelta(days=400)),
        "tags": F.array(F.lit("a"), F.concat(F.lit("t"), number % 50)),
        IDENTITIES: identities,
        ARE_PRIMARY: F.transform(identities, lambda identity: F.startswith(identity, F.lit("Email:"))),
        IDENTITY_COUNT: F.size(identities),
        HAS_RECORDS: F.lit(True),
        UPDATED_AT: F.lit(_SINCE) + F.make_dt_interval(F.when(is_changed, F.lit(1)).otherwise(F.lit(-1))),
        OP: F.lit(PUT),
        SEQ: F.lit(1).cast("bigint"),
        ORD: F.lit(0).cast("bigint"),
        AT: F.lit(_SINCE),
        RUN_ID: F.lit(None).cast("string"),
        LEVEL: F.lit(BASE),
    }
    rows = spark.range(profiles).withColumns(given)
    place = F.concat(F.lit(f"{buckets}-"), F.pmod(hash_of([PROFILE_ID]), F.lit(buckets)).cast("string"))
    others = [column for column in view.payload if column.name not in given]
    empty = {column.name: F.lit(None).cast(column.type) for column in others}
    whole = rows.withColumns({PART: place, **empty}).drop("id")
    return whole.repartition(buckets, PART)
