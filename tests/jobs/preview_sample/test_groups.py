"""What a profile's only fragment is known by, where its dataset's definition does not say; and samples of profiles."""

from pyspark.sql import SparkSession, functions as F

from jobs.preview_sample.transforms.groups import LONE, groups, lone_namespaces, sampled
from jobs.preview_sample.transforms.reports import reports
from jobs.preview_sample.transforms.sampling import Group
from tests.jobs.preview_sample.oracle import AT, MOST, plan
from tests.jobs.preview_sample.test_laws import VIEW


def test_an_identity_map_says_by_which_namespace_a_lone_fragment_is_known(spark: SparkSession) -> None:
    long = "N" * 500
    rows = [
        # The row's primary identity is the e-mail address; the card is another one of the same row.
        ("p1", ["Card:1", "Email:a"], 2, ["app"], {"app": 1}, {"Card": 1, "Email": 1}, 0, None),
        ("p2", ["Card:2"], 1, ["app"], {"app": 1}, {"Card": 1}, 0, None),
        ("p3", ["Card:3", "Email:c"], 2, ["app"], {"app": 2}, {"Card": 1, "Email": 1}, 0, None),
        ("p4", [f"{long}:4"], 1, ["crm"], {"crm": 1}, {long: 1}, 0, None),
    ]
    view = spark.createDataFrame(rows, VIEW)
    fragments = spark.createDataFrame(
        [("app", "Email:a"), ("app", "Card:2"), ("crm", "Card:1")], "dataset string, identity string"
    )
    lone = lone_namespaces(view, fragments)
    assert {tuple(row) for row in lone.collect()} == {("p1", "Email"), ("p2", "Card")}
    # As many datasets as nobody should have.
    names = ["app", "crm", *(f"d{number}" for number in range(98))]
    found = groups(view, lone, AT, names, ["Card", "Email", long], MOST).collect()
    told = {(tuple(row["namespaces"]), row[LONE], row["idle"]) for row in found}
    assert told == {
        (("Card", "Email"), "Email", 5),
        (("Card",), "Card", 5),
        (("Card", "Email"), None, None),
        ((long,), None, 5),
    }


def test_a_sample_is_the_same_profiles_every_time_and_tells_shares_within_its_error(spark: SparkSession) -> None:
    """Four thousand profiles, six of ten in crm."""
    number = F.col("id")
    dataset = F.when(number % 10 < 6, "crm").otherwise("web")
    nobody = F.lit(None).cast("timestamp")
    columns = (
        F.concat(F.lit("p"), number),
        F.array(F.concat(F.lit("CRMID:"), number)),
        F.lit(1),
        F.array(dataset),
        F.create_map(dataset, F.lit(1).cast("bigint")),
        F.create_map(F.lit("CRMID"), F.lit(1).cast("bigint")),
        F.lit(0).cast("bigint"),
        nobody,
    )
    names = [part.split()[0] for part in VIEW.split(", ")]
    view = spark.range(4000).select(*(column.alias(name) for column, name in zip(columns, names, strict=True)))
    first, again = (
        sorted(
            (row["_datasets"][0], row["profiles"])
            for row in groups(sampled(view, 0.25), None, AT, ["crm", "web"], ["CRMID"], MOST).collect()
        )
        for _ in range(2)
    )
    assert first == again
    result = reports(plan(sample=1000, profiles=4000), [Group((name,), ("CRMID",), count) for name, count in first], {})
    status = result.status
    # Four standard errors on either side.
    assert 890 < status.num_rows_to_read < 1110
    assert [row.value for row in result.dataset] == ["crm", "web"]
    assert abs(result.dataset[0].share - 0.6) < 4 * status.standard_error
    assert sum(row.profiles for row in result.dataset_overlap) == status.total_rows == 4000
