from typing import Any

import pytest
from pydantic import ValidationError

from jobs.catalog.definitions import Dataset, Namespace
from tests.jobs.catalog.builders import crm, field, web


def refusal(declared: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as refused:
        Dataset.model_validate(declared)
    return str(refused.value)


def with_field(**keys: Any) -> dict[str, Any]:
    return crm(fields=[{"path": "a", "type": "string"} | keys])


@pytest.mark.parametrize(
    "type", ["string", "decimal(38, 38)", "array<decimal(10,2)>", "map<string,long>", "map<string, timestamp>"]
)
def test_a_known_type_is_taken_without_spaces(type: str) -> None:
    assert Dataset.model_validate(with_field(type=type)).fields[0].type == type.replace(" ", "")


@pytest.mark.parametrize(
    "type", ["text", "decimal", "decimal(39,2)", "decimal(2,3)", "array<array<string>>", "map<long,string>", ""]
)
def test_an_unknown_type_is_refused(type: str) -> None:
    assert "unknown type; one of string, integer" in refusal(with_field(type=type))


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        (crm(fields=[field("a"), field("A")]), "path 'A' is declared twice"),
        (crm(fields=[field("a"), field("a.b")]), "'a' is a leaf and cannot also hold 'a.b'"),
        (crm(fields=[field("a.b"), field("A")]), "'A' is a leaf and cannot also hold 'a.b'"),
        (
            crm(fields=[field(p, identity={"namespace": "X", "primary": True}) for p in "ab"]),
            "2 primary identities (a, b)",
        ),
        (crm(fields=[field("identityMap")]), "'identityMap' is understood in every dataset"),
        (crm(fields=[field("identitymap.x")]), "'identitymap.x' is understood in every dataset"),
        (crm(fields=[field("_unset", "array<string>")]), "'_unset' is understood in every dataset"),
        (crm(fields=[field("_Batch")]), "'_Batch' is reserved for the platform's own columns"),
        (crm(fields=[]), "declare at least one field"),
        (crm(fields=[field("x" * 256)]), "at most 255 characters"),
        (crm(ordering="b"), "ordering field 'b' is not declared"),
        (crm(ordering="a", fields=[field("a", "array<string>")]), "ordering field 'a' is no scalar"),
        (crm(ttl_days=30), "ttl_days is for kind events"),
        (crm(kind="profiles"), "kind profiles has the union schema"),
        (crm(kind="profiles", fields=[]), "neither enabled nor upsert"),
        (web(upsert=True), "events are never overwritten"),
        (web(fields=[field("timestamp", "timestamp")]), "needs the field '_id' of type string"),
        (web(fields=[field("_id"), field("timestamp")]), "needs the field 'timestamp' of type timestamp"),
        (web(ttl_days=0), "greater than or equal to 1"),
        (with_field(type="long", identity={"namespace": "X"}), "an identity is a string"),
        (with_field(append=True), "declares append; only an array can"),
    ],
)
def test_a_dataset_that_contradicts_itself_is_refused(declared: dict[str, Any], told: str) -> None:
    assert told in refusal(declared)


@pytest.mark.parametrize("path", ["_id", "_tenant.loyalty.tier", "person.name.firstName", "a1"])
def test_a_path_of_the_guide_is_taken(path: str) -> None:
    assert Dataset.model_validate(crm(fields=[field(path)])).field(path) is not None


@pytest.mark.parametrize("path", ["", ".", "a..b", "a.", "1a", "a b", "a`b", "a'", "이름"])
def test_a_path_of_other_characters_is_refused(path: str) -> None:
    assert "String should match pattern" in refusal(crm(fields=[field(path)]))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"type": "array<string>", "enum": ["a"]}, "arrays and maps cannot"),
        ({"type": "integer", "enum": ["1", "2147483648"]}, "enum value '2147483648' is no integer"),
        ({"type": "long", "enum": ["1.0"]}, "enum value '1.0' is no long"),
        ({"type": "double", "enum": ["1e3", "x"]}, "enum value 'x' is no double"),
        ({"type": "decimal(3,1)", "enum": ["1,5"]}, "enum value '1,5' is no decimal(3,1)"),
        ({"type": "boolean", "enum": ["yes"]}, "enum value 'yes' is no boolean"),
        ({"type": "date", "enum": ["2024-02-30"]}, "enum value '2024-02-30' is no date"),
        ({"enum": ["a", "b", "a"]}, "enum value 'a' is given twice"),
        ({"enum": [True]}, "valid string"),
        ({"enum": ["x" * 256]}, "at most 255 characters"),
        ({"pattern": "(a"}, "pattern is no regular expression"),
        ({"pattern": "a{99999999999}"}, "pattern is no regular expression"),
        ({"pattern": "(?P<a>x)"}, "named group"),
        ({"pattern": "x" * 501}, "at most 500 characters"),
        ({"type": "long", "pattern": "x"}, "declares pattern; only a string can"),
        ({"type": "date", "format": "date"}, "declares format; only a string can"),
    ],
)
def test_a_rule_for_values_that_cannot_be_kept_is_refused(keys: dict[str, Any], told: str) -> None:
    assert told in refusal(with_field(**keys))


def test_an_enum_takes_whole_numbers_as_they_are_written() -> None:
    assert Dataset.model_validate(with_field(type="integer", enum=[1, "-2"])).fields[0].enum == ("1", "-2")


@pytest.mark.parametrize("encoding", ["UTF-8", "cp949", "EUC-KR", "latin-1", "windows-1252"])
def test_a_known_encoding_is_taken(encoding: str) -> None:
    assert Dataset.model_validate(crm(csv={"encoding": encoding})).csv.encoding == encoding


@pytest.mark.parametrize(
    ("csv", "told"),
    [
        ({"encoding": "utf-9"}, "unknown encoding"),
        ({"encoding": "base64"}, "unknown encoding"),
        # Known to Python, and to no ingest: its line ends are not those that Spark splits a file by.
        ({"encoding": "UTF-16"}, "unknown encoding for CSV; one of ascii, big5, cp1250, "),
        ({"encoding": "a\0b"}, "unknown encoding"),
        ({"delimiter": ";;"}, "at most 1 character"),
        ({"delimiter": "\n"}, "no end of line"),
        ({"delimiter": '"'}, "delimiter and quote are both"),
        ({"separator": ";"}, "Extra inputs"),
    ],
)
def test_csv_options_that_cannot_work_are_refused(csv: dict[str, Any], told: str) -> None:
    assert told in refusal(crm(csv=csv))


@pytest.mark.parametrize(
    ("timezone", "told"),
    [
        ("Asia/Seol", "write it as Asia/Seoul"),
        ("../etc", "write it as"),
        ("America", "write it as"),
        ("", "write it as"),
    ],
)
def test_an_unknown_time_zone_is_refused_with_one_that_works(timezone: str, told: str) -> None:
    assert told in refusal(crm(timezone=timezone))


def test_an_enabled_dataset_may_rely_on_the_identity_map() -> None:
    assert Dataset.model_validate(crm(fields=[field("name")])).primary is None


@pytest.mark.parametrize("code", ["", "1a", "a-b", "Email:x", "x" * 64])
def test_a_namespace_code_of_other_characters_is_refused(code: str) -> None:
    with pytest.raises(ValidationError, match="String should match pattern"):
        Namespace(code=code, type="Email")


@pytest.mark.parametrize("id", ["../x", "a'b", 'a"b', "x" * 300, "Crm", "", "1a"])
def test_a_dataset_name_of_other_characters_is_refused(id: str) -> None:
    assert "String should match pattern" in refusal(crm(id=id))
