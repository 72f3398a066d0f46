"""`tessera maintain` where nothing asks for Spark."""

from datetime import timedelta

from jobs.catalog.records import Attempt
from jobs.maintenance.models import ALL_STEPS
from tests.builders import crm
from tests.jobs.cli.terminal import Terminal


def test_an_empty_sandbox_is_fit_and_every_step_says_so(terminal: Terminal) -> None:
    done = terminal.tessera("maintain")
    assert done.code == 0, done.err
    header, *rows = done.cells[: len(ALL_STEPS) + 1]
    assert header == ["STEP", "COUNT", "OF", "BYTES", "SECONDS"]
    assert [(row[0], row[1], row[3]) for row in rows] == [(step, "0", "0") for step in ALL_STEPS]


def test_some_steps_are_asked_for_and_what_is_left_is_told(terminal: Terminal) -> None:
    terminal.apply(crm())
    terminal.batch("b1", "crm", "NEW", hours_ago=30)
    document = terminal.tessera("maintain", "--step", "logs", "--step", "orphans", "--json").document
    assert (document["status"], document["run"]) == ("DONE", "cli")
    assert [step["step"] for step in document["result"]["steps"]] == ["orphans", "logs"]
    assert terminal.tessera("maintain", "--step", "orphans").lines[-1] == (
        "  orphans: 1 batches are NEW and were never begun: b1; left as they are"
    )


def test_a_second_maintenance_is_refused_and_an_unknown_step(terminal: Terminal) -> None:
    # It waits for that long, in case the first was killed.
    terminal.patch.setenv("TESSERA_INGEST__LEASE_SECONDS", "1.5")
    with terminal.catalog() as catalog:
        other = catalog.create_maintenance({}, "a test")
        catalog.begin_maintenance(other.id, Attempt(id="other", run="a test", lease_seconds=3600))
    refused = terminal.tessera("maintain")
    assert refused.code == 4
    assert f"maintenance '{other.id}' of sandbox 'prod' is running (a test, lease until" in refused.err
    with terminal.catalog(-timedelta(hours=2)) as catalog:
        assert catalog.maintenance(other.id).status == "RUNNING"
    assert terminal.tessera("maintain", "--step", "sweep").code == 2
