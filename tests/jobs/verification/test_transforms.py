from pyspark.sql import SparkSession

from jobs.verification.transforms import differences

SCHEMA = "id string, `home.city` string, counts map<string,bigint>, names array<string>, at timestamp"


def test_every_cell_that_differs_and_every_row_that_one_side_lacks_is_told_once(spark: SparkSession) -> None:
    stored = [
        ("same", None, {"a": 1, "b": 2}, ["x", "y"], None),
        ("changed", "Paris", {"a": 1}, ["x", "y"], None),
        ("gone", "Paris", {}, [], None),
    ]
    made = [
        ("same", None, {"b": 2, "a": 1}, ["x", "y"], None),
        ("changed", None, {"a": 2}, ["y", "x"], None),
        ("new", "Lyon", {}, [], None),
    ]
    columns = ["home.city", "counts", "names", "at"]
    found = differences(spark.createDataFrame(stored, SCHEMA), spark.createDataFrame(made, SCHEMA), "id", columns)
    assert sorted(tuple(row) for row in found.collect()) == [
        ("changed", "counts", '{"a":1}', '{"a":2}'),
        ("changed", "home.city", "Paris", None),
        ("changed", "names", '["x","y"]', '["y","x"]'),
        ("gone", "(extra)", None, None),
        ("new", "(missing)", None, None),
    ]
