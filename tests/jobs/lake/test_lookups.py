from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.errors import NotFound, StoreError
from jobs.lake.keyed_table import KeyedTable, Mode, key_hash
from jobs.lake.lookups import lookup
from jobs.lake.schema import Column

COLUMNS = pa.schema(
    [
        *[pa.field(name, pa.string()) for name in ("policy", "profile_id", "city", "_op", "_run", "_level", "_part")],
        *[pa.field(name, pa.int64()) for name in ("_seq", "_ord")],
        pa.field("_at", pa.timestamp("us", tz="UTC")),
    ]
)


@pytest.fixture
def table(tmp_path) -> KeyedTable:
    return KeyedTable(
        path=str(tmp_path / "뷰 profiles"),
        name="profiles",
        comment="One row per profile",
        key=(Column(name="policy", type="string"), Column(name="profile_id", type="string")),
        payload=(Column(name="city", type="string"),),
        mode=Mode.REPLACE,
    )


def write(table: KeyedTable, *rows: dict) -> None:
    write_deltalake(
        table.path, pa.Table.from_pylist(list(rows), schema=COLUMNS), partition_by=["_level", "_part"], mode="append"
    )


def row(level: str, part: str, seq: int, city: str | None = None, op: str = "put") -> dict:
    key = {"policy": "p", "profile_id": "가"}
    return {**key, "city": city, "_op": op, "_level": level, "_part": part, "_seq": seq, "_ord": 0}


def base(seq: int, city: str) -> dict:
    return row("base", f"3-{key_hash(('p', '가')) % 3}", seq, city)


def city(table: KeyedTable, *active: tuple[str, int]) -> str | None:
    found = lookup(table, ("p", "가"), active)
    return found["city"] if found else None


def test_the_newest_row_among_active_runs_and_the_bucket_is_found(table):
    write(table, base(1, "Paris"), row("run", "b2", 2, "Lyon"), row("run", "b3", 3, "Nice"))
    assert city(table) == "Paris"
    assert city(table, ("b2", 2)) == "Lyon"
    assert city(table, ("b2", 2), ("b3", 3)) == "Nice"
    assert lookup(table, ("p", "other"), [("b2", 2)]) is None


def test_a_deleted_key_and_a_bucket_without_files_give_nothing(table):
    write(table, row("run", "b2", 2, op="delete"))
    assert city(table) is None
    write(table, base(1, "Paris"))
    assert city(table, ("b2", 2)) is None


def test_a_run_that_was_folded_and_written_again_does_not_count(table):
    write(table, row("run", "b1", 1, "Paris"), {"_level": "folded", "_part": "2-1", "_run": "b1", "_seq": 1})
    assert city(table, ("b1", 1)) is None
    assert city(table, ("b1", 3)) == "Paris"


def test_where_there_is_no_table_the_path_is_named(table):
    with pytest.raises(NotFound, match="뷰 profiles"):
        city(table)


def test_combined_rows_are_not_looked_up_without_spark(table):
    with pytest.raises(ValueError, match="needs mode replace or patch"):
        city(table.model_copy(update={"mode": Mode.COMBINE}))


def test_a_version_whose_files_are_gone_is_an_error_of_the_store(table):
    write(table, base(1, "Paris"))
    for file in Path(table.path).glob("_level=base/*/*.parquet"):
        file.unlink()
    with pytest.raises(StoreError, match="profiles cannot be read at version 0"):
        city(table)
    with pytest.raises(StoreError, match="cannot be read at version 7"):
        lookup(table, ("p", "가"), [], version=7)
