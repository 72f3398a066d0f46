"""The fast way of JSON lines gives what the slow way gives, for every row that it takes."""

import itertools
import json
import random
from pathlib import Path

import pytest
from pyspark.sql import Row, SparkSession

from jobs.catalog.definitions import Dataset
from jobs.catalog.records import InputFile
from jobs.ingest import parsing
from jobs.ingest.parsing import _SESSION_SETTINGS
from jobs.ingest.transforms import documents, reading
from jobs.ingest.transforms.documents import PROBLEM, UNJUDGED
from jobs.ingest.transforms.leaves import leaves_of
from jobs.ingest.transforms.plain import plain_rows
from jobs.ingest.transforms.reading import ROW
from jobs.ingest.transforms.staging import judged_late
from jobs.ingest.transforms.values import typed
from jobs.settings import Settings
from tests.builders import CITY, EMAIL, at, customer, write_csv, write_text
from tests.jobs.ingest.workshop import Workshop

LIMIT = 400
DATASET = Dataset.model_validate(
    {
        "id": "d",
        "kind": "record",
        "fields": [
            {"path": "id", "type": "string", "required": True},
            {"path": "person.name.first", "type": "string", "from": "person.name.given"},
            {"path": "person.age", "type": "integer"},
            {"path": "points", "type": "long"},
            {"path": "spent", "type": "decimal(6,2)"},
            {"path": "ratio", "type": "double"},
            {"path": "gold", "type": "boolean"},
            {"path": "born", "type": "date"},
            {"path": "seen", "type": "timestamp"},
            {"path": "tags", "type": "array<string>"},
        ],
    }
)
# In the order of the first line.
KEYS = ("id", "points", "spent", "ratio", "gold", "born", "seen", "person", "tags", "identityMap", "other")
TOKENS = (
    '"x"', '""', '"a\\"b\\\\c\\n\\u00e9\\/"', '"\\ud83d\\ude00"', '"\\ud83d"', '"a\tb"', '"\\x"', '"다은 é"', "0", "5",
    "-5",
    "-0", "-0.0", "0.50", "12.5", "12.500", "5.0", "1.005", "05", "1e3", "1E-2", "999999999999999999",
    "9223372036854775808",
    "0.1234567890123456", "1.", ".5", "+1", "NaN", "true", "false", "True", "null", "{}", "[]", '["a", 1]', '{"a": 1}',
    '"2024-02-29"', '"2024-02-30"', '"2024-01-02T10:00:00Z"', '"12.50"', '" 5 "', '"true"', "", "\u00a0",
)  # fmt: skip
PERSONS = (
    "null", "{}", '{"name": null}', '{"name": {"given": "Ann"}, "age": 5}', '{"age": 5, "name": {"given": "Ann"}}',
    '"x"',
    '{"name": {"given": "Ann", "given": "Bob"}}', '{"name": {"family": "X"}}', '{"name": "x"}',
    '{"age": "5", "name": {}}',
    '{ "name" : { "given" : "Ann" } , "age" : 5.0 }', '{"name": {"given": {}}}', "[]",
)  # fmt: skip
FIRST = (
    '{"id": "1", "points": 1, "spent": 1.5, "ratio": 1, "gold": true, "born": "2024-01-01", '
    '"seen": "2024-01-01T00:00:00Z", "person": {"name": {"given": "A"}, "age": 1}}'
)
LINES = (
    FIRST, "{}", "", "  ", '{"id": "1"} ', ' {"id":"1"}\r', '\t{"id":"1",\t"points":2}', '{"id": "1",}', '{"id": "1"',
    '{"id": "1"}}', '{"id": "1"} {"id": "2"}', '{"id": "1"},"end of row"] x', '{"id": "1", "id": "2"}',
    '{"points": 1, "id": "1"}',
    '{"id": "1" "points": 2}', '{"i\\u0064": "1"}', '["1"]', '"1"', "null", '{"ID": "1"}', "{'id': '1'}",
    '{"id": "1", "": 2}',
    '{"id": "1", "points": 2, "points": 3}', '\ufeff{"id": "1"}', '{"id": "' + "x" * LIMIT + '"}', "\x00",
    '{"id": "a\x00b"}',
)  # fmt: skip


