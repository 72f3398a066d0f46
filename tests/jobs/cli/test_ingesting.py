"""The commands that run Spark, on the engine of the test run: ingest, --check, replay."""

import json
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from jobs.session.engines import Engine
from tests.builders import CITY, crm, customer, field, web, write_csv, write_text
from tests.jobs.cli.terminal import Terminal

NICK = "person.nickName"


@pytest.fixture
def shell(terminal: Terminal, engine: Engine) -> Terminal:
    """The program with the engine of the test run."""
    # Its target, for the token: the text of an engine never shows it.
    terminal.patch.setenv("TESSERA_SPARK", engine.target)
    return terminal


def files_of_store(terminal: Terminal) -> set[Path]:
    return {path for path in (terminal.home / "store").rglob("*") if path.is_file()}


def lake(terminal: Terminal, *columns: str) -> list[tuple[Any, ...]]:
    """Rows of the lake in the order in which they were ingested."""
    table = DeltaTable(str(terminal.home / "store" / "prod" / "lake" / "crm")).to_pyarrow_table()
    rows = table.sort_by([("_seq", "ascending"), ("_ord", "ascending")]).to_pylist()
    return [tuple(row[name] for name in columns) for row in rows]


def rows_files(folder: Path) -> list[str]:
    """Five rows that crm takes, three that it does not know all of, and one that is broken."""
    texts = [
        json.dumps(customer("c1", **{CITY: "Orléans"}), ensure_ascii=False),
        json.dumps(customer("c2", **{NICK: "둘"}), ensure_ascii=False),
        '{"personID": ',
        json.dumps(customer("c3")),
        "",
        json.dumps(customer("c4", **{NICK: "quatre"})),
    ]
    lines = write_text(folder / "a rows.jsonl", "\n".join(texts))
    table = write_csv(folder / "b.csv", [{"personID": "c5", CITY: "서울"}, {"personID": "c6", CITY: "Metz"}])
    table.write_text(table.read_text() + "c7,Nancy,more\n")
    return [str(lines), str(table)]


def test_a_check_says_what_the_ingest_then_refuses_and_writes_nothing(shell: Terminal, tmp_path: Path) -> None:
    shell.apply(crm())
    files = rows_files(tmp_path)
    checked = shell.tessera("ingest", "crm", *files, "--check", "--batch", "b1", "--json")
    assert (checked.code, files_of_store(shell)) == (0, set())
    assert shell.tessera("batches", "--json").document == []

    done = shell.tessera("ingest", "crm", *files, "--batch", "b1", "--json").document["result"]
    found = checked.document
    assert (found["read"], found["landing"], found["quarantined"]) == (8, 4, 4)
    assert (found["read"], found["landing"], found["refused"]) == (done["read"], done["landed"], done["refused"])
    kept = shell.tessera("quarantine", "crm", "--json").document["rows"]
    assert found["rows"] == [{name: row[name] for name in ("file", "line", "rule", "message")} for row in kept]
    assert [(row["file"], row["line"], row["rule"]) for row in kept] == [
        ("a rows.jsonl", 2, "unknown_field"),
        ("a rows.jsonl", 3, "malformed_json"),
        ("a rows.jsonl", 6, "unknown_field"),
        ("b.csv", 4, "malformed_csv"),
    ]

    # The definition learns the field: the refused rows are taken, except the broken ones.
    shell.apply(crm(fields=[*crm()["fields"], field(NICK)]))
    replayed = shell.tessera("replay", "b1", "--from-quarantine", "--batch", "r1")
    assert "4 rows read = 2 applied + 0 superseded + 0 duplicate events + 2 quarantined" in replayed.lines
    assert "it replays batch b1, quarantined rows" in replayed.lines
    assert lake(shell, "personID", NICK, "_batch", "_file") == [
        ("c1", None, "b1", "a rows.jsonl"),
        ("c3", None, "b1", "a rows.jsonl"),
        ("c5", None, "b1", "b.csv"),
        ("c6", None, "b1", "b.csv"),
        ("c2", "둘", "r1", "a rows.jsonl"),
        ("c4", "quatre", "r1", "a rows.jsonl"),
    ]
    # Asked again, the batch is ACTIVE already and nothing is written.
    before = files_of_store(shell)
    again = shell.tessera("replay", "b1", "--from-quarantine", "--batch", "r1", "--json")
    assert again.document["id"] == "r1"
    assert files_of_store(shell) == before

    whole = shell.tessera("replay", "b1", "--json").document
    assert whole["request"]["replays"] == {"batch": "b1", "rows": "all"}
    assert (whole["result"]["applied"], whole["result"]["quarantined"]) == (6, 2)
    assert whole["id"] not in ("b1", "r1")


