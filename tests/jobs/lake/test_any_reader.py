"""Every table opens in the tools that analysts use, with readable names and values."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import duckdb_ext
import polars
import pytest
from deltalake import DeltaTable

from jobs.faults import Fault
from jobs.lake.definition import ensure
from jobs.lake.fold import fold
from jobs.lake.keyed_table import Mode, Run
from jobs.lake.runs import write_run
from jobs.lake.schema import Column, Table
from jobs.lake.tables import replace_batch
from tests.jobs.lake.oracle import AT, COMMIT, LAST, NAME, frame, keyed_table, put

DEFAULTS = Path(__file__).parents[3] / "conf" / "spark-defaults.conf"
TIMESTAMPS = "spark.sql.parquet.outputTimestampType"
SEEN = datetime(2024, 2, 1, tzinfo=UTC)
ROWS = [put("Email:é", 0, **{NAME: "Zoé", "tags": ["a", None], "days": {"d": 2}, "points": 7, LAST: SEEN}), put("b", 1)]


@pytest.fixture(scope="module", params=["keyed", "batches"])
def table_path(request, spark, tmp_path_factory) -> str:
    tmp_path = tmp_path_factory.mktemp("readers")
    # As every engine of ours is started; a server that a developer keeps may be older than the file.
    spark.conf.set(
        TIMESTAMPS, dict(line.split() for line in DEFAULTS.read_text().splitlines() if TIMESTAMPS in line)[TIMESTAMPS]
    )
    rows = frame(spark, Mode.REPLACE, ROWS)
    if request.param == "keyed":
        keyed = keyed_table(str(tmp_path / "a b 한국" / "keyed"), Mode.REPLACE)
        ensure(spark, keyed.table)
        write_run(spark, keyed, rows, Run("b1", 1), AT, COMMIT, Fault.FRAGMENTS)
        fold(spark, keyed, [Run("b1", 1)], COMMIT)
        return keyed.path
    keyed = keyed_table(str(tmp_path / "none"), Mode.REPLACE)
    table = Table(
        path=str(tmp_path / "a b 한국" / "crm"),
        name="lake/crm",
        comment="Rows of CRM",
        columns=(*keyed.key, *keyed.payload, Column(name="_batch", type="string")),
    )
    ensure(spark, table)
    replace_batch(spark, table, rows.drop("_op", "_ord"), "b1", COMMIT, Fault.LAKE)
    return table.path


def with_duckdb(path: str) -> list[dict]:
    connection = duckdb.connect()
    duckdb_ext.init(connection)
    connection.execute("SET TimeZone = 'Asia/Seoul'")  # an instant is the same wherever it is read
    found = connection.execute("SELECT * FROM delta_scan($path) WHERE identity IS NOT NULL", {"path": path})
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def with_delta_rs(path: str) -> list[dict]:
    return DeltaTable(path).to_pyarrow_table().to_pylist(maps_as_pydicts="strict")


def with_polars(path: str) -> list[dict]:
    # Polars' own reader finds no file below a folder with a space or a letter outside ASCII: it takes the URL's text.
    plain = shutil.copytree(path, Path(path).parent.parent / "plain")
    return polars.read_delta(str(plain)).to_dicts()


def with_polars_by_pyarrow(path: str) -> list[dict]:
    return polars.read_delta(path, use_pyarrow=True).to_dicts()


def with_pandas(path: str) -> list[dict]:
    return DeltaTable(path).to_pandas().to_dict("records")


@pytest.mark.parametrize("read", [with_delta_rs, with_duckdb, with_polars, with_polars_by_pyarrow, with_pandas])
def test_a_table_opens_in(read, table_path):
    row = next(row for row in read(table_path) if row["identity"] == "Email:é")
    assert (row[NAME], row["points"], list(row["tags"])) == ("Zoé", 7, ["a", None])
    assert row[LAST] == SEEN
    assert row["days"] in ({"d": 2}, [("d", 2)], [{"key": "d", "value": 2}])
