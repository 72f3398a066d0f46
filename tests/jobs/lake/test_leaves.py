"""What a table has inside its structs, and how many nulls."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from jobs.errors import StoreError
from jobs.lake.leaves import Leaf, count_nulls, leaves

FIRST = pa.struct([("firstName", pa.string())])
SHAPE = pa.schema(
    [
        pa.field("profile_id", pa.string(), metadata={"comment": "Id of the profile"}),
        pa.field("person", pa.struct([pa.field("name", FIRST)])),
        ("tags", pa.list_(pa.string())),
        ("identityMap", pa.map_(pa.string(), pa.list_(pa.struct([("id", pa.string()), ("primary", pa.bool_())])))),
        ("a.b", pa.int32()),
        ("_batch", pa.string()),
    ]
)
ROWS = [
    {"profile_id": "p1", "person": {"name": {"firstName": "Ann"}}, "tags": ["x"], "identityMap": {}, "_batch": "b1"},
    {"profile_id": "p2", "person": {"name": None}, "tags": [], "identityMap": None, "a.b": 7, "_batch": "b1"},
    {"profile_id": None, "person": None, "tags": None, "identityMap": {"Email": [{"id": "a"}]}, "_batch": None},
]


@pytest.fixture
def table(tmp_path: Path) -> DeltaTable:
    """Three rows in two files, and one of another shape: it was written once the table had gained a column."""
    path = str(tmp_path / "a b 한국")
    write_deltalake(path, pa.Table.from_pylist(ROWS, schema=SHAPE), partition_by=["_batch"])
    grown = SHAPE.append(pa.field("seen", pa.timestamp("us", tz="UTC")))
    late = pa.Table.from_pylist([{"profile_id": "p4", "a.b": 1, "seen": 0, "_batch": "b2"}], schema=grown)
    write_deltalake(path, late, mode="append", schema_mode="merge")
    return DeltaTable(path)


def test_the_fields_of_a_struct_are_told_one_by_one(table: DeltaTable) -> None:
    assert leaves(table) == [
        Leaf(path=("profile_id",), type="string", comment="Id of the profile"),
        Leaf(path=("person", "name", "firstName"), type="string"),
        Leaf(path=("tags",), type="array<string>"),
        Leaf(path=("identityMap",), type="map<string,array<struct<id:string,primary:boolean>>>"),
        Leaf(path=("a.b",), type="integer"),
        Leaf(path=("_batch",), type="string"),
        Leaf(path=("seen",), type="timestamp"),
    ]


def test_an_empty_list_is_not_null_and_a_leaf_of_a_null_struct_is(table: DeltaTable) -> None:
    assert count_nulls(table, leaves(table)) == {
        "profile_id": 1,
        "person.name.firstName": 3,
        "tags": 2,
        "identityMap": 2,
        "a.b": 2,
        "_batch": 1,
        "seen": 3,
    }


def test_a_table_without_rows_has_no_nulls(table: DeltaTable) -> None:
    table.delete()
    assert set(count_nulls(table, leaves(table)).values()) == {0}


def test_a_file_that_is_gone_is_named(table: DeltaTable, tmp_path: Path) -> None:
    lost = next(tmp_path.rglob("*.parquet"))
    lost.unlink()
    with pytest.raises(StoreError, match=lost.name):
        count_nulls(table, leaves(table))
