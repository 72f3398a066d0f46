"""A form is made of a model: what the model demands, the form demands."""

import importlib
import sys
from datetime import date
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from airflow.sdk.exceptions import ParamValidationError
from pydantic import AwareDatetime, BaseModel, Field

from jobs.catalog.database import Catalog
from jobs.catalog.forms import write_forms
from jobs.ingest.models import IngestParams
from jobs.merge_policies import service as merge_policies
from tests.builders import definitions, loyalty


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Request(BaseModel):
    name: str = Field(min_length=2, description="What it is called.")
    files: tuple[str, ...] = Field(min_length=1)
    colour: Colour = Colour.RED
    other_colour: Colour | None = None
    size: Literal["s", "m"] = "m"
    most_rows: int = Field(default=10, ge=1)
    share: float | None = None
    at: AwareDatetime | None = Field(default=None, title="Instant")
    day: date = date(2024, 1, 31)
    is_dry: bool = False
    title: str = ""
    tags: tuple[str, ...] = ()


@pytest.fixture
def fields(profile_tasks: ModuleType) -> dict[str, Any]:
    made: dict[str, Any] = profile_tasks.form(Request, examples={"name": ["orders"], "share": []})
    return made


def test_the_fields_are_in_the_models_order(fields: dict[str, Any]) -> None:
    assert list(fields) == list(Request.model_fields)


def test_a_field_without_a_default_must_be_given(fields: dict[str, Any]) -> None:
    assert _must_be_given(fields) == ["name", "files"]


def test_a_field_that_may_be_empty_takes_null_and_stands_in_a_folded_part(fields: dict[str, Any]) -> None:
    optional = {name for name, param in fields.items() if "section" in param.schema}
    assert optional == {"other_colour", "share", "at"}
    for name in optional:
        assert fields[name].resolve() is None
        assert "null" in fields[name].schema["type"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "x"),
        ("name", None),
        ("name", 7),
        ("files", []),
        ("files", "a.csv"),
        ("files", [1]),
        ("colour", "green"),
        ("colour", None),
        ("other_colour", "green"),
        ("size", "l"),
        ("most_rows", 0),
        ("most_rows", "many"),
        ("share", "half"),
        ("at", 7),
        ("is_dry", "no"),
    ],
)
def test_a_value_that_breaks_the_models_rule_is_refused_by_the_form(
    fields: dict[str, Any], name: str, value: object
) -> None:
    with pytest.raises(ParamValidationError):
        fields[name].resolve(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "orders"),
        ("name", "not among the proposals"),
        ("files", ["a.csv", "b.csv"]),
        ("colour", "blue"),
        ("other_colour", "blue"),
        ("size", "s"),
        ("share", 0.5),
        ("at", "2024-01-31T10:00:00Z"),
        ("is_dry", True),
        ("is_dry", None),
        ("title", None),
        ("tags", None),
        ("tags", ["a"]),
    ],
)
def test_a_value_that_the_model_takes_is_taken_by_the_form(fields: dict[str, Any], name: str, value: object) -> None:
    assert fields[name].resolve(value) == value


def test_choices_instants_and_lists_get_their_widgets(fields: dict[str, Any]) -> None:
    assert fields["colour"].schema["enum"] == ["red", "blue"]
    assert fields["other_colour"].schema["enum"] == ["red", "blue", None]
    assert fields["at"].schema["format"] == "date-time"
    assert fields["day"].schema["format"] == "date"
    assert fields["files"].schema["type"] == "array"
    assert fields["files"].schema["items"] == {"type": "string"}


def test_titles_descriptions_defaults_and_proposals_are_shown(fields: dict[str, Any]) -> None:
    assert fields["most_rows"].schema["title"] == "Most rows"
    assert fields["at"].schema["title"] == "Instant"
    assert fields["name"].description == "What it is called."
    assert fields["name"].schema["examples"] == ["orders"]
    assert "examples" not in fields["share"].schema
    assert fields["colour"].value == "red"
    assert fields["day"].value == "2024-01-31"


def test_the_form_of_ingest_asks_for_what_its_model_asks(profile_tasks: ModuleType) -> None:
    fields = profile_tasks.form(IngestParams)
    assert _must_be_given(fields) == ["dataset", "files"]
    assert [fields[name].value for name in ("format", "batch_id", "at", "sandbox")] == ["auto", None, None, None]
    with pytest.raises(ParamValidationError, match="does not match"):
        fields["dataset"].resolve("../x")


def test_the_form_of_exports_offers_what_was_applied(
    profile_tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del profile_tasks  # what the DAG file shares with the others is found
    with Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}", "prod", "test") as catalog:
        catalog.apply(definitions(loyalty(), {"id": "people", "kind": "profiles"}))
        merge_policies.create(catalog, {"name": "One by one", "identityGraph": {"type": "none"}})
        write_forms(tmp_path, catalog)
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "export_jobs", raising=False)
    params = importlib.import_module("export_jobs").exported.dag.params
    fields = {name: params.get_param(name).schema.get("examples") for name in params}
    assert {name: offered for name, offered in fields.items() if offered} == {
        "dataset": ["people"],
        "fields": sorted(field["path"] for field in loyalty()["fields"]),
        "merge_policy": ["default", "one-by-one"],
        "copies": ["parquet", "csv"],
        "sandbox": ["prod"],
    }


def _must_be_given(fields: dict[str, Any]) -> list[str]:
    demanded = []
    for name, param in fields.items():
        try:
            param.resolve()
        except ParamValidationError:
            demanded.append(name)
    return demanded
