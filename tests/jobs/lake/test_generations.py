from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.errors import InvalidRequest, StoreError
from jobs.lake.generations import is_empty, purge
from jobs.lake.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(str(tmp_path / "store 집"), "prod")
    for generation, values in ((1, ["Ann"]), (2, [])):
        rows = pa.table({"name": pa.array(values, pa.string())})
        write_deltalake(store.generation_path("fragments", "crm", generation), rows)
    return store


def test_a_purge_leaves_no_byte_of_its_generation_and_touches_no_other(store):
    assert purge(store, "fragments", "crm", 1)
    assert sorted(path.name for path in Path(store.path("fragments", "crm")).iterdir()) == ["g2"]
    assert not purge(store, "fragments", "crm", 1)


def test_a_generation_is_empty_until_a_row_is_written(store):
    assert [is_empty(store, "fragments", "crm", generation) for generation in (1, 2, 3)] == [False, True, True]


def test_a_purge_cannot_leave_its_table(store):
    with pytest.raises(InvalidRequest):
        purge(store, "fragments", "..", 1)
    with pytest.raises(InvalidRequest):
        purge(store, "fragments", "crm", -1)


def test_what_the_file_system_refuses_is_a_store_error(store):
    other = Path(store.generation_path("fragments", "crm", 1))
    path = other.with_name("g7")
    path.write_text("not a directory")
    with pytest.raises(StoreError, match="generation 7 of fragments/crm"):
        purge(store, "fragments", "crm", 7)
