"""Texts and JSON values to types: what is taken, and what is refused rather than changed."""

import json
from typing import Any

import pytest
from pyspark.sql import SparkSession, functions as F

from jobs.ingest.transforms.casting import from_text, from_variant, has_format, kind_of, takes

TEXTS: dict[str, dict[str, Any]] = {
    "integer": {"5": 5, " -5 ": -5, "+5": 5, "5.0": 5, "5.": 5, "5.5": None, "1e3": None, "2147483648": None},
    "long": {"9223372036854775807": 9223372036854775807, "9223372036854775808": None, "": None, "\uff15": None},
    "decimal(6,2)": {
        "1.5": "1.50", "1.500": "1.50", "-.5": "-0.50", "5.": "5.00", "1.005": None, "12345.00": None, "1e2": None,
        ".": None, "1,5": None, "\uff15": None,
    },
    "decimal(3,0)": {"5": "5", "5.0": "5", ".5": None, "1000": None},
    "double": {"1.5": 1.5, "1e3": 1000.0, ".5": 0.5, "NaN": None, "Infinity": None, "1e999": None, "1d": None},
    "boolean": {"true": True, "FALSE": False, "yes": None, "1": None, "t": None},
    "date": {"2024-02-29": "2024-02-29", "2023-02-29": None, "2024-2-9": None, "0000-01-01": None},
    "timestamp": {
        "2024-01-02T10:00:00Z": "2024-01-02 10:00:00",
        "2024-01-02 10:00:00.123456789+09:00": "2024-01-02 01:00:00.123456",
        "2024-01-02T10:00+0900": "2024-01-02 01:00:00",
        "2024-01-02T10:00-05": "2024-01-02 15:00:00",
        "2024-01-02T10:00Z": "2024-01-02 10:00:00",
        # Without a zone: that of the dataset, Paris here.
        "2024-07-02T10:00": "2024-07-02 08:00:00",
        "2024-01-02": "2024-01-01 23:00:00",
        "2024-01-02T24:00:00Z": None,
        "2024-01-02T10:60:00Z": None,
        "2024-02-30T10:00:00Z": None,
        "2024-01-02T10:00:00 Europe/Paris": None,
        "1704189600": None,
        "0000-01-01T00:00:00Z": None,
    },
}  # fmt: skip
# JSON values by type: the value as text, or None where it is refused.
VALUES: dict[str, dict[str, str | None]] = {
    "string": {'"x"': "x", "12": "12", "1.50": None, "true": None, "{}": None, "[]": None, '""': ""},
    "integer": {"5": "5", "5.0": "5", '"5"': "5", "5.5": None, "1e1": None, "true": None, "null": None},
    "decimal(6,2)": {"12.50": "12.50", '"12.50"': "12.50", "1e1": None, f"0.1{'0' * 40}1": None, "1.005": None},
    "double": {"5": "5.0", "1e3": "1000.0", '"1.5"': "1.5", "false": None},
    "boolean": {"true": "true", '"true"': "true", "1": None},
    "timestamp": {'"2024-01-02T10:00:00Z"': "2024-01-02 10:00:00", "1704189600": None},
}
NESTED: dict[str, dict[str, Any]] = {
    "array<integer>": {"[1, 2.0, null]": [1, 2, None], "[]": [], '["x"]': None, "[1.5]": None, "{}": None, "5": None},
    "map<string,long>": {'{"a": 1, "b": null}': {"a": 1, "b": None}, '{"a": "x"}': None, "[1]": None},
}
FORMATS = {
    "email": ({"zoé@x.fr", "a@b.co.kr"}, {"a@b", "a b@c.d", "@c.d", "a@@b.c"}),
    "uri": ({"https://x.io/a", "urn:a:b"}, {"x.io", "http:// x"}),
    "uuid": ({"123e4567-e89b-12d3-a456-426614174000"}, {"123e4567"}),
    "date": ({"2024-02-29"}, {"2023-02-29"}),
    "date-time": ({"2024-01-02T10:00:00Z"}, {"yesterday"}),
}


@pytest.mark.parametrize("declared", TEXTS)
def test_a_text_is_taken_when_nothing_of_it_is_lost(spark: SparkSession, declared: str) -> None:
    frame = spark.createDataFrame([(text,) for text in TEXTS[declared]], "text string")
    value = from_text(F.col("text"), declared, "Europe/Paris")
    shown = value if declared in ("integer", "long", "double", "boolean") else value.cast("string")
    assert {row[0]: row[1] for row in frame.select("text", shown).collect()} == TEXTS[declared]


@pytest.mark.parametrize("declared", VALUES)
def test_a_json_value_is_taken_when_nothing_of_it_is_lost(spark: SparkSession, declared: str) -> None:
    frame = spark.createDataFrame([(text,) for text in VALUES[declared]], "text string")
    parsed = frame.select("text", F.parse_json("text").alias("json"))
    read = from_text(F.col("json").try_cast("string"), declared, "UTC")
    value = F.when(takes(declared, kind_of(F.col("json"))), read).cast("string")
    assert {row[0]: row[1] for row in parsed.select("text", value).collect()} == VALUES[declared]


@pytest.mark.parametrize("declared", NESTED)
def test_an_array_or_map_is_taken_as_a_whole_or_not_at_all(spark: SparkSession, declared: str) -> None:
    frame = spark.createDataFrame([(text,) for text in NESTED[declared]], "text string")
    value = from_variant(F.parse_json("text"), declared, "UTC")
    assert {row[0]: row[1] for row in frame.select("text", value).collect()} == NESTED[declared]


def test_formats(spark: SparkSession) -> None:
    rows = [(name, text) for name, (good, bad) in FORMATS.items() for text in (*good, *bad)]
    frame = spark.createDataFrame(rows, "name string, text string")
    found = {name: F.when(F.col("name") == name, has_format(F.col("text"), name, "UTC")) for name in FORMATS}
    taken = frame.select("name", "text", F.coalesce(*found.values())).collect()
    assert {(name, text) for name, text, fits in taken if fits} == {
        (name, text) for name, (good, _) in FORMATS.items() for text in good
    }


def test_a_hundred_thousand_digits_are_no_number(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(json.dumps("9" * 100_000),)], "text string")
    value = from_text(F.parse_json("text").try_cast("string"), "decimal(38,0)", "UTC")
    assert frame.select(value.isNull()).collect()[0][0]
