import json
from pathlib import Path

import pytest

from jobs.catalog.definitions import Definitions
from jobs.catalog.loading import load_definitions
from jobs.errors import InvalidRequest, NotFound, TesseraError, TooLarge
from tests.jobs.catalog.builders import crm, web

CRM = """
namespaces:
  - {code: CRMID, type: Cross_device}
datasets:
  - id: crm
    kind: record
    enabled: true
    fields:
      - {path: personID, type: string, identity: {namespace: CRMID, primary: true}}
      - {path: name, type: string}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str | bytes, name: str = "d.yaml") -> Definitions:
    Path(name).write_bytes(text.encode() if isinstance(text, str) else text)
    return load_definitions([name])


def refusal(text: str | bytes, name: str = "d.yaml", error: type[TesseraError] = InvalidRequest) -> str:
    with pytest.raises(TesseraError) as refused:
        load(text, name)
    assert type(refused.value) is error
    assert str(refused.value).startswith(f"{name}: ")
    assert len(str(refused.value)) < 500
    assert "\n" not in str(refused.value)
    return str(refused.value)


def in_field(keys: str) -> str:
    return f"datasets: [{{id: crm, kind: record, fields: [{{path: a, type: string, {keys}}}]}}]"


def test_yaml_and_json_say_the_same(folder: Path) -> None:
    declared = {"namespaces": [{"code": "CRMID", "type": "Cross_device"}], "datasets": [crm()]}
    assert load(CRM) == load(json.dumps(declared), "d.json") == Definitions.model_validate(declared)


def test_several_files_are_one_set_of_definitions(folder: Path) -> None:
    Path("a.yaml").write_text(CRM)
    Path("b.json").write_text(json.dumps({"datasets": [web()]}))
    read = load_definitions([Path("a.yaml"), Path("b.json")])
    assert [d.id for d in read.datasets] == ["crm", "web"]


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"datasets": [crm()]}, "dataset 'crm' is declared in a.yaml too"),
        ({"namespaces": [{"code": "crmid", "type": "Email"}]}, "namespace 'crmid' is declared in a.yaml too"),
    ],
)
def test_what_two_files_declare_is_refused_with_both(folder: Path, declared: dict[str, object], told: str) -> None:
    Path("a.yaml").write_text(CRM)
    Path("b.json").write_text(json.dumps(declared))
    with pytest.raises(InvalidRequest, match=rf"^b\.json: {told}; leave one of them out$"):
        load_definitions(["a.yaml", "b.json"])


def test_a_file_that_is_named_twice_is_refused(folder: Path) -> None:
    Path("a.yaml").write_text(CRM)
    with pytest.raises(InvalidRequest, match=r"declared in a\.yaml too"):
        load_definitions(["a.yaml", "a.yaml"])


def test_words_of_yaml_mean_what_they_look_like(folder: Path) -> None:
    dataset = load(
        """
        datasets:
          - id: crm
            kind: record
            csv: {null: NA, delimiter: ";"}
            fields:
              - {path: a, type: string, from: no, comment: 2024-01-31, enum: [on, yes, 010, 1:30, 7]}
        """
    ).datasets[0]
    assert dataset.csv.null == "NA"
    assert (dataset.fields[0].source, dataset.fields[0].comment) == ("no", "2024-01-31")
    assert dataset.fields[0].enum == ("on", "yes", "010", "1:30", "7")


def test_anchors_and_aliases_work(folder: Path) -> None:
    read = load(
        """
        datasets:
          - {id: a, kind: record, fields: &fields [{path: x, type: string}]}
          - {id: b, kind: record, fields: *fields}
        """
    )
    assert read.datasets[0].fields == read.datasets[1].fields


@pytest.mark.parametrize("name", ["d.yaml", "d.json"])
def test_a_byte_order_mark_does_no_harm(folder: Path, name: str) -> None:
    text = CRM if name == "d.yaml" else json.dumps({"datasets": [crm()]})
    assert load("\ufeff" + text, name).datasets[0].id == "crm"


def test_a_large_definition_is_read(folder: Path) -> None:
    fields = "\n".join(f"      - {{path: f{n}, type: string}}" for n in range(2000))
    assert len(load(CRM + fields).datasets[0].fields) == 2002


def test_a_file_that_does_not_exist_is_not_found(folder: Path) -> None:
    with pytest.raises(NotFound, match=r"^nowhere\.yaml: no such file$"):
        load_definitions(["nowhere.yaml"])


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("d.yaml", "", "is empty"),
        ("d.json", " \n", "is empty"),
        (
            "d.yaml",
            "# only a comment",
            "holds nothing; it is a map with the keys namespaces, datasets and merge_policies",
        ),
        ("d.yaml", "hello", "holds a text"),
        ("d.json", "[]", "holds a list"),
        ("d.csv", "a,b", "ends in .yaml, .yml or .json, not '.csv'"),
        ("d.yaml", b"datasets: \xb0\xed\xb0\xb4", "byte 10 is not UTF-8 (0xb0)"),
        ("d.yaml", "a: [1", "is no YAML that can be read: line "),
        ("d.yaml", "a: 1\na: 2", "line 2, column 1: the key 'a' is given twice"),
        ("d.yaml", "a: 1\n---\nb: 1", "another document"),
        ("d.yaml", "a: !!python/object/apply:os.system [ls]", "could not determine a constructor for the tag"),
        ("d.yaml", "a: \x00", "d.yaml: is no YAML"),
        ("d.yaml", "? [a, b]\n: 1", "a key must be a text"),
        ("d.yaml", "a: &a [*a]", "recursive"),
        ("d.json", "{,}", "is no JSON that can be read: Expecting property name"),
        ("d.json", '{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ("d.json", '{"datasets": NaN}', "NaN is no JSON number"),
        ("d.json", '{"a": ' + "9" * 5000 + "}", "is no JSON"),
        ("d.yaml", "[" * 100_000, "nested deeper than 50 levels"),
        ("d.json", "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(folder: Path, name: str, text: str | bytes, told: str) -> None:
    assert told in refusal(text, name)


def test_a_folder_is_no_definition_file(folder: Path) -> None:
    Path("d.yaml").mkdir()
    with pytest.raises(InvalidRequest, match="cannot be read"):
        load_definitions(["d.yaml"])


def test_a_file_over_the_limit_of_bytes_is_refused(folder: Path) -> None:
    assert "more than 8 MiB" in refusal("# " + "x" * 9 * 1024 * 1024, error=TooLarge)


def test_aliases_that_stand_for_billions_are_refused(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "stands for more than 1,000,000 values" in refusal("\n".join(lines), error=TooLarge)


def test_merge_keys_cannot_multiply_anything(folder: Path) -> None:
    assert "unknown key" in refusal("a: &a {x: 1}\n<<: *a")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("datasets: [{id: ../x, kind: record}]", "datasets[0].id = '../x': 1 to 63 of the characters a-z 0-9 _"),
        ("datasets: [{id: 'a''b', kind: record}]", """datasets[0].id = "a'b": 1 to 63"""),
        (f"datasets: [{{id: {'x' * 300}, kind: record}}]", f"datasets[0].id = '{'x' * 57}…': 1 to 63"),
        ("datasets: [{kind: record}]", "datasets[0].id: is missing"),
        ("datasets: [{id: a, kind: recod}]", "datasets[0].kind = 'recod': Input should be 'record', 'events' or"),
        ("datasets: [{id: a, kind: record, feilds: []}]", "datasets[0].feilds: unknown key; did you mean 'fields'?"),
        (in_field("typ: x"), "datasets[0].fields[0].typ = 'x': unknown key; did you mean 'type'? Known here: append"),
        (
            in_field("identity: {namespase: X}"),
            "fields[0].identity.namespase = 'X': unknown key; did you mean 'namespace'",
        ),
        (
            in_field("type: strng").replace("type: string, ", ""),
            "fields[0].type = 'strng': unknown type; one of string",
        ),
        (in_field("required: maybe"), "datasets[0].fields[0].required = 'maybe': Input should be a valid boolean"),
        (in_field("enum: [1.50]"), "fields[0].enum[0] = 1.5: must be a text; write it in quotes"),
        (in_field("comment: "), "fields[0].comment = None: must be a text"),
        ("datasets: {id: a}", "datasets: must be a list"),
        ("datasets: [a]", "datasets[0] = 'a': must be a map"),
        ("dataset: []", "dataset: unknown key; did you mean 'datasets'?"),
        (
            "namespaces: [{code: a-b, type: Email}]",
            "namespaces[0].code = 'a-b': 1 to 63 of the characters A-Z a-z 0-9 _",
        ),
        ("namespaces: [{code: A, type: Email}, {code: a, type: Email}]", "namespace 'a' is declared twice"),
        (
            "datasets: [{id: a, kind: record, fields: [{path: a.b, type: string}, {path: a.b, type: string}]}]",
            "datasets[0]: dataset 'a': path 'a.b' is declared twice",
        ),
    ],
)
def test_a_rule_that_is_broken_is_told_with_place_and_value(folder: Path, text: str, told: str) -> None:
    assert told in refusal(text)


def test_of_many_errors_the_first_five_are_told(folder: Path) -> None:
    told = refusal("datasets: [" + ", ".join(f"{{id: x{n}, kind: k}}" for n in range(9)) + "]")
    assert told.count("Input should be") == 5
    assert told.endswith("; and 4 more")