def _all_lines() -> list[str]:
    draw = random.Random(3)
    one_key = [f'{{"id": "1", "{key}": {token}}}' for key in KEYS[1:] for token in TOKENS]
    ids = [f'{{"id": {token}}}' for token in TOKENS]
    persons = [f'{{"id": "1", "person": {person}}}' for person in PERSONS]
    mixed = []
    for _ in range(400):
        keys = [key for key in KEYS if draw.random() < 0.6]
        if draw.random() < 0.2:
            draw.shuffle(keys)
        values = {key: draw.choice(PERSONS if key == "person" else TOKENS) for key in keys}
        space = draw.choice(["", " ", "\t "])
        mixed.append("{" + ",".join(f'{space}"{key}":{space}{value}' for key, value in values.items()) + "}")
        # As the first line is written, but for one value or the order.
        mixed.append("{" + ", ".join(f'"{key}": {value}' for key, value in values.items()) + "}")
    return [*LINES, *one_key, *ids, *persons, *mixed]


def _read(spark: SparkSession, file: Path, first: str | None) -> list[Row]:
    leaves = leaves_of(DATASET)
    inputs = [
        InputFile(path=str(file), name=file.name, size_bytes=1, digest="0" * 64, format="jsonl", compression="none")
    ]
    lines = reading.lines(spark, inputs)
    if first is None:
        rows = documents.json_leaves(reading.json_objects(lines, LIMIT), leaves, LIMIT)
    else:
        plain = plain_rows(leaves, [first])
        assert plain is not None
        rows = documents.plain_leaves(plain.read(lines, LIMIT), leaves)
    return typed(rows, DATASET, leaves).orderBy(ROW).collect()


def _is_unjudged(row: Row) -> bool:
    return row[PROBLEM] is not None and row[PROBLEM]["rule"] == UNJUDGED


@pytest.fixture
def session(spark: SparkSession) -> SparkSession:
    for key, value in _SESSION_SETTINGS.items():
        spark.conf.set(key, value)
    return spark


def test_a_row_has_the_same_values_and_problem_on_both_ways(session: SparkSession, tmp_path: Path) -> None:
    lines = _all_lines()
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\n".join([*(line.encode() for line in lines), b'{"id": "\xff"}']))
    slow, fast = _read(session, file, None), _read(session, file, FIRST)
    for line, one, other in itertools.zip_longest([*lines, "not UTF-8"], slow, fast):
        if _is_unjudged(other):
            assert [one[name] for name in reading.PLACE] == [other[name] for name in reading.PLACE], line
        else:
            assert one == other, line
    taken = sum(not _is_unjudged(row) for row in fast)
    assert 100 < taken < len(lines) / 2, "most of these lines are made to be none"


def test_what_follows_a_row_is_seen_on_both_ways(session: SparkSession, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": "1"},"end of row"] x')
    for first, rule in ((None, "malformed_json"), (FIRST, UNJUDGED)):
        assert _read(session, file, first)[0][PROBLEM]["rule"] == rule


def test_rows_of_one_writer_are_plain_whatever_the_order_of_their_keys(session: SparkSession, tmp_path: Path) -> None:
    row = {"seen": "2024-01-01T00:00:00Z", "person": {"age": 7, "name": {"given": "A"}}, "id": "1", "gold": None}
    lines = [json.dumps({**row, "id": str(n)} if n % 2 else {"seen": None, "id": str(n)}) for n in range(10)]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(lines))
    assert not any(_is_unjudged(row) for row in _read(session, file, lines[1]))


