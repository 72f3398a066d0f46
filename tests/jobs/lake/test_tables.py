import json
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession, functions as F

from jobs.errors import Conflict, InvalidRequest, NotFound, StoreError
from jobs.faults import Fault
from jobs.lake.commits import CommitInfo
from jobs.lake.definition import ensure
from jobs.lake.log import bytes_here, files_here, properties_here
from jobs.lake.schema import Column, Table, canonical_type
from jobs.lake.sql import table_at
from jobs.lake.store import Store
from jobs.lake.tables import drop_batch, exists, read, replace_batch, though_altered
from tests.disks import CannotMount, full, mounted
from tests.jobs.lake.racing import race

COMMIT = CommitInfo(job="ingest", batch="b1", attempt="1", run="manual__1")
COLUMNS = (
    Column(name="person.name.firstName", type="string", comment='Given name: it\'s \\ "${env:HOME}" 이름'),
    Column(name="tags", type="array<string>"),
    Column(name="days", type="map<string,long>"),
    Column(name="points", type="long", comment="Points"),
    Column(name="_seq", type="long", comment="Order of batches"),
    Column(name="_batch", type="string", comment="Batch"),
)
ROWS_SCHEMA = "`person.name.firstName` string, tags array<string>, days map<string,bigint>, points bigint, _seq bigint"


@pytest.fixture
def table(tmp_path: Path) -> Table:
    store = Store(str(tmp_path / "a b'\"`한국 [x"), "prod")
    return Table(
        path=store.path("lake", "crm"),
        name="lake/crm",
        comment="Rows of CRM; ${env:HOME} isn't read",
        columns=COLUMNS,
        personal=frozenset({"person.name.firstName", "tags", "days"}),
    )


def rows(spark: SparkSession, *names: str, seq: int = 1):
    return spark.createDataFrame([(name, ["x", None], {"d": 1}, None, seq) for name in names], ROWS_SCHEMA)


def names_of(spark: SparkSession, table: Table) -> list[str]:
    return sorted(row[0] for row in read(spark, table.path).select("`person.name.firstName`").collect())


def test_a_batch_is_written_once_however_often_it_is_written(spark, table):
    ensure(spark, table)
    replace_batch(spark, table, rows(spark, "Ann"), "b0", COMMIT, Fault.LAKE)
    first = replace_batch(spark, table, rows(spark, "Bob", "Zoé"), "b1", COMMIT, Fault.LAKE)
    again = replace_batch(spark, table, rows(spark, "Bob", "Zoé"), "b1", COMMIT, Fault.LAKE)
    assert (first.rows, first.files > 0, first.bytes > 0, again.version - first.version) == (2, True, True, 1)
    assert names_of(spark, table) == ["Ann", "Bob", "Zoé"]
    assert replace_batch(spark, table, rows(spark), "b0", COMMIT, Fault.LAKE).rows == 0
    drop_batch(spark, table, "b1", COMMIT)
    drop_batch(spark, table, "unknown", COMMIT)
    assert names_of(spark, table) == []


def test_the_log_says_without_spark_what_spark_says(spark, table):
    assert (properties_here(table.path), files_here(table.path), bytes_here(table.path, ["_batch"])) == (None,) * 3
    ensure(spark, table)
    assert bytes_here(table.path, ["_batch"]) == {}
    for batch in ("b0", "b1", "b1"):
        replace_batch(spark, table, rows(spark, "Ann", "Bob"), batch, COMMIT, Fault.LAKE)
    said = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {table_at(table.path)}").collect()}
    protocol = {"delta.minReaderVersion": "1", "delta.minWriterVersion": "2"}
    assert properties_here(table.path) | protocol == said
    named = (files_here(table.path), read(spark, table.path).inputFiles())
    found, wanted = (sorted(name.rpartition("/_batch=")[2] for name in names) for names in named)
    assert found == wanted
    assert {name.partition("/")[0] for name in found} == {"b0", "b1"}
    files = read(spark, table.path).select("_batch", "_metadata.file_path", "_metadata.file_size").distinct()
    by_batch = files.groupBy("_batch").agg(F.sum("file_size").alias("bytes")).collect()
    assert bytes_here(table.path, ["_batch"]) == {(row["_batch"],): row["bytes"] for row in by_batch}


def test_of_two_writers_of_one_batch_at_once_the_rows_of_one_are_left(spark, other_session, table):
    ensure(spark, table)
    replace_batch(spark, table, rows(spark, "Ann"), "b0", COMMIT, Fault.LAKE)
    ended = race(
        lambda: replace_batch(spark, table, rows(spark, "Bob", "Zoé"), "b1", COMMIT, Fault.LAKE),
        lambda: replace_batch(other_session, table, rows(other_session, "Bob", "Zoé"), "b1", COMMIT, Fault.LAKE),
    )
    assert [isinstance(each, Conflict) for each in ended].count(True) <= 1
    assert names_of(spark, table) == ["Ann", "Bob", "Zoé"]


def test_rows_that_came_beside_an_append_are_replaced_after_all(spark, other_session, table):
    ensure(spark, table)
    late = rows(spark, "Bob").select("*", F.lit("b1").alias("_batch"))

    class Beside(CommitInfo):
        """Somebody else writes once it is known that there is nothing to replace."""

        def user_metadata(self) -> str:
            late.write.format("delta").mode("append").save(table.path)
            return super().user_metadata()

    written = replace_batch(other_session, table, rows(other_session, "Bob"), "b1", Beside(job="ingest"), Fault.LAKE)
    assert written.rows == 1
    assert names_of(spark, table) == ["Bob"]


