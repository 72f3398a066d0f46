"""The commands that only look: status, datasets, batches, batch, quarantine, tables. None of them starts Spark."""

import subprocess
import sys
from datetime import timedelta

import pytest

from tests.builders import crm, field, loyalty
from tests.jobs.cli.terminal import Terminal, refused

EQUATION = "3 rows read = 2 applied + 0 superseded + 0 duplicate events + 1 quarantined"
COUNTS = {"read": 3, "landed": 2, "applied": 2, "superseded": 0, "duplicates": 0, "quarantined": 1}
RESULT = COUNTS | {"equation": EQUATION, "refused": {"wrong_type": 1}}


@pytest.fixture
def filled(terminal: Terminal) -> Terminal:
    """crm with an ACTIVE batch of three days ago and a FAILED one; loyalty held by a batch; web untouched."""
    terminal.apply()
    terminal.batch("b1", "crm", "ACTIVE", hours_ago=76, **RESULT)
    terminal.batch("b2", "crm", "FAILED", hours_ago=2)
    terminal.batch("b3", "loyalty", "PROCESSING", hours_ago=0)
    terminal.table("lake", "crm", [{"personID": name, "_batch": "b1"} for name in ("c1", "c2")])
    terminal.table("lake", "crm", [{"personID": "ahead", "_batch": "b2"}])
    terminal.table("quarantine", "crm", [refused("b1", 3)])
    terminal.table("quarantine", "crm", [refused("b2", 2, "required", raw="다\x1b[31m"), refused("b2", 1)])
    return terminal


def test_status_says_how_each_dataset_fares(filled: Terminal) -> None:
    answer = filled.tessera("status")
    assert answer.code == 0
    assert answer.cells[1:] == [
        ["crm", "enabled", "b2", "FAILED", "-", "-", "-", "3 d 4 h", "1", "-"],
        ["loyalty", "enabled", "b3", "PROCESSING", "-", "-", "-", "-", "0", "b3"],
        ["web", "enabled", "-", "-", "-", "-", "-", "-", "0", "-"],
        [r"crm: batch b2 failed: line 1: broken\nand more"],
    ]


def test_status_as_json_has_lag_failures_and_the_lease(filled: Terminal) -> None:
    answer = filled.tessera("status", "--json")
    crm_status, loyalty_status, web_status = answer.document["datasets"]
    assert crm_status["last_batch"]["id"] == "b2"
    assert crm_status["batches"] == {"ACTIVE": 1, "FAILED": 1}
    assert 76 * 3600 <= crm_status["lag_seconds"] < 76 * 3600 + 600
    assert (loyalty_status["busy"]["batch"], loyalty_status["busy"]["run"]) == ("b3", "cli")
    assert (web_status["last_batch"], web_status["lag_seconds"], web_status["busy"]) == (None, None, None)


def test_status_says_when_a_lease_has_expired(terminal: Terminal) -> None:
    terminal.apply()
    terminal.batch("b1", "crm", "PROCESSING", hours_ago=5)
    assert "crm: batch b1 lost its attempt; the next one takes the dataset over" in terminal.tessera("status").lines
    assert terminal.tessera("status", "--json").document["datasets"][0]["busy"]["expired"] is True


@pytest.mark.parametrize("command", ["status", "datasets", "batches", "tables"])
def test_an_empty_sandbox_is_no_error(terminal: Terminal, command: str) -> None:
    answer = terminal.tessera(command)
    assert (answer.code, len(answer.lines)) == (0, 1)
    assert "in sandbox 'prod'" in answer.out
    document = terminal.tessera(command, "--json").document
    assert (document["datasets"] if command == "status" else document) == []


def test_datasets_count_the_rows_of_active_batches_and_all_refused_ones(filled: Terminal) -> None:
    answer = filled.tessera("datasets")
    assert answer.cells[1:] == [
        ["crm", "record", "enabled", "no", "4", "1", "2", "3", "CRM"],
        ["loyalty", "record", "enabled", "yes", "4", "1", "0", "0", "Loyalty"],
        ["web", "events", "enabled", "no", "5", "1", "0", "0", "Web"],
    ]
    facts = filled.tessera("datasets", "--json").document[0]
    assert (facts["rows_in_lake"], facts["rows_in_quarantine"], facts["definition"]["id"]) == (2, 3, "crm")


def test_a_dataset_is_described_as_it_was_declared(terminal: Terminal) -> None:
    enum = field("tier", enum=["gold", "silver"], comment="상태")
    declared = crm(fields=[*crm()["fields"][:1], field("name", required=True, **{"from": "first_name"}), enum])
    terminal.apply(declared)
    terminal.apply(declared | {"enabled": False})
    answer = terminal.tessera("datasets", "crm")
    assert answer.lines[0] == "crm: CRM (record)"
    assert "disabled, tables of generation" in answer.out
    assert "enabled from" in answer.out
    assert ["name", "string", "first_name", "required"] in answer.cells
    assert ["tier", "string", "one of 2", "상태"] in answer.cells
    document = terminal.tessera("datasets", "crm", "--json").document
    assert document["definition"]["fields"][1]["from"] == "first_name"
    assert len(document["enabled_intervals"]) == 1
    assert document["enabled_intervals"][0]["enabled_until"] is not None


