"""Files that only Spark sees through, and what changes while a batch is under way."""

from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.catalog.records import BatchStatus
from jobs.errors import InvalidRequest, NotFound, TesseraError
from tests.builders import CRM_ROWS, crm, customer, field, identity, write_jsonl, write_text
from tests.jobs.ingest.workshop import Workshop

TYPED = crm(
    enabled=False,
    fields=[
        identity("personID", "CRMID", primary=True),
        field("born", "date"),
        field("seen", "timestamp"),
        field("score", "double"),
        field("spent", "decimal(8,2)"),
        field("lists.tags", "array<string>"),
        field("lists.counts", "map<string,long>"),
    ],
)


def refused(workshop: Workshop, *files: Path) -> str:
    with pytest.raises(TesseraError) as caught:
        workshop.ingest_files("crm", *files)
    assert isinstance(caught.value, InvalidRequest)
    assert workshop.catalog.batches("crm")[0].status is BatchStatus.FAILED
    return str(caught.value)


def test_files_that_only_spark_sees_through_fail_the_batch_with_one_sentence(workshop: Workshop) -> None:
    workshop.apply(TYPED)
    folder = workshop.folder
    for number, text in enumerate(('[{"personID": "c1"},]', '[{"personID": "c1"}] x', "[" * 5000, "[]")):
        assert "holds no JSON array with a row" in refused(workshop, write_text(folder / f"{number}.json", text))
    frame = pandas.DataFrame({"personID": ["c1"], "surprise": [1]})
    frame.to_parquet(folder / "unknown.parquet")
    assert "no field for column 'surprise'" in refused(workshop, folder / "unknown.parquet")
    frame.rename(columns={"surprise": "born"}).to_parquet(folder / "typed.parquet")
    assert "column 'born' is bigint, and the field date" in refused(workshop, folder / "typed.parquet")
    pq.write_table(pa.table({"seen": pa.array([1], pa.timestamp("ns"))}), folder / "nanos.parquet")
    assert "write microseconds" in refused(workshop, folder / "nanos.parquet")
    whole = (folder / "typed.parquet").read_bytes()
    (folder / "torn.parquet").write_bytes(whole[:-20])
    assert "the files cannot be read" in refused(workshop, folder / "torn.parquet")


def test_parquet_values_are_taken_as_they_are_nested_or_flat(workshop: Workshop) -> None:
    workshop.apply(TYPED)
    table = pa.table(
        {
            "personID": ["c1", "c2"],
            "born": pa.array([0, None], pa.date32()),
            "seen": pa.array([10**15, None], pa.timestamp("us")),
            "score": pa.array([1.5, float("nan")], pa.float32()),
            "spent": pa.array([150, 2], pa.int64()),
            "lists": [{"tags": ["가", None], "counts": [("a", 1)]}, None],
        },
        schema=pa.schema(
            [
                ("personID", pa.string()),
                ("born", pa.date32()),
                ("seen", pa.timestamp("us")),
                ("score", pa.float32()),
                ("spent", pa.int64()),
                ("lists", pa.struct([("tags", pa.list_(pa.string())), ("counts", pa.map_(pa.string(), pa.int64()))])),
            ]
        ),
    )
    pq.write_table(table, workshop.folder / "in.parquet")
    result = workshop.ingest_files("crm", workshop.folder / "in.parquet")
    # A double that is no number is no value of JSON, and none here.
    assert result.refused == {"wrong_type": 1}
    (row,) = workshop.table("lake", "crm").collect()
    assert (str(row["born"]), row["seen"].year, row["score"], str(row["spent"])) == ("1970-01-01", 2001, 1.5, "150.00")
    assert (row["lists.tags"], row["lists.counts"]) == (["가", None], {"a": 1})


def test_a_file_that_is_gone_when_its_batch_begins_fails_the_batch(workshop: Workshop) -> None:
    workshop.apply()
    lines = write_jsonl(workshop.folder / "b.jsonl", CRM_ROWS)
    plan, attempt = workshop.plan("crm", [lines], batch_id="later")
    assert plan is not None
    lines.unlink()
    with pytest.raises(NotFound, match=r"a file of the batch is gone"):
        workshop.run(plan, attempt)
    assert workshop.batch("later").status is BatchStatus.FAILED


def test_a_dataset_disabled_while_a_batch_is_under_way_is_what_it_was_when_the_batch_began(workshop: Workshop) -> None:
    workshop.apply()
    plan, attempt = workshop.plan("crm", [write_jsonl(workshop.folder / "in.jsonl", CRM_ROWS)])
    assert plan is not None
    workshop.apply(crm(enabled=False))
    workshop.run(plan, attempt)
    workshop.ingest("crm", customer("c9"))
    workshop.apply()
    assert set(workshop.fragments("crm")) == {"CRMID:c1", "CRMID:c2"}
    assert workshop.table("lake", "crm").count() == 3