def test_a_check_of_a_batch_that_would_fail_says_so_and_ends_like_it(shell: Terminal, tmp_path: Path) -> None:
    shell.apply(crm())
    file = write_text(tmp_path / "rows.jsonl", '{"personID": 1.5}\n' * 30)
    answer = shell.tessera("ingest", "crm", str(file), "--check")
    assert answer.code == 2
    assert answer.lines[0] == "30 rows read: 0 would land, 30 would be refused"
    assert answer.lines[-2:] == ["and 10 more", "nothing was written"]
    assert "30 of 30 rows are refused (every row): wrong_type 30 times" in answer.err
    assert files_of_store(shell) == set()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["{rows}", "--via-airflow"], 2, "--check and --via-airflow"),
        (["{rows}", "--batch", "b1"], 4, "batch 'b1' was created with other files"),
        (["{rows}", "--at", "2020-01-01"], 4, "dataset 'crm' is at"),
        (["{rows}", "--at", "yesterday"], 2, "--at 'yesterday' is no instant"),
        (["{folder}/none.jsonl"], 3, "no such file"),
        (["{folder}"], 2, "a directory"),
        (["{rows}", "--batch", "../b1"], 2, "batch_id = '../b1'"),
        (["{rows}", "--sandbox", "Prod"], 2, "store.sandbox = 'Prod'"),
    ],
)
def test_a_check_refuses_what_the_ingest_would_refuse_before_spark(
    terminal: Terminal, tmp_path: Path, arguments: list[str], code: int, told: str
) -> None:
    terminal.apply(crm())
    terminal.batch("b1", "crm", "ACTIVE")
    rows = write_text(tmp_path / "rows.jsonl", json.dumps(customer()))
    given = [argument.format(rows=rows, folder=tmp_path) for argument in arguments]
    answer = terminal.tessera("ingest", "crm", *given, "--check")
    assert (answer.code, answer.out) == (code, "")
    assert told in answer.err
    assert not (terminal.home / "store").exists()
    assert [batch["id"] for batch in terminal.tessera("batches", "--json").document] == ["b1"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["b1_"], 3, "did you mean 'b1'?"),
        (["../b1"], 2, "batch = '../b1'"),
        (["x" * 300], 2, "1 to 64 of the characters"),
        ([""], 2, "batch = ''"),
        (["b1", "--batch", "'; --"], 2, "batch_id"),
        (["b1", "--from-quarantine"], 2, "batch 'b1' has no row in the quarantine"),
        (["b1", "--at", "now"], 2, "--at 'now' is no instant"),
        (["b1"], 3, "/in/b1.csv: no such file"),
        (["b2"], 4, "batch 'b2' is NEW"),
        (["b1", "--sandbox", "test"], 3, "no batch 'b1' in sandbox 'test'"),
    ],
)
def test_a_replay_that_cannot_be_is_one_error(terminal: Terminal, arguments: list[str], code: int, told: str) -> None:
    terminal.apply(crm())
    terminal.batch("b1", "crm", "ACTIVE")
    terminal.batch("b2", "crm", "NEW", hours_ago=0)
    answer = terminal.tessera("replay", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.startswith("error: ")
    assert told in answer.err
    assert len(terminal.tessera("batches", "--json").document) == 2


def test_rows_that_landed_before_the_dataset_was_enabled_are_taken_from_the_lake_once(
    shell: Terminal, tmp_path: Path
) -> None:
    shell.apply(crm(enabled=False))
    file = write_text(tmp_path / "rows.jsonl", json.dumps(customer()) + "\n" + json.dumps(customer(..., **{CITY: "x"})))
    assert shell.tessera("ingest", "crm", str(file), "--batch", "b1").code == 0
    shell.apply(crm())
    landed = lake(shell, "personID", "_batch")
    taken = shell.tessera("ingest", "crm", "--from-lake", "--json").document
    assert (taken["sources"], taken["batch"]["status"]) == (["b1"], "ACTIVE")
    assert (taken["batch"]["result"]["applied"], taken["batch"]["result"]["quarantined"]) == (1, 1)
    assert lake(shell, "personID", "_batch") == landed == [("c1", "b1"), (None, "b1")]
    again = shell.tessera("ingest", "crm", "--from-lake")
    assert again.lines == ["nothing to take: every ACTIVE batch of crm was taken to the Profile store already"]
    assert shell.tessera("ingest", "crm", "--from-lake", "--json").document["batch"] is None
    assert "its rows come from the lake, of batches b1" in shell.tessera("batch", taken["batch"]["id"]).lines


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["crm"], 2, "name the files of the batch; or --from-lake"),
        (["crm", "a.csv", "--from-lake"], 2, "--from-lake goes with DATASET, --batch and --at only"),
        (["crm", "--from-lake", "--check"], 2, "--from-lake goes with DATASET"),
        (["crm", "--from-lake", "--format", "csv"], 2, "--from-lake goes with DATASET"),
        (["crm", "--from-lake"], 4, "dataset 'crm' is not enabled for Profile"),
        (["crn", "--from-lake"], 3, "did you mean 'crm'?"),
        (["../crm", "--from-lake"], 2, "dataset = '../crm'"),
        (["web", "--from-lake", "--batch", "b1"], 4, "batch 'b1' exists and does not take rows"),
        (["web", "--from-lake", "--at", "x"], 2, "--at 'x' is no instant"),
        (["crm", "--from-lake", "--sandbox", "x" * 300], 2, "store.sandbox"),
    ],
)
def test_a_wrong_request_is_one_error_before_spark(
    terminal: Terminal, arguments: list[str], code: int, told: str
) -> None:
    terminal.apply(crm(enabled=False), web())
    terminal.batch("b1", "crm", "ACTIVE")
    answer = terminal.tessera("ingest", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert told in answer.err
    assert len(terminal.tessera("batches", "--json").document) == 1
