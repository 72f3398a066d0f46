"""`tessera scan`: the landing folders without Airflow, on the engine of the test run."""

import pytest

from jobs.session.engines import Engine
from tests.builders import crm, customer, write_jsonl, write_text
from tests.jobs.cli.terminal import Terminal


@pytest.fixture
def shell(terminal: Terminal, engine: Engine) -> Terminal:
    terminal.patch.setenv("TESSERA_SPARK", engine.target)
    terminal.patch.setenv("TESSERA_LANDING__QUIET_SECONDS", "0")
    return terminal


def test_what_has_arrived_is_ingested_here_in_order_and_put_aside(shell: Terminal) -> None:
    assert shell.tessera("scan").lines == [f"nothing in {shell.home / 'landing'}"]
    shell.apply(crm())
    folder = shell.home / "landing" / "prod" / "crm"
    write_jsonl(folder / "2.jsonl", [customer("c1"), customer("c2")])
    write_jsonl(folder / "3.jsonl", [customer("c3")])
    write_text(folder / "1.jsonl", '{"personID": \n')
    first = shell.tessera("scan")
    assert (first.code, first.lines[0]) == (1, "taken: 3: prod/crm/1.jsonl; prod/crm/2.jsonl; prod/crm/3.jsonl")
    assert "2 rows read = 2 applied + 0 superseded + 0 duplicate events + 0 quarantined" in first.lines
    assert "error: not every batch is ACTIVE: crm-" in first.err
    found = {path.parent.parent.name: path.name for path in sorted(folder.glob("*/*/*.jsonl"))}
    assert found == {"failed": "1.jsonl", "done": "3.jsonl"}
    listed = shell.tessera("batches", "crm", "--json").document
    assert [(batch["status"], batch["seq"]) for batch in reversed(listed)] == [
        ("FAILED", 1),
        ("ACTIVE", 2),
        ("ACTIVE", 3),
    ]

    again = shell.tessera("scan", "--json")
    assert (again.code, again.document) == (0, {"scan": {"folder": str(folder.parents[1]), "found": []}, "batches": []})
    # The record knows where the file is now.
    replayed = shell.tessera("replay", listed[0]["id"], "--json")
    assert replayed.document["status"] == "ACTIVE"
    # A file is mended under its name; the copy of one that is in is none of this sandbox's batches again.
    write_jsonl(folder / "1.jsonl", [customer("c0")])
    write_jsonl(folder / "4.jsonl", [customer("c3")])
    third = shell.tessera("scan", "crm", "--sandbox", "prod", "--json")
    assert {one["outcome"] for one in third.document["scan"]["found"]} == {"taken", "duplicate"}
    assert [batch["status"] for batch in third.document["batches"]] == ["ACTIVE"]
