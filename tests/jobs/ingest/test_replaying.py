"""Replays: which files a new batch is made of, and that refused rows of every format go in again."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt, Batch
from jobs.errors import Conflict, InvalidRequest, NotFound
from jobs.ingest.models import IngestParams
from jobs.ingest.service.batches import IngestService
from jobs.ingest.service.replaying import ReplayParams, accept_replay
from jobs.settings import Settings
from tests.builders import (
    CITY,
    FIRST,
    Row,
    crm,
    customer,
    definitions,
    field,
    nested,
    write_csv,
    write_jsonl,
    write_text,
)
from tests.jobs.ingest.workshop import Workshop


@dataclass
class Desk:
    """A catalog, and a quarantine that is written by hand."""

    catalog: Catalog
    settings: Settings
    folder: Path

    def ingested(self, *files: Path, ends: str = "ACTIVE", **more: Any) -> Batch:
        """A batch b1 of files, ended without its Spark work."""
        params = IngestParams(dataset="crm", files=tuple(map(str, files)), batch_id="b1", **more)
        IngestService(self.catalog, self.settings).accept(params, "test")
        attempt = Attempt(id="first")
        if ends != "NEW":
            self.catalog.begin_attempt("b1", attempt)
        if ends == "ACTIVE":
            self.catalog.finish("b1", attempt, {})
        elif ends == "FAILED":
            self.catalog.fail("b1", attempt, "broken", final=True)
        return self.catalog.batch("b1")

    def refuse(self, *rows: tuple[str, int, str], rule: str = "wrong_type", batch: str = "b1") -> None:
        """Quarantine rows: file, line, raw."""
        path = f"{self.settings.store_root}/prod/quarantine/crm"
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        table = [
            {"raw": raw, "file": file, "line": line, "rule": rule, "message": "", "_batch": batch}
            for file, line, raw in rows
        ]
        write_deltalake(path, pa.Table.from_pylist(table), partition_by=["_batch"], mode="append")

    def replay(self, **more: Any) -> Batch:
        return accept_replay(self.catalog, self.settings, ReplayParams(batch="b1", **more), "test")

    def written(self, **more: Any) -> dict[str, bytes]:
        """The files that a replay of the refused rows is made of."""
        batch = self.replay(from_quarantine=True, **more)
        files = [Path(file.path) for file in batch.files]
        assert {file.parent for file in files} == {self.settings.home / "replays" / "prod" / batch.id}
        return {file.name: gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
                for file, data in ((file, file.read_bytes()) for file in files)}  # fmt: skip


@pytest.fixture
def desk(settings: Settings, tmp_path: Path) -> Iterator[Desk]:
    settings.home.mkdir(parents=True)
    with Catalog.open(settings.catalog_url, "prod", "test") as catalog:
        catalog.apply(definitions(crm()))
        yield Desk(catalog, settings, tmp_path)


def rows_file(desk: Desk, name: str = "rows.jsonl") -> Path:
    return write_jsonl(desk.folder / name, [customer("c1"), customer("c2")])


@pytest.mark.parametrize("ends", ["ACTIVE", "FAILED"])
def test_a_replay_is_a_new_batch_of_the_same_files(desk: Desk, ends: str) -> None:
    former = desk.ingested(rows_file(desk), ends=ends)
    batch = desk.replay()
    assert batch.id != former.id
    assert (batch.status, batch.dataset_id, batch.files) == ("NEW", "crm", former.files)
    assert batch.request["replays"] == {"batch": "b1", "rows": "all"}


def test_a_replay_reads_the_files_in_the_format_that_the_batch_named(desk: Desk) -> None:
    former = desk.ingested(write_jsonl(desk.folder / "rows.txt", [customer()]), format="jsonl")
    assert desk.replay().files == former.files


def test_a_file_that_changed_is_a_conflict_that_names_it(desk: Desk) -> None:
    file = rows_file(desk)
    desk.ingested(file)
    text = file.read_text()
    file.write_text(text.replace("c1", "c3"))
    with pytest.raises(Conflict, match=r"batch 'b1': rows\.jsonl has other bytes .*--from-quarantine"):
        desk.replay()
    file.write_text("[")
    with pytest.raises(Conflict, match=r"rows\.jsonl has 1 bytes in place of \d+"):
        desk.replay()
    file.unlink()
    with pytest.raises(NotFound, match=r"rows\.jsonl: no such file"):
        desk.replay()
    assert [batch.id for batch in desk.catalog.batches()] == ["b1"]


@pytest.mark.parametrize("ends", ["NEW", "PROCESSING"])
def test_a_batch_that_has_not_ended_is_not_replayed(desk: Desk, ends: str) -> None:
    desk.ingested(rows_file(desk), ends=ends)
    with pytest.raises(Conflict, match=f"batch 'b1' is {ends}; only one that is ACTIVE or FAILED"):
        desk.replay()


def test_a_replay_under_a_given_id_is_made_once(desk: Desk) -> None:
    desk.ingested(rows_file(desk))
    desk.refuse(("rows.jsonl", 1, "{}"))
    again = desk.replay(batch_id="again")
    assert desk.replay(batch_id="again") == again
    with pytest.raises(Conflict, match="batch 'again' exists and is no replay of these rows"):
        desk.replay(batch_id="again", from_quarantine=True)
    assert not (desk.settings.home / "replays").exists()
    refused = desk.replay(batch_id="refused", from_quarantine=True)
    desk.refuse(("rows.jsonl", 2, "{}"))
    assert desk.replay(batch_id="refused", from_quarantine=True) == refused
    with pytest.raises(Conflict, match="batch 'b1' exists and is no replay"):
        desk.replay(batch_id="b1")


def test_refused_json_lines_are_written_as_they_came_in_their_order(desk: Desk) -> None:
    desk.ingested(rows_file(desk), rows_file(desk, "more.ndjson.gz"))
    desk.refuse(("rows.jsonl", 12, '{"personID": 12.50}'), ("rows.jsonl", 2, '{"person  ID":'), ("rows.jsonl", 3, "다"))
    desk.refuse(("more.ndjson.gz", 1, "null"))
    desk.refuse(("rows.jsonl", 1, "[\0]"))
    desk.refuse(("rows.jsonl", 4, "caf\xe9\x80"), rule="bad_encoding")
    desk.refuse(("rows.jsonl", 1, "of another batch"), batch="b2")
    assert desk.written(batch_id="n1") == {
        "rows.jsonl": '[\0]\n{"person  ID":\n다\n'.encode() + b"caf\xe9\x80\n" + b'{"personID": 12.50}\n',
        "more.ndjson.gz": b"null\n",
    }
    batch = desk.catalog.batch("n1")
    assert batch.request["replays"] == {"batch": "b1", "rows": "quarantined"}
    assert {file.format for file in batch.files} == {"jsonl"}


def test_refused_json_lines_need_no_file(desk: Desk) -> None:
    file = rows_file(desk)
    desk.ingested(file)
    desk.refuse(("rows.jsonl", 1, "{}"))
    file.unlink()
    assert desk.written() == {"rows.jsonl": b"{}\n"}


def test_refused_csv_lines_come_under_the_header_of_their_file(desk: Desk) -> None:
    first = write_text(desk.folder / "a.csv", f"personID,{CITY}\r\nc1,Paris\r\n")
    second = write_text(desk.folder / "b.csv.gz", f"\ufeffpersonID,{FIRST}\nc1,Ann\n")
    third = write_text(desk.folder / "c.txt", "personID\nc1\n")
    desk.ingested(first, second)
    desk.refuse(("a.csv", 3, "c3,서울"), ("a.csv", 2, '"'), ("b.csv.gz", 5, "c5,a,b"))
    assert desk.written(batch_id="n1") == {
        "a.csv": f'personID,{CITY}\n"\nc3,서울\n'.encode(),
        "b.csv.gz": f"\ufeffpersonID,{FIRST}\nc5,a,b\n".encode(),
    }
    del third


def test_a_csv_file_named_otherwise_gets_a_suffix_that_says_what_it_is(desk: Desk) -> None:
    desk.ingested(write_text(desk.folder / "rows.txt", "personID\nc1\n"), format="csv")
    desk.refuse(("rows.txt", 2, '"'))
    assert desk.written() == {"rows.txt.csv": b'personID\n"\n'}


def test_refused_csv_lines_are_written_in_the_encoding_that_the_dataset_has_now(desk: Desk) -> None:
    korean = write_text(desk.folder / "rows.csv", f"personID,{CITY}\nc1,{'x' * 70_000}\nc2,서울\n", "cp949")
    desk.ingested(korean)
    desk.refuse(("rows.csv", 3, "c2,서울".encode("cp949").decode("iso-8859-1")), rule="bad_encoding")
    desk.refuse(("rows.csv", 2, "c1,한"))
    desk.catalog.apply(definitions(crm(csv={"encoding": "CP949"})))
    assert desk.written(batch_id="n1") == {"rows.csv": f"personID,{CITY}\nc1,한\nc2,서울\n".encode("cp949")}
    desk.catalog.apply(definitions(crm(csv={"encoding": "ISO-8859-1"})))
    with pytest.raises(InvalidRequest, match=r"rows\.csv line 2: the row cannot be written as ISO-8859-1"):
        desk.written(batch_id="n2")
    assert [path.name for path in (desk.settings.home / "replays" / "prod").iterdir()] == ["n1"]


def test_a_csv_file_must_still_be_there_unchanged_for_its_header(desk: Desk) -> None:
    file = write_csv(desk.folder / "rows.csv", [{"personID": "c1"}])
    desk.ingested(file)
    desk.refuse(("rows.csv", 2, "c1"))
    file.write_text("personID,other\n")
    with pytest.raises(Conflict, match=r"rows\.csv: the file is not the same any more, so the header"):
        desk.written()
    file.unlink()
    with pytest.raises(NotFound, match=r"rows\.csv: the file is gone, and with it the header"):
        desk.written()


def test_files_of_one_name_and_different_headers_are_not_told_apart(desk: Desk) -> None:
    first = write_csv(desk.folder / "a" / "rows.csv", [{"personID": "c1"}])
    second = write_csv(desk.folder / "b" / "rows.csv", [{"personID": "c1", CITY: "x"}])
    desk.ingested(first, second)
    desk.refuse(("rows.csv", 2, "c1"))
    with pytest.raises(InvalidRequest, match=r"rows\.csv: 2 files of the batch have this name and different headers"):
        desk.written()


def test_refused_rows_of_arrays_and_parquet_are_written_as_json(desk: Desk) -> None:
    array = write_text(desk.folder / "rows.json", json.dumps([customer("c1")]))
    parquet = desk.folder / "rows.parquet"
    pq.write_table(pa.table({"personID": ["c1"], CITY: ["Paris"]}), parquet)
    desk.ingested(array, parquet)
    raw = {"personID": "c1", CITY: "Séoul", "person": {"name": {"firstName": "A"}}}
    number = '"loyalty.points":12.500,"big":12345678901234567890.10,"list":[1,null,true]'
    desk.refuse(("rows.json", 1, '{"personID":1.50}'))
    desk.refuse(("rows.parquet", 1, json.dumps(raw, ensure_ascii=False)[:-1] + f", {number}}}"))
    written = desk.written()
    assert written["rows.json.jsonl"] == b'{"personID":1.50}\n'
    row = written["rows.parquet.jsonl"].decode()
    assert json.loads(row) == {
        "personID": "c1",
        "homeAddress": {"city": "Séoul"},
        "person": {"name": {"firstName": "A"}},
        "loyalty": {"points": 12.5},
        "big": 12345678901234567890.10,
        "list": [1, None, True],
    }
    assert '"points":12.500' in row
    assert '"big":12345678901234567890.10' in row


def test_a_batch_without_refused_rows_has_nothing_to_replay(desk: Desk) -> None:
    desk.ingested(rows_file(desk))
    with pytest.raises(InvalidRequest, match="batch 'b1' has no row in the quarantine"):
        desk.replay(from_quarantine=True)
    desk.refuse(("rows.jsonl", 1, "{}"), batch="b2")
    with pytest.raises(InvalidRequest, match="there is nothing to replay"):
        desk.replay(from_quarantine=True)


def test_what_a_killed_replay_left_behind_is_replaced(desk: Desk) -> None:
    desk.ingested(rows_file(desk))
    desk.refuse(("rows.jsonl", 1, "{}"))
    left: Row = {"personID": "half"}
    write_jsonl(desk.settings.home / "replays" / "prod" / "n1" / "rows.jsonl", [left])
    assert desk.written(batch_id="n1") == {"rows.jsonl": b"{}\n"}


def test_refused_rows_of_every_format_are_taken_once_the_definition_takes_them(workshop: Workshop) -> None:
    more = [field("seen", "timestamp"), field("price", "decimal(10,2)"), field("tags", "array<string>")]
    narrow = crm(csv={"encoding": "CP949"}, fields=[*crm()["fields"], *more, field("color", enum=["rot"])])
    workshop.apply(narrow)
    seen, rows = datetime(2024, 1, 2, 3, 4, 5, 123456, tzinfo=UTC), {}
    for form in ("jsonl", "json", "csv", "parquet"):
        flat = {"personID": form, CITY: "서울", "price": "12.50", "color": "bleu", "seen": seen.isoformat()}
        rows[form] = [flat, flat | {"personID": f"good {form}", "color": "rot"}]
    folder = workshop.folder
    files = [
        write_jsonl(folder / "a.jsonl", map(nested, rows["jsonl"])),
        write_text(folder / "b.json", json.dumps([nested(row) for row in rows["json"]])),
        write_csv(folder / "c.csv", rows["csv"], "cp949"),
        folder / "d.parquet",
    ]
    typed = [row | {"seen": seen, "price": Decimal("12.50"), "tags": ["x", None]} for row in rows["parquet"]]
    pq.write_table(pa.Table.from_pylist(typed), files[-1])
    first = workshop.ingest_files("crm", *files, batch_id="b1")
    assert (first.landed, first.refused) == (4, {"not_in_enum": 4})

    workshop.apply(narrow | {"fields": [*narrow["fields"][:-1], field("color", enum=["rot", "bleu"])]})
    params = ReplayParams(batch="b1", from_quarantine=True, batch_id="r1")
    attempt = Attempt(id="again", run="test")
    plan = workshop.service.begin(accept_replay(workshop.catalog, workshop.settings, params).id, attempt)
    assert plan is not None
    assert workshop.run(plan, attempt).equation.startswith("4 rows read = 4 applied")
    taken = workshop.table("lake", "crm").where("_batch = 'r1'").orderBy("_ord")
    assert [
        tuple(row) for row in taken.select("personID", f"`{CITY}`", "price", "seen", "tags", "_file").collect()
    ] == [
        ("jsonl", "서울", Decimal("12.50"), naive(seen), None, "a.jsonl"),
        ("json", "서울", Decimal("12.50"), naive(seen), None, "b.json.jsonl"),
        ("csv", "서울", Decimal("12.50"), naive(seen), None, "c.csv"),
        ("parquet", "서울", Decimal("12.50"), naive(seen), ["x", None], "d.parquet.jsonl"),
    ]


def naive(instant: datetime) -> datetime:
    """An instant as Spark gives it to Python: without a zone, in this machine's."""
    return instant.astimezone().replace(tzinfo=None)
