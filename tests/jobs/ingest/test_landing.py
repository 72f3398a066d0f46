"""Batches into the lake: what a user does, and what the tables then hold."""

from decimal import Decimal

import pytest

from jobs.catalog.records import BatchStatus
from jobs.errors import Conflict, InvalidRequest
from jobs.ingest.models import TooManyRefused
from tests.builders import (
    CITY,
    CRM_ROWS,
    EMAIL,
    FIRST,
    PRICE,
    WEB_ROWS,
    at,
    customer,
    event,
    web,
    write_csv,
    write_jsonl,
)
from tests.jobs.ingest.workshop import Workshop


def test_several_files_of_several_formats_are_one_batch_in_the_order_of_their_names(workshop: Workshop) -> None:
    workshop.apply()
    folder = workshop.folder
    third = write_jsonl(folder / "c.jsonl.gz", [customer("c3", **{FIRST: "다", CITY: "서울"})])
    first = write_csv(folder / "a.csv", [{"personID": "c1", FIRST: "Zoé", CITY: "Orléans"}])
    second = write_jsonl(folder / "b.ndjson", [customer("c2", **{FIRST: "Bob"})])
    result = workshop.ingest_files("crm", third, first, second, at=at(1))
    assert result.equation == "3 rows read = 3 applied + 0 superseded + 0 duplicate events + 0 quarantined"
    assert workshop.lake("crm", "personID", FIRST, CITY, "_file", "_ord", "_seq") == [
        ("c1", "Zoé", "Orléans", "a.csv", 1, 1),
        ("c2", "Bob", None, "b.ndjson", 2**40, 1),
        ("c3", "다", "서울", "c.jsonl.gz", 2 * 2**40, 1),
    ]
    assert list((folder / "store" / "prod" / "staging").iterdir()) == []


def test_an_active_batch_is_not_begun_again_and_its_id_is_not_for_other_files(workshop: Workshop) -> None:
    workshop.apply()
    rows = write_jsonl(workshop.folder / "rows.jsonl", CRM_ROWS)
    result = workshop.ingest_files("crm", rows, batch_id="b1", at=at(1))
    version = workshop.table("lake", "crm")
    again, _ = workshop.plan("crm", [rows], batch_id="b1")
    assert again is None
    assert workshop.batch("b1").result == result.document()
    assert version.count() == 2
    write_jsonl(rows, CRM_ROWS[:1])
    with pytest.raises(Conflict, match=r"batch 'b1' was created with other files: rows\.jsonl has"):
        workshop.plan("crm", [rows], batch_id="b1")


def test_an_attempt_that_died_is_overwritten_by_the_next(workshop: Workshop) -> None:
    workshop.apply()
    rows = [write_jsonl(workshop.folder / "rows.jsonl", [*WEB_ROWS, {"_id": 1.5}])]
    plan, attempt = workshop.plan("web", rows, batch_id="b1", at=at(3))
    assert plan is not None
    from jobs.ingest import job
    from tests.jobs.ingest.workshop import Silent

    job.run(workshop.spark, plan, Silent())
    result = workshop.run(plan, attempt)
    assert (result.read, result.landed, result.quarantined) == (5, 4, 1)
    assert workshop.lake("web", "_id", PRICE) == [("e1", Decimal(20)), ("e2", Decimal(5)), ("e3", None), ("e4", None)]
    assert workshop.quarantine("web") == [("rows.jsonl", 5, "wrong_type")]


def test_a_batch_with_every_row_refused_fails_and_keeps_only_its_quarantine(workshop: Workshop) -> None:
    workshop.apply()
    workshop.ingest("crm", *CRM_ROWS, batch_id="good")
    with pytest.raises(
        TooManyRefused, match=r"2 of 2 rows are refused \(every row\).*wrong_type 2 times.*line 1|2 of 2"
    ):
        workshop.ingest("crm", {"personID": True}, {"personID": []}, batch_id="bad")
    assert workshop.batch("bad").status is BatchStatus.FAILED
    assert [row[0] for row in workshop.lake("crm", "_batch")] == ["good", "good"]
    assert workshop.quarantine("crm", "_batch", "line", "rule") == [("bad", 1, "wrong_type"), ("bad", 2, "wrong_type")]


def test_a_larger_share_of_refused_rows_than_the_setting_allows_fails_the_batch(workshop: Workshop) -> None:
    workshop.apply()
    rows = [customer("c1"), customer("c2"), {"personID": True}]
    workshop.bounded(max_refused_share=0.3)
    with pytest.raises(TooManyRefused, match=r"1 of 3 rows are refused \(33\.3%, more than the 30\.0% allowed\)"):
        workshop.ingest("crm", *rows)
    workshop.bounded(max_refused_share=0.4)
    assert workshop.ingest("crm", *rows).refused == {"wrong_type": 1}


def test_a_file_without_a_row_is_refused(workshop: Workshop) -> None:
    workshop.apply()
    header_only = write_csv(workshop.folder / "header.csv", [{"personID": "", EMAIL: ""}])
    header_only.write_text(header_only.read_text().splitlines()[0] + "\n\n  \n")
    with pytest.raises(InvalidRequest, match=r"header\.csv: no row to ingest"):
        workshop.ingest_files("crm", header_only)


def test_zoneless_instants_are_read_in_the_timezone_of_the_dataset(workshop: Workshop) -> None:
    workshop.apply(web(timezone="Asia/Seoul"))
    workshop.ingest("web", event("e1", timestamp="2024-01-02 09:00"), event("e2", timestamp="2024-01-02T09:00:00Z"))
    stamps = workshop.table("lake", "web").selectExpr("_id", "cast(timestamp as string)").orderBy("_id").collect()
    assert [tuple(row) for row in stamps] == [("e1", "2024-01-02 00:00:00"), ("e2", "2024-01-02 09:00:00")]