@pytest.mark.parametrize("between", [(", ", ": "), (",", ":")])
def test_rows_as_their_writer_writes_them_need_no_pattern(
    session: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: tuple[str, str]
) -> None:
    row = {"id": "é", "points": 5, "spent": "1.5", "gold": True, "person": {"name": {"given": "다"}, "age": 7}}
    plain = [row, row | {"points": -17, "person": {"name": {}}}, {"id": "2"}, {}, {"id": "", "gold": False}]
    odd = [row | {"points": "5"}, row | {"spent": 1.5}, {"id": 'a"b'}, {"id": "a\\"}, {"id": "1", "gold": None}]
    lines = [json.dumps(one, ensure_ascii=False, separators=between) for one in [*plain, *odd]]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(lines))
    monkeypatch.setattr("jobs.ingest.transforms.plain._object", lambda tree: "no such line")
    fast = _read(session, file, lines[0])
    assert [_is_unjudged(row) for row in fast] == [False] * len(plain) + [True] * len(odd)
    assert fast[: len(plain)] == _read(session, file, None)[: len(plain)]


def test_where_no_row_is_plain_none_is_tried() -> None:
    leaves = leaves_of(DATASET)
    with_tags, mapped = '{"id": "1", "tags": ["a"]}', '{"id": "1", "identityMap": {"email": [{"id": "a@x.io"}]}}'
    assert plain_rows(leaves, [with_tags, mapped]) is None
    assert plain_rows(leaves, [with_tags, mapped, '{"id": "1", "tags": null}']) is not None
    assert plain_rows(leaves, [with_tags, "no row"]) is None


def test_names_that_no_pattern_can_hold_leave_the_slow_way() -> None:
    for names in (("a.b", "A.c"), ('x"y',)):
        fields = [{"path": f"p{n}", "type": "string", "from": name} for n, name in enumerate(names)]
        leaves = leaves_of(Dataset.model_validate({"id": "d", "kind": "record", "fields": fields}))
        assert plain_rows(leaves, []) is None, names


def test_a_batch_is_the_same_by_both_ways(
    spark: SparkSession, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = [json.dumps(customer(f"c{n}", **{EMAIL: f"c{n}@x.io"})) for n in range(20)]
    odd = [
        "",
        '{ "personID" : "c\\u0031" }',
        '{"personID": "c2"} {}',
        '{"personID": "c3", "age": 5}',
        "\r",
        plain[1] + "\r",
    ]
    mapped = json.dumps({"personID": "c4", "identityMap": {"email": [{"id": "c4@x.io"}]}})
    lines = [*plain[:10], *odd, *plain[10:], mapped, json.dumps({EMAIL: "nobody@x.io"})]
    found, late = [], []
    monkeypatch.setattr(parsing, "judged_late", lambda *args: late.append(args) or judged_late(*args))
    for way, look_from in (("slow", 10**9), ("fast", 0)):
        monkeypatch.setattr("jobs.ingest.transforms.staging._LOOK_FROM_BYTES", look_from)
        with Workshop.open(spark, settings, tmp_path / way) as workshop:
            workshop.apply()
            first = write_text(workshop.folder / "a.jsonl", "\n".join(lines))
            second = write_csv(workshop.folder / "b.csv", [{"personID": "c1", CITY: "Orléans"}])
            # Past what is looked at before a batch is taken.
            bad = workshop.folder / "c.jsonl"
            bad.write_bytes("\n".join(plain * 60).encode() + b'\n{"personID": "\xff"}')
            result = workshop.ingest_files("crm", first, second, bad, at=at(1))
            tables = [workshop.content(name, "crm") for name in ("lake", "quarantine")]
            found.append((tables, workshop.fragments("crm"), workshop.links("crm"), result.equation, result.refused))
    assert found[0] == found[1]
    assert len(late) == 1
    assert {"malformed_json", "unknown_field", "bad_encoding"} <= found[0][-1].keys()