def test_a_table_says_what_it_is_and_its_log_holds_no_personal_value(spark, table):
    ensure(spark, table)
    ensure(spark, table)
    replace_batch(spark, table, rows(spark, "Ann"), "b1", COMMIT, Fault.LAKE)
    opened = DeltaTable(table.path)
    assert opened.version() == 1
    assert opened.protocol().min_reader_version == 1
    assert opened.metadata().description == table.comment
    fields = {field.name: field for field in opened.schema().fields}
    assert fields["person.name.firstName"].metadata["comment"] == COLUMNS[0].comment
    log = "".join(path.read_text() for path in Path(table.path, "_delta_log").glob("*.json"))
    assert '\\"_seq\\":1' in log
    assert "Ann" not in log
    metadata = json.loads(opened.history(1)[0]["userMetadata"])
    assert {key: metadata[key] for key in ("job", "batch", "attempt", "run")} == COMMIT.model_dump()


def test_a_table_gains_columns_and_comments_and_refuses_other_changes(spark, table):
    ensure(spark, table)
    replace_batch(spark, table, rows(spark, "Ann"), "b1", COMMIT, Fault.LAKE)
    gained = Column(name="a.new", type="decimal(10,2)", comment="New")
    commented = COLUMNS[3].model_copy(update={"comment": "Other"})
    wider = table.model_copy(update={"columns": (*COLUMNS[:3], commented, *COLUMNS[4:], gained), "comment": "Changed"})
    ensure(spark, wider)
    ensure(spark, wider)
    opened = DeltaTable(table.path)
    assert opened.metadata().description == "Changed"
    assert opened.to_pyarrow_table().to_pylist()[0]["a.new"] is None
    assert {f.name: f.metadata.get("comment") for f in opened.schema().fields}["points"] == "Other"
    assert "`a.new`" in opened.metadata().configuration["delta.dataSkippingStatsColumns"]
    changed = COLUMNS[3].model_copy(update={"type": "string"})
    breaking = table.model_copy(update={"columns": (*COLUMNS[:3], changed, *COLUMNS[4:]), "partitioned_by": ()})
    with pytest.raises(Conflict) as refused:
        ensure(spark, breaking)
    for part in ("points: bigint in the table, string in the definition", "a.new", "partitions: _batch in the table"):
        assert part in str(refused.value)


def test_rows_of_other_columns_are_refused_naming_both_sides(spark, table):
    ensure(spark, table)
    wrong = rows(spark, "Ann").selectExpr("`person.name.firstName`", "tags", "days", "cast(points as int)", "1 as more")
    with pytest.raises(StoreError) as refused:
        replace_batch(spark, table, wrong, "b1", COMMIT, Fault.LAKE)
    for part in ("points: bigint in the table, int in the rows", "_seq: bigint in the table, absent", "more: absent"):
        assert part in str(refused.value)
    assert names_of(spark, table) == []


@pytest.mark.parametrize("batch_id", ["", "a'b", "x" * 65, "b1\n", "b 1", "b1' or '1'='1"])
def test_a_batch_id_that_could_leave_its_predicate_is_refused(spark, table, batch_id):
    with pytest.raises(InvalidRequest, match="batch id"):
        replace_batch(spark, table, rows(spark, "Ann"), batch_id, COMMIT, Fault.LAKE)


@pytest.mark.parametrize("condition", ["DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED"])
def test_a_write_is_made_again_when_the_table_was_altered_beside_it(condition):
    refusals = [PySparkException("altered", condition), PySparkException("altered", condition)]

    def write():
        if refusals:
            raise refusals.pop()

    though_altered("lake/crm", write)
    assert refusals == []
    refusals.extend([PySparkException("altered", condition)] * 9)
    with pytest.raises(Conflict, match=f"lake/crm: another writer altered the table meanwhile; .*{condition}"):
        though_altered("lake/crm", write)


def test_a_write_that_lost_its_rows_to_another_is_not_made_again():
    refusals = [PySparkException("lost", "DELTA_CONCURRENT_APPEND.WITHOUT_HINT")]

    def write():
        raise refusals.pop()

    with pytest.raises(Conflict, match="lake/crm: another writer changed the same rows meanwhile"):
        though_altered("lake/crm", write)


def test_reading_where_there_is_no_table_names_the_path(spark, tmp_path):
    with pytest.raises(NotFound, match="no table at"):
        read(spark, str(tmp_path / "none"))
    assert not exists(spark, str(tmp_path / "none"))


def test_types_are_compared_as_spark_prints_them():
    assert canonical_type("MAP<string, Long>") == "map<string,bigint>"
    assert canonical_type("struct<Long:INTEGER, b_c:decimal(10,2)>") == "struct<Long:int,b_c:decimal(10,2)>"


def test_a_definition_with_two_columns_of_one_name_is_refused():
    with pytest.raises(ValueError, match="differ by more than case"):
        Table(path="/x", name="t", comment="", columns=(Column(name="a", type="int"), Column(name="A", type="int")))


def test_a_table_whose_creation_failed_on_a_full_disk_is_created_once_there_is_room(spark, tmp_path, table):
    try:
        with mounted(tmp_path / "small") as folder:
            on_small = table.model_copy(update={"path": str(folder / "table")})
            with full(folder), pytest.raises(StoreError, match=r"lake/crm.*disk is full"):
                ensure(spark, on_small)
            ensure(spark, on_small)
            ensure(spark, table)
            opened, other = DeltaTable(on_small.path), DeltaTable(table.path)
            assert opened.metadata().configuration == other.metadata().configuration
            assert opened.metadata().partition_columns == other.metadata().partition_columns
    except CannotMount as refused:
        pytest.skip(f"no file system can be mounted here: {refused}")