def test_batches_come_newest_first_by_dataset_status_and_number(filled: Terminal) -> None:
    def ids(*arguments: str) -> list[str]:
        return [batch["id"] for batch in filled.tessera("batches", *arguments, "--json").document]

    assert ids() == ["b3", "b2", "b1"]
    assert ids("crm") == ["b2", "b1"]
    assert ids("--status", "active") == ["b1"]
    assert ids("crm", "--limit", "1") == ["b2"]
    row = filled.tessera("batches", "crm", "--status", "ACTIVE").cells[1]
    assert row[:4] + row[5:10] == ["b1", "crm", "ACTIVE", "1", "3", "2", "0", "0", "1"]


def test_a_batch_is_told_with_its_files_rows_and_history(filled: Terminal) -> None:
    answer = filled.tessera("batch", "b1")
    assert EQUATION in answer.lines
    assert "  1 refused by wrong_type; see `tessera quarantine crm --batch b1`" in answer.lines
    assert ["/in/b1.csv", "10", "abababababab"] in answer.cells
    document = filled.tessera("batch", "b1", "--json").document
    assert document["batch"]["result"]["read"] == 3
    assert [event["to_status"] for event in document["history"]] == ["NEW", "PROCESSING", "ACTIVE"]
    assert r"failed: line 1: broken\nand more" in filled.tessera("batch", "b2").lines


def test_the_quarantine_counts_by_rule_and_shows_the_newest_batch_first(filled: Terminal) -> None:
    answer = filled.tessera("quarantine", "crm")
    assert answer.cells[:3] == [["RULE", "ROWS"], ["wrong_type", "2"], ["required", "1"]]
    assert [row[:2] for row in answer.cells[5:]] == [["b2", "wrong_type"], ["b2", "required"], ["b1", "wrong_type"]]
    # A row's text cannot move the terminal's cursor.
    assert r"다\x1b[31m" in answer.out
    assert "\x1b" not in answer.out
    assert filled.tessera("quarantine", "crm", "--json").document["rows"][1]["raw"] == "다\x1b[31m"


def test_the_quarantine_is_narrowed_by_rule_and_batch(filled: Terminal) -> None:
    def asked(*arguments: str) -> tuple[int, dict[str, int], list[int]]:
        found = filled.tessera("quarantine", "crm", *arguments, "--json").document
        return found["total"], found["rules"], [row["line"] for row in found["rows"]]

    assert asked("--rule", "wrong_type") == (2, {"wrong_type": 2}, [1, 3])
    assert asked("--batch", "b2") == (2, {"wrong_type": 1, "required": 1}, [1, 2])
    assert asked("--batch", "b2", "--rule", "required") == (1, {"required": 1}, [2])
    assert asked("--batch", "b1", "--rule", "required") == (0, {}, [])
    assert asked("--limit", "1") == (3, {"wrong_type": 2, "required": 1}, [1])
    assert asked("--limit", "0") == (3, {"wrong_type": 2, "required": 1}, [])
    assert filled.tessera("quarantine", "crm", "--limit", "1").lines[-1].startswith("and 2 more")
    assert filled.tessera("quarantine", "web").lines == ["no such row in the quarantine of web"]


def test_the_first_refused_rows_are_found_in_a_large_quarantine(terminal: Terminal) -> None:
    terminal.apply()
    terminal.batch("b1", "crm", "ACTIVE")
    lines = [(n * 7919) % 50_000 + 1 for n in range(50_000)]
    terminal.table("quarantine", "crm", [refused("b1", line) for line in lines], target_file_size=100_000)
    found = terminal.tessera("quarantine", "crm", "--limit", "5", "--json").document
    assert (found["total"], [row["line"] for row in found["rows"]]) == (50_000, [1, 2, 3, 4, 5])


def test_tables_are_listed_and_described(filled: Terminal) -> None:
    listed = filled.tessera("tables", "--json").document
    assert [(table["name"], table["rows"]) for table in listed] == [("lake/crm", 3), ("quarantine/crm", 3)]
    described = filled.tessera("tables", "--describe", "quarantine/crm")
    assert ["line", "bigint", "0"] in described.cells
    assert "partitioned by _batch" in described.lines
    document = filled.tessera("tables", "--describe", "lake/crm", "--json").document
    assert [column["name"] for column in document["columns"]] == ["personID", "_batch"]


