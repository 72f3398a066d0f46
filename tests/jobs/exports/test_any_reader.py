"""An export opens in the tools that analysts use, and says the same in each; so do the README's recipes."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.lake.reader import describe, tables
from jobs.settings import Settings
from tests.builders import Row, crm, customer, event, field, web
from tests.jobs.exports.exporting import export
from tests.jobs.exports.readers import READERS, assert_opens_everywhere, in_one_form, with_spark
from tests.jobs.ingest.workshop import Workshop
from tests.jobs.profiles.refreshing import refresh

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
DEMO = ".tessera/store/demo/exports/all_profiles"
RECIPES = re.findall(r"```python\n(.*?)```", README.partition("\n## Read the tables\n")[2].partition("\n## ")[0], re.S)

SEEN, BOUGHT = datetime(2024, 2, 1, 10, 30, 0, 250_001, UTC), datetime(2024, 1, 2, 10, tzinfo=UTC)
# Every kind of value beside the text that fixture F has.
OTHERS = {
    "person.birthDate": ("date", "1980-02-29", date(1980, 2, 29)),
    "seen": ("timestamp", "2024-02-01T10:30:00.250001Z", SEEN),
    "wallet.balance": ("decimal(12,2)", "1234567.89", Decimal("1234567.89")),
    "wallet.visits": ("long", 2**53 + 2, 2**53 + 2),
    "wallet.rate": ("double", 0.1, 0.1),
    "isActive": ("boolean", True, True),
    "tags": ("array<string>", ["가", ""], ["가", ""]),
    "scores": ("map<string,integer>", {"a": 1}, {"a": 1}),
}
EXPECTED: list[Row] = [
    {
        "person": {"name": {"firstName": "Zoé 조"}, "birthDate": date(1980, 2, 29)},
        "homeAddress": {"city": "Lyon"},
        "loyalty": {"tier": " gold ", "points": None},
        "seen": SEEN,
        "wallet": {"balance": Decimal("1234567.89"), "visits": 2**53 + 2, "rate": 0.1},
        "isActive": True,
        "tags": ["가", ""],
        "scores": {"a": 1},
        "emails": ["a@x.io"],
        "events": [("e1", BOUGHT, Decimal("20.00")), ("e2", BOUGHT, None)],
    },
    # Nothing but who it is: every struct is null, and not full of nulls.
    dict.fromkeys(["person", "homeAddress", "loyalty", "seen", "wallet", "isActive", "tags", "scores"])
    | {"emails": [], "events": []},
]


@pytest.fixture(scope="module")
def exported(spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two profiles with values of every type and with none, exported with their events."""
    place = tmp_path_factory.mktemp("readers")
    with Workshop.open(spark, engine_settings, place) as workshop:
        others = [field(path, kind) for path, (kind, *_) in OTHERS.items()]
        loyal = [field("loyalty.tier"), field("loyalty.points", "integer")]
        workshop.apply(crm(fields=[*crm()["fields"], *loyal, *others]), web())
        given = {"person.name.firstName": "Zoé 조", "personalEmail.address": "a@x.io", "loyalty.tier": " gold "}
        given |= {"homeAddress.city": "Lyon", **{path: told for path, (_, told, _) in OTHERS.items()}}
        workshop.ingest("crm", customer("c1", **given), customer("c2"))
        price = {"commerce.order.priceTotal": "20.00"}
        workshop.ingest("web", event("e1", personID="c1", **price), event("e2", personID="c1"))
        refresh(workshop)
        export(workshop, "all_profiles", name="All profiles", events=True, copies=("csv",))
        yield workshop


def shown(row: Row) -> Row:
    """What is expected of a row, whatever else there is."""
    found = {name: row[name] for name in EXPECTED[0] if name not in ("emails", "events")}
    found["emails"] = [entry["id"] for entry in row["identityMap"].get("Email", ())]
    happened = row["events"]
    assert [one["personID"] for one in happened] == ["c1"] * len(happened)
    prices = [one["commerce"]["order"]["priceTotal"] if one["commerce"] else None for one in happened]
    found["events"] = list(zip([e["_id"] for e in happened], [e["timestamp"] for e in happened], prices, strict=True))
    return found


@pytest.mark.parametrize("read", [*READERS, with_spark], ids=lambda read: read.__name__.removeprefix("with_"))
def test_an_export_opens_with_its_values_nulls_and_instants_in(
    read: Callable[..., list[Row]], exported: Workshop, spark: SparkSession
) -> None:
    path = exported.store.path("exports", "all_profiles")
    rows = in_one_form(read(path, spark) if read is with_spark else read(path), path)
    by_customer = {row["identityMap"]["CRMID"][0]["id"]: shown(row) for row in rows}
    assert by_customer == dict(zip(("c1", "c2"), EXPECTED, strict=True))


def test_a_copy_as_csv_has_every_value_and_what_is_nested_as_json(exported: Workshop) -> None:
    files = Path(exported.store.path("exports", "all_profiles-copies")).glob("csv/*/*.csv")
    rows = [row for file in files for row in csv.DictReader(file.read_text("utf-8").splitlines())]
    row = next(row for row in rows if row["personID"] == "c1")
    assert (row["seen"], row["wallet.visits"]) == ("2024-02-01T10:30:00.250001Z", "9007199254740994")
    assert (row["wallet.rate"], row["loyalty.tier"], row["loyalty.points"]) == ("0.1", " gold ", "")
    assert [json.loads(row[name]) for name in ("tags", "scores")] == [["가", ""], {"a": 1}]
    assert [event["timestamp"] for event in json.loads(row["events"])] == ["2024-01-02T10:00:00.000000Z"] * 2


def test_both_tables_are_plain_commented_and_the_same_to_every_reader(exported: Workshop, spark: SparkSession) -> None:
    for name in ("all_profiles", "all_profiles_identities"):
        assert_opens_everywhere(exported.store.path("exports", name), spark)


def test_an_export_is_listed_and_described_down_to_the_nulls_of_each_leaf(exported: Workshop) -> None:
    listed = {table.name: table for table in tables(exported.store) if table.name.startswith("exports/")}
    assert [(name, table.rows, table.run) for name, table in listed.items()] == [
        ("exports/all_profiles", 2, "test"),
        ("exports/all_profiles_identities", 4, "test"),
    ]
    assert listed["exports/all_profiles"].description.startswith("All profiles")
    columns = {c.name: (c.type, c.nulls) for c in describe(exported.store, "exports/all_profiles").columns}
    assert columns["person.name.firstName"] == ("string", 1)
    assert columns["loyalty.points"] == ("int", 2)
    assert columns["wallet.balance"] == ("decimal(12,2)", 1)
    assert columns["tags"] == ("array<string>", 1)
    assert columns["events"][1] == columns["identityMap"][1] == 0


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: re.search(r"# (.*)", recipe)[1])  # type: ignore[index]
def test_a_recipe_of_the_readme_has_three_lines_and_runs(
    recipe: str, exported: Workshop, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported.store.path("exports", "all_profiles")
    assert len([line for line in recipe.splitlines() if line]) == 3
    assert DEMO in recipe
    exec(compile(recipe.replace(DEMO, path), "README.md", "exec"), {"spark": spark})
    told = capsys.readouterr().out
    assert re.search(r"Lyon|gold|Email|a@x\.io", told), told


def test_there_is_a_recipe_for_each_tool() -> None:
    assert [re.search(r"# (.*)", recipe)[1] for recipe in RECIPES[:5]] == [  # type: ignore[index]
        *("pandas", "Arrow", "Polars", "DuckDB", "Spark"),
    ]
