"""What a profile's only fragment is known by, where its dataset's definition does not say."""

from pyspark.sql import SparkSession, functions as F

from jobs.preview_sample.transforms.groups import LONE, groups, lone_namespaces, sampled
from tests.jobs.preview_sample.oracle import AT, MOST
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
    found = groups(view, lone, AT, ["app", "crm"], ["Card", "Email", long], MOST).collect()
    told = {(tuple(row["namespaces"]), row[LONE], row["idle"]) for row in found}
    assert told == {
        (("Card", "Email"), "Email", 5),
        (("Card",), "Card", 5),
        (("Card", "Email"), None, None),
        ((long,), None, 5),
    }


def test_a_sample_is_the_same_profiles_every_time_and_about_its_share(spark: SparkSession) -> None:
    view = spark.range(4000).select(F.concat(F.lit("p"), F.col("id")).alias("profile_id"))
    first, again = (sorted(row[0] for row in sampled(view, 0.25).collect()) for _ in range(2))
    assert first == again
    # Four standard errors on either side.
    assert 890 < len(first) < 1110