def test_another_sandbox_sees_nothing_of_this_one(filled: Terminal) -> None:
    assert filled.tessera("status", "--sandbox", "test", "--json").document["datasets"] == []
    assert filled.tessera("tables", "--sandbox", "test", "--json").document == []
    assert filled.tessera("batch", "b1", "--sandbox", "test").code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("datasets", "crn"), 3, "did you mean 'crm'? Known here: crm, loyalty, web"),
        (("batches", "crn"), 3, "did you mean 'crm'?"),
        (("quarantine", "crn"), 3, "did you mean 'crm'?"),
        (("batch", "b1_"), 3, "did you mean 'b1'? `tessera batches` lists them"),
        (("quarantine", "crm", "--batch", "nope"), 3, "no batch 'nope' in sandbox 'prod'"),
        (("quarantine", "crm", "--batch", "b3"), 2, "batch 'b3' belongs to dataset 'loyalty', not 'crm'"),
        (("quarantine", "crm", "--rule", "wrong_typ"), 2, "rule 'wrong_typ' is unknown; did you mean 'wrong_type'?"),
        (("tables", "--describe", "lake/crn"), 3, "did you mean 'lake/crm'? Known here: lake/crm, quarantine/crm"),
        (("batches", "--limit", "0"), 2, "limit = 0: Input should be greater than or equal to 1"),
        (("batches", "--limit", str(10**30)), 2, "Input should be less than or equal to 10000"),
        (("quarantine", "crm", "--limit", "-1"), 2, "limit = -1: Input should be greater than or equal to 0"),
        (("batches", "--limit", "many"), 2, "unable to parse string as an integer"),
        (("batches", "--status", "DONE"), 2, "'new', 'processing', 'active', 'failed'"),
        (("status", "--sandbox", "../etc"), 2, "store.sandbox = '../etc'"),
        (("status", "--sandbox", ""), 2, "store.sandbox = ''"),
        (("status", "more"), 2, "unexpected extra argument"),
    ],
)
def test_a_wrong_argument_is_one_error_with_what_would_be_right(
    filled: Terminal, arguments: tuple[str, ...], code: int, told: str
) -> None:
    answer = filled.tessera(*arguments, "--json")
    assert (answer.code, answer.out) == (code, "")
    assert told in " ".join(answer.err.replace("│", "").split())


HOSTILE = ["", " ", "../crm", "crm/../../x", "'; DROP TABLE batches; --", '"', "x" * 300, "b1\n", "%00", "\udcff", "👤"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_and_leaves_everything_as_it_was(filled: Terminal, name: str) -> None:
    before = sorted((path, path.stat().st_size) for path in filled.home.rglob("*") if path.suffix == ".parquet")
    commands = (
        ("datasets", name),
        ("batches", name),
        ("batch", name),
        ("quarantine", name),
        ("quarantine", "crm", "--rule", name),
        ("quarantine", "crm", "--batch", name),
        ("tables", "--describe", name),
    )
    for command in commands:
        answer = filled.tessera(*command)
        assert answer.code in (2, 3), command
        assert answer.out == ""
        error = answer.err.strip()
        assert error.startswith("error: ")
        assert "\n" not in error
        assert len(error) < 700
    assert [batch["id"] for batch in filled.tessera("batches", "--json").document] == ["b3", "b2", "b1"]
    assert before == sorted((path, path.stat().st_size) for path in filled.home.rglob("*") if path.suffix == ".parquet")


def test_a_table_that_cannot_be_read_is_named(filled: Terminal) -> None:
    log = next((filled.home / "store" / "prod" / "quarantine" / "crm" / "_delta_log").glob("*0.json"))
    for text, what in ('{"protocol": 1}', "cannot be read: "), ("{", f"{log} is cut short, "):
        log.write_text(text)
        for command in (("quarantine", "crm"), ("datasets",), ("tables",)):
            answer = filled.tessera(*command)
            assert answer.code == 1, answer.err
            assert answer.err.startswith("error: table quarantine/crm")
            assert what in answer.err


def test_a_catalog_that_is_away_is_one_error(filled: Terminal) -> None:
    filled.patch.setenv("TESSERA_CATALOG_URL", "postgresql://tessera:secret@127.0.0.1:1/none")
    answer = filled.tessera("status")
    assert (answer.code, answer.out) == (1, "")
    assert "start that PostgreSQL" in answer.err
    assert "secret" not in answer.err


def test_looking_loads_no_spark(filled: Terminal) -> None:
    commands = ["status", "datasets", "batches", "batch b1", "quarantine crm", "tables", "tables --describe lake/crm"]
    looks = [
        "import contextlib, sys",
        "from jobs.cli import main",
        f"for command in {commands}:",
        "    sys.argv = ['tessera', *command.split()]",
        "    with contextlib.suppress(SystemExit):",
        "        main()",
        "    print(command, 'pyspark' in sys.modules, file=sys.stderr)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(looks)], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines() == [f"{command} False" for command in commands]


def test_the_lag_is_measured_from_the_last_active_batch(terminal: Terminal) -> None:
    terminal.apply(loyalty())
    terminal.batch("b1", "loyalty", "ACTIVE", hours_ago=25)
    terminal.batch("b2", "loyalty", "NEW", hours_ago=1)
    told = terminal.tessera("status", "--json").document["datasets"][0]
    assert told["last_batch"]["status"] == "NEW"
    assert told["last_ingested_at"] == f"{terminal.began - timedelta(hours=25):%Y-%m-%dT%H:%M:%SZ}"
