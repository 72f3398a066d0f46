"""Every rule has a row that breaks it, in every format in which it can be broken; and good rows in several languages.

One batch holds all of them, in four files; it is run a second time with splits of a few kilobytes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
import pytest
from pyspark.sql import SparkSession

from jobs.ingest import job, parsing
from jobs.ingest.models import FileFormat, IngestResult
from jobs.ingest.transforms import staging
from jobs.ingest.transforms.rules import RULES
from jobs.settings import Settings
from tests.builders import NAMESPACES, Row, at, field, identity, web, write_csv, write_text
from tests.jobs.ingest.workshop import Silent, Workshop

SECRET = "s3cret"
LONG = 11_000
ORDERS = web(
    id="orders",
    ttl_days=30,
    fields=[
        field("_id"),
        field("timestamp", "timestamp"),
        identity("customer.id", "CRMID", primary=True),
        field("order.price", "decimal(10,2)"),
        field("order.count", "integer"),
        field("order.items", "array<string>"),
        field("order.counts", "map<string,long>"),
        field("color", enum=["rot", "bleu"]),
        field("zip", pattern="^[0-9]{5}$"),
        field("mail", format="email"),
        field("store", required=True),
        field("day", "date"),
        field("weight", "double"),
        field("paid", "boolean"),
        field("note", **{"from": "Note text"}),
    ],
)
GOOD = {
    "_id": "g1",
    "timestamp": "2024-01-05T10:00:00+09:00",
    "customer.id": "고객-1",
    "order.price": 12.50,
    "order.count": 3,
    "color": "bleu",
    "zip": "01234",
    "mail": "zoé@exemple.fr",
    "store": "서울 강남점",
    "day": "2024-02-29",
    "weight": 1.5,
    "paid": True,
    "Note text": "Crème brûlée, « à la carte »; 크림 브륄레",
}
# Leaves to change in a good row, by the rule that the row then breaks.
BROKEN: tuple[tuple[str, Row], ...] = (
    ("wrong_type", {"order.price": SECRET}),
    ("wrong_type", {"order.price": "1.005"}),
    ("wrong_type", {"order.price": "123456789.00"}),
    ("wrong_type", {"order.count": "2147483648"}),
    ("wrong_type", {"weight": "NaN"}),
    ("wrong_type", {"paid": "yes"}),
    ("bad_timestamp", {"timestamp": "2024-02-30T00:00:00Z"}),
    ("bad_timestamp", {"timestamp": "1704448800"}),
    ("bad_timestamp", {"day": "01/02/2024"}),
    ("required", {"store": None}),
    ("not_in_enum", {"color": SECRET}),
    ("pattern_mismatch", {"zip": SECRET}),
    ("format_mismatch", {"mail": SECRET}),
    ("missing_id", {"_id": " "}),
    ("missing_timestamp", {"timestamp": None}),
    ("row_too_large", {"Note text": "y" * LONG}),
    ("missing_identity", {"customer.id": None}),
    ("bad_identity", {"customer.id": " "}),
    ("bad_identity", {"customer.id": "c" * 1025}),
    ("event_expired", {"timestamp": "2023-12-07T00:00:00Z"}),
    ("unknown_namespace", {"identityMap": {"Fax": [{"id": SECRET}]}}),
)
# What only JSON can get wrong.
BROKEN_JSON: tuple[tuple[str, Row], ...] = (
    ("unknown_field", {"order.prize": 1}),
    ("unknown_field", {SECRET + "@x.io": 1}),
    ("wrong_type", {"order": 5}),
    ("wrong_type", {"order.items": ["a", 1.5]}),
    ("wrong_type", {"order.counts": {"a": SECRET}}),
    ("wrong_type", {"store": 1.0}),
    ("wrong_type", {"identityMap": {"Email": [{"primary": True}]}}),
)
# What only a text of its own can get wrong, line by line.
BROKEN_LINES: tuple[tuple[str, bytes], ...] = (
    ("malformed_json", b'{"_id": "1"'),
    ("malformed_json", b'{"_id": "1", "_id": "2"}'),
    ("malformed_json", b'{"_id": "1"} {"_id": "2"}'),
    ("malformed_json", b'{"_id": "1"}]'),
    ("malformed_json", b"[1, 2]"),
    ("malformed_json", b"NULL"),
    ("malformed_json", b"[" * 5_000 + b"]" * 5_000),
    ("row_too_large", b'{"_id":' * 10_000 + b"1" + b"}" * 10_000),
    ("bad_encoding", b'{"_id": "\xe9"}'),
)


@dataclass
class Judged:
    """What a batch of every broken row became."""

    workshop: Workshop
    result: IngestResult
    expected: dict[str, list[str]]
    quarantine: list[tuple[Any, ...]]
    lake: list[tuple[Any, ...]]
    # Quarantine and lake once more: in many splits, and with the fast way of JSON lines, too.
    again: list[tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]]
    judged_late: int


def _nested(flat: Row) -> Row:
    row: Row = {}
    for path, value in flat.items():
        parts = path.split(".") if path.partition(".")[0] in ("order", "customer") else [path]
        parent = row
        for part in parts[:-1]:
            inner = parent.setdefault(part, {})
            parent = inner if isinstance(inner, dict) else {}
        if value is not None:
            parent[parts[-1]] = value
    return row


def _row(number: int, changes: Row) -> Row:
    base = {path: value for path, value in GOOD.items() if "order" not in changes or not path.startswith("order.")}
    return base | {"_id": f"r{number}"} | changes


def _write_all(folder: Path) -> tuple[list[Path], dict[str, list[str]]]:
    """Write a file of each format; returns the paths, and the expected rules by file, in order."""
    rows = [_row(number, changes) for number, (_, changes) in enumerate((*BROKEN, *BROKEN_JSON))]
    texts = [json.dumps(_nested(row), ensure_ascii=False).encode() for row in rows]
    good = json.dumps(_nested(GOOD), ensure_ascii=False).encode()
    array = folder / "b.json"
    array.write_bytes(b"\xef\xbb\xbf[\n " + b" ,\n".join([good, *texts, b"null", b'"text"']) + b"\n]\n")
    lines = folder / "a.jsonl"
    last = good.replace(b'"g1"', b'"g4"')
    lines.write_bytes(
        b"\xef\xbb\xbf" + b"\n".join([good, *texts, *(line for _, line in BROKEN_LINES), b" ", last + b"\r"])
    )
    flat = [
        {path: json.dumps(value) if isinstance(value, (dict, bool)) else value for path, value in row.items()}
        for row in (GOOD | {"_id": "g2", "identityMap": None}, *rows[: len(BROKEN)])
    ]
    table = write_csv(folder / "c.csv", flat)
    header = table.read_text(encoding="utf-8").splitlines()[0]
    extra = ["too,few", header, '"' + "," * (header.count(","))]
    table.write_text("\ufeff" + table.read_text(encoding="utf-8") + "\n".join(extra) + "\n", encoding="utf-8")
    frame = pandas.DataFrame([{**row, "paid": str(row["paid"])} for row in flat])
    # Rules that need what a column of one type cannot hold are broken by its text.
    texts_only = frame.astype("string").assign(
        identityMap=[row.get("identityMap") for row in (GOOD, *rows[: len(BROKEN)])]
    )
    columns = folder / "d.parquet"
    texts_only.to_parquet(columns)
    broken, broken_json = [rule for rule, _ in BROKEN], [rule for rule, _ in BROKEN_JSON]
    return [lines, array, table, columns], {
        "a.jsonl": [*broken, *broken_json, *(rule for rule, _ in BROKEN_LINES)],
        "b.json": [*broken, *broken_json, "malformed_json", "malformed_json"],
        "c.csv": [*broken, "malformed_csv", "repeated_header", "malformed_csv"],
        "d.parquet": broken,
    }


@pytest.fixture(scope="module")
def judged(
    spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Judged]:
    folder = tmp_path_factory.mktemp("rules")
    with Workshop.open(spark, engine_settings, folder) as workshop:
        workshop.apply(ORDERS, namespaces=NAMESPACES)
        files, expected = _write_all(folder)
        plan, attempt = workshop.plan("orders", files, batch_id="all", at=at(6))
        assert plan is not None
        names = ("_id", "timestamp", "customer.id", "order.price", "order.count", "paid", "note", "_ord", "_profile")
        result = workshop.run(plan, attempt)
        quarantine = workshop.quarantine("orders", "file", "line", "rule", "message", "raw")
        lake = workshop.lake("orders", *names)
        spark.conf.set("spark.sql.files.maxPartitionBytes", "8000")
        spark.conf.set("spark.sql.files.openCostInBytes", "0")
        again, late = [], []
        try:
            for look_from in (staging._LOOK_FROM_BYTES, 0):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(staging, "_LOOK_FROM_BYTES", look_from)
                    patch.setattr(parsing, "judged_late", lambda *args: late.append(args) or staging.judged_late(*args))
                    job.run(spark, plan, Silent())
                found = workshop.quarantine("orders", "file", "line", "rule", "message", "raw")
                again.append((found, workshop.lake("orders", *names)))
        finally:
            spark.conf.unset("spark.sql.files.maxPartitionBytes")
            spark.conf.unset("spark.sql.files.openCostInBytes")
        yield Judged(workshop, result, expected, quarantine, lake, again, len(late))


@pytest.mark.parametrize("file", ["a.jsonl", "b.json", "c.csv", "d.parquet"])
def test_each_broken_row_is_refused_by_its_rule(judged: Judged, file: str) -> None:
    assert [row[2] for row in judged.quarantine if row[0] == file] == judged.expected[file]


def test_every_rule_of_the_table_has_a_row_that_breaks_it(judged: Judged) -> None:
    assert set(judged.result.refused) == {rule.id for rule in RULES}


def test_no_message_holds_a_value_and_each_names_file_and_line(judged: Judged) -> None:
    for file, line, _, message, _ in judged.quarantine:
        assert message.startswith(f"{file} line {line}: ")
        assert SECRET not in message


def test_the_quarantine_keeps_the_text_of_the_row(judged: Judged) -> None:
    raw = {(row[0], row[1]): row[4] for row in judged.quarantine}
    first = len(BROKEN) + len(BROKEN_JSON) + 2
    kept = [raw["a.jsonl", first + number] for number in range(len(BROKEN_LINES))]
    assert [text.encode("latin-1") for text in kept] == [line for _, line in BROKEN_LINES]
    assert raw["c.csv", len(BROKEN) + 3] == "too,few"


def test_lines_are_those_of_the_file(judged: Judged) -> None:
    count = len(BROKEN) + len(BROKEN_JSON) + len(BROKEN_LINES)
    lines = {file: [row[1] for row in judged.quarantine if row[0] == file] for file in judged.expected}
    assert lines["a.jsonl"] == list(range(2, 2 + count))
    assert lines["c.csv"][0] == 3
    assert lines["d.parquet"][0] == 2


def test_good_rows_keep_their_letters_and_their_exact_values_in_every_format(judged: Judged) -> None:
    good = {row[0]: row for row in judged.lake if row[0].startswith("g") and row[7] < 2**40}
    assert set(good) == {"g1", "g4"}
    for row in judged.lake:
        if row[0].startswith("g"):
            assert (row[1].hour, row[2], str(row[3]), row[4], row[5]) == (1, "고객-1", "12.50", 3, True)
            assert (row[6], row[8]) == (GOOD["Note text"], True)
    assert [row[0] for row in judged.lake if row[8]] == ["g1", "g4", "g1", "g2", "g2"]
    # A duplicate event is in the lake, and applied once.
    assert judged.result.duplicates == 2


def test_rows_refused_for_profile_only_are_in_the_lake_too(judged: Judged) -> None:
    only_profile = [rule.id for rule in RULES if rule.lands]
    refused = sum(rows for rule, rows in judged.result.refused.items() if rule in only_profile)
    assert sum(not row[8] for row in judged.lake) == refused
    assert judged.result.landed == judged.result.read - judged.result.quarantined + refused


def test_numbers_and_rules_do_not_depend_on_where_files_are_split(judged: Judged) -> None:
    assert judged.again == [(judged.quarantine, judged.lake)] * 2
    assert judged.judged_late == 1


def test_the_row_equation_holds(judged: Judged) -> None:
    result = judged.result
    assert result.read == result.applied + result.superseded + result.duplicates + result.quarantined
    rows = sum(len(rules) for rules in judged.expected.values())
    assert (result.quarantined, result.read) == (rows, rows + 5)


@pytest.mark.parametrize(
    ("encoding", "text"), [("CP949", "똠방각하 펲시콜라"), ("ISO-8859-1", "Crème brûlée à la carte")]
)
def test_csv_in_a_national_encoding(workshop: Workshop, encoding: str, text: str) -> None:
    options = {"encoding": encoding, "delimiter": ";", "null": "-", "decimal_comma": True, "quote": "'"}
    fields = [field("_id"), field("timestamp", "timestamp"), field("note"), field("price", "decimal(8,2)")]
    workshop.apply(web(enabled=False, fields=fields, csv=options), namespaces=NAMESPACES)
    lines = [
        "_id;timestamp;note;price",
        f"e1;2024-01-02;'{text}; ''x''';1,5",
        "e2;2024-01-02;-;-",
        "e3;2024-01-02;;1.5",
    ]
    path = write_text(workshop.folder / "in.csv", "\r\n".join(lines) + "\r\n", encoding)
    with path.open("ab") as opened:
        # 0xFF is no letter of CP949; every byte is one of ISO-8859-1.
        opened.write(b"e4;2024-01-02;\xff;\r\n")
    result = workshop.ingest_files("web", path)
    lake = workshop.lake("web", "_id", "note", "price")
    assert [(row[0], row[1]) for row in lake[:2]] == [("e1", f"{text}; 'x'"), ("e2", None)]
    assert str(lake[0][2]) == "1.50"
    expected = {"wrong_type": 1} | ({"bad_encoding": 1, "wrong_type": 1} if encoding == "CP949" else {})
    assert result.refused == expected


def test_the_table_of_rules_has_each_id_once_and_formats_are_known() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert {format.value for format in FileFormat} == {"jsonl", "json", "csv", "parquet"}


def test_a_quoted_value_of_csv_may_hold_line_ends(workshop: Workshop) -> None:
    fields = [field("_id"), field("timestamp", "timestamp"), field("note"), field("price", "decimal(8,2)")]
    workshop.apply(web(enabled=False, fields=fields), namespaces=NAMESPACES)
    head, day, long = "_id,timestamp,note,price", "2024-01-02", "p" * 3000
    spanning = [
        head,
        f'e1,{day},"a ""q""',
        "",
        f'9,{day},x,5",1',
        f"e2,{day},{long},2",
        f'e3,{day},"b',
        '"c,3',
        f"e4,{day},,4",
    ]
    path = write_text(workshop.folder / "spanning.csv", "\r\n".join(spanning))
    # A quote that nobody closes: the record would be too large, so its lines are refused one by one.
    line = f"e9,{day},{'y' * 4000},9"
    unclosed = [head, f"e5,{day},,5", f'e6,{day},"{"z" * 4000},6', line, line, f'e7,{day},end",7', f"e8,{day},,8"]
    other = write_text(workshop.folder / "unclosed.csv.gz", "\n".join(unclosed))
    workshop.spark.conf.set("spark.sql.files.maxPartitionBytes", "2000")
    try:
        result = workshop.ingest_files("web", path, other)
    finally:
        workshop.spark.conf.unset("spark.sql.files.maxPartitionBytes")
    lake = workshop.lake("web", "_id", "note", "_ord")
    assert lake[:3] == [("e1", f'a "q"\n\n9,{day},x,5', 1), ("e2", long, 4), ("e4", None, 7)]
    assert [(row[0], row[2] - 2**40) for row in lake[3:]] == [("e5", 1), ("e8", 6)]
    refused = workshop.quarantine("web", "file", "line", "rule", "raw")
    assert refused[0] == ("spanning.csv", 6, "malformed_csv", f'e3,{day},"b\n"c,3')
    assert [row[:3] for row in refused[1:]] == [("unclosed.csv.gz", n, "malformed_csv") for n in (3, 4, 5, 6)]
    assert result.read == 10
