"""What is done to a site step by step, so that every commit of the product is made at one of the steps.

Each step begins from what a clean run of the ones before it left, so a step can be killed, run again, and held to the
clean run of the same step.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jobs.faults import Fault
from tests.builders import NAMESPACES, Row, crm, customer, event, field as column, web, write_jsonl, write_text
from tests.crash.processes import KILLED
from tests.crash.site import SHORT_LEASE, Server, Site, Snapshot

EMAIL, FIRST, CITY, PRICE = (
    "personalEmail.address",
    "person.name.firstName",
    "homeAddress.city",
    "commerce.order.priceTotal",
)
AT = "2026-01-0{}T00:00:00Z"
BAD = {"personID": "c9", "age": "unknown"}
GROWN = [*crm()["fields"], column("loyalty.points", "integer", comment="Points")]


@dataclass(frozen=True)
class Step:
    """One command, and what it commits, in the order in which it comes there."""

    name: str
    arguments: tuple[str, ...]
    commits: tuple[Fault, ...] = ()
    code: int = 0
    environment: dict[str, str] = field(default_factory=dict)


class Before(NamedTuple):
    """What a step finds, and what it leaves when nothing happens to it."""

    home: Path
    after: Snapshot


def inputs(folder: Path) -> Path:
    """Write the files of the story."""
    write_text(folder / "first.yaml", _definitions(crm(), web()))
    write_text(folder / "second.yaml", _definitions(crm(fields=GROWN), web()))
    customers = [customer(f"c{n}", **{EMAIL: f"c{n}@x.io", FIRST: f"Ann {n}", CITY: "Paris"}) for n in range(1, 8)]
    write_jsonl(folder / "crm-1.jsonl", [*customers[:5], BAD])
    write_jsonl(folder / "crm-2.jsonl", [*customers[5:], customer("c1", **{CITY: "Lyon", "loyalty.points": 3})])
    write_jsonl(folder / "crm-3.jsonl", [customer("c2", **{FIRST: "Zoé"}), customer("c8", **{EMAIL: "c1@x.io"})])
    write_jsonl(folder / "crm-8.jsonl", [customer("c8", **{CITY: "Nowhere"})])
    write_jsonl(folder / "crm-9.jsonl", [customer("c8", **{CITY: "Rome"})])
    events = [event(f"e{n}", personID=f"c{n}", **{PRICE: n}) for n in range(1, 6)]
    write_jsonl(folder / "web-1.jsonl", [*events[:3], event("e1"), {"timestamp": "2026-01-01T00:00:00Z"}])
    write_jsonl(folder / "web-2.jsonl", [*events[2:], {"_id": "e9"}])
    write_jsonl(folder / "web-3.jsonl", [event("e1", personID="c1"), event("e6", personID="c6")])
    return folder


def _definitions(*datasets: Row) -> str:
    return json.dumps({"namespaces": NAMESPACES, "datasets": datasets})


def ingest(folder: Path, dataset: str, number: int, day: int | None = None) -> tuple[str, ...]:
    """The command that ingests <dataset>-<number>.jsonl as a batch of that name, at an instant of that day."""
    batch = f"{dataset}-{number}"
    file = str(folder / f"{batch}.jsonl")
    return ("tessera", "ingest", dataset, file, "--batch", batch, "--at", AT.format(day or number))


def steps(folder: Path) -> tuple[Step, ...]:
    """The story."""
    refused = {"TESSERA_INGEST__MAX_REFUSED_SHARE": "0.1"}
    died = {"TESSERA_FAULT": f"{Fault.FINISH_BATCH}:before", **SHORT_LEASE}
    of_a_batch = (Fault.CREATE_BATCH, Fault.BEGIN_ATTEMPT, Fault.CREATE_TABLE, Fault.QUARANTINE, Fault.LAKE)
    of_records = (*of_a_batch, Fault.RENEW_LEASE, Fault.FRAGMENTS, Fault.LINKS, Fault.FINISH_BATCH)
    removal = (Fault.DROP_BATCH, Fault.DROP_RUN, Fault.FAIL_BATCH)
    thorough = {
        "TESSERA_MAINTENANCE__COMPACT_RUNS": "0",
        "TESSERA_MAINTENANCE__MERGE_FILES": "1",
        "TESSERA_MAINTENANCE__RETENTION_DAYS": "14",
        **SHORT_LEASE,
    }
    of_maintenance = (
        Fault.CREATE_MAINTENANCE,
        Fault.BEGIN_MAINTENANCE,
        Fault.BEGIN_REMOVAL,
        Fault.END_REMOVAL,
        Fault.COMPACT_EVENTS,
        Fault.MERGE_FILES,
        Fault.DROP_UNKNOWN,
        Fault.SET_RETENTION,
        Fault.FINISH_MAINTENANCE,
    )
    of_a_refresh = (Fault.CREATE_REFRESH, Fault.BEGIN_REFRESH, Fault.PUBLISH_REFRESH)
    of_a_preview = (Fault.CREATE_PREVIEW, Fault.BEGIN_PREVIEW, Fault.REPORT, Fault.FINISH_PREVIEW)
    preview = ("tessera", "preview", "--as-of", AT.format(5))
    export = ("tessera", "export", "--dataset", "people", "--create")
    of_an_export = (Fault.CREATE_EXPORT, Fault.BEGIN_EXPORT, Fault.EXPORT_IDENTITIES, Fault.EXPORT, Fault.FINISH_EXPORT)
    of_a_deletion = (
        Fault.CREATE_SYSTEM_JOB,
        Fault.PLAN_SYSTEM_JOB,
        Fault.APPROVE_SYSTEM_JOB,
        Fault.BEGIN_SYSTEM_JOB,
        Fault.NOTE_SYSTEM_JOB,
        Fault.APPLY_SYSTEM_JOB,
        Fault.TAKE_OUT,
        Fault.FINISH_SYSTEM_JOB,
    )
    of_a_lake = (Fault.APPLY_SYSTEM_JOB, Fault.DROP_BATCH)
    withdrawn = (Fault.EDIT_SYSTEM_JOB, Fault.CANCEL_SYSTEM_JOB, Fault.REMOVE_SYSTEM_JOB)
    exported = {"TESSERA_FAULT": f"{Fault.EXPORT}:after", **SHORT_LEASE}
    away = {"TESSERA_SPARK": "sc://localhost:9", "TESSERA_ENGINE__CONNECT_TIMEOUT_SECONDS": "1"}
    return (
        Step("apply", _apply(folder, "first"), (Fault.MIGRATE_CATALOG, Fault.APPLY_DEFINITIONS)),
        Step("records", ingest(folder, "crm", 1), of_records, environment=SHORT_LEASE),
        Step("refresh", ("tessera", "refresh"), of_a_refresh),
        Step("events", ingest(folder, "web", 1), (Fault.EVENTS,)),
        # Three customers share a cookie: two profiles end.
        Step("refresh-that-joins", ("tessera", "refresh"), (Fault.IDENTITIES, Fault.MERGED_IDS, Fault.PROFILES)),
        Step("preview", preview, of_a_preview, environment=SHORT_LEASE),
        Step("preview-nowhere", preview, (Fault.FAIL_PREVIEW,), code=1, environment=away | SHORT_LEASE),
        Step("policy", ("upkeep", "policy", "Alone"), (Fault.MERGE_POLICY,)),
        Step("export", export, of_an_export, environment=SHORT_LEASE),
        # Its rows are there when it dies, and those of the job before when it is cancelled.
        Step("export-that-died", (*export, "--empty-profiles"), code=KILLED, environment=exported),
        Step("export-cancelled", ("tessera", "export", "--cancel", "2"), (Fault.UNDO_EXPORT, Fault.CANCEL_EXPORT)),
        Step("apply-again", _apply(folder, "second")),
        Step("records-of-more-columns", ingest(folder, "crm", 2), (Fault.ALTER_TABLE,)),
        # Everything is written when it dies, and refused as a whole when it is sent again.
        Step("events-that-died", ingest(folder, "web", 2), code=KILLED, environment=died),
        Step("events-that-fail", ingest(folder, "web", 2), removal, code=2, environment=refused),
        Step("fold", ("upkeep", "fold", "crm"), (Fault.FOLD,)),
        # Its rows are left when another batch takes the dataset over.
        Step("records-that-died", ingest(folder, "crm", 8), code=KILLED, environment=died),
        Step("records-that-take-over", ingest(folder, "crm", 9)),
        Step("rows-of-nobody", ("upkeep", "ghost", "crm")),
        Step("maintain", ("upkeep", "maintain", "prod"), of_maintenance, environment=thorough),
        Step("rows-of-nobody-again", ("upkeep", "ghost", "crm")),
        Step("maintain-nowhere", ("upkeep", "maintain", "prod"), (Fault.FAIL_MAINTENANCE,), 1, thorough | away),
        # Its events are in months, and in sums that are folded.
        Step("delete", ("upkeep", "delete", "web", "web-1"), of_a_deletion, environment=SHORT_LEASE),
        Step("delete-again", ("upkeep", "stale", "web", "web-1"), (Fault.FAIL_SYSTEM_JOB,), 4, SHORT_LEASE),
        Step("delete-nothing", ("upkeep", "withdraw", "crm"), withdrawn),
        Step("switch", ("upkeep", "switch", "web", "1", "2"), (Fault.SWITCH_GENERATION,)),
        Step("clear", ("upkeep", "clear", "crm"), (Fault.CLEAR,)),
        Step("refresh-nowhere", ("tessera", "refresh", "--full"), (Fault.FAIL_REFRESH,), code=1, environment=away),
        Step("export-nowhere", export, (Fault.FAIL_EXPORT,), code=1, environment=away | SHORT_LEASE),
        Step("delete-changed", ("upkeep", "stale", "crm"), (Fault.ASK_AGAIN,), environment=SHORT_LEASE),
        Step("delete-lake", ("upkeep", "delete-lake", "web"), of_a_lake, environment=SHORT_LEASE),
    )


def _apply(folder: Path, name: str) -> tuple[str, ...]:
    return ("tessera", "apply", str(folder / f"{name}.yaml"))


class Story:
    """The clean run: what each step finds and leaves, played as far as it is asked for."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = inputs(folder / "in")
        self.steps: Sequence[Step] = steps(self.folder)
        self._kept = folder
        self._site = Site(server, folder / "clean")
        self._played: dict[str, Before] = {}
        self._others: dict[tuple[tuple[str, ...], ...], Snapshot] = {}

    def step(self, name: str) -> Step:
        """The step of a name."""
        return next(step for step in self.steps if step.name == name)

    def step_of(self, fault: Fault) -> Step:
        """The step that makes a commit."""
        found = [step for step in self.steps if fault in step.commits]
        assert found, f"no step of the story makes the commit {fault}; add one to tests/crash/story.py"
        return found[0]

    def before(self, step: Step) -> Before:
        """What a step finds and leaves."""
        for each in self.steps:
            if each.name not in self._played:
                self._play(each)
            if each is step:
                break
        return self._played[step.name]

    def site_before(self, step: Step, home: Path) -> Site:
        """A new site as a step finds it."""
        if not home.is_mount():
            shutil.rmtree(home, ignore_errors=True)
        return Site(self.server, self.before(step).home).copy_to(home)

    def clean(self, step: Step, *commands: tuple[str, ...]) -> Snapshot:
        """What other commands, one after the other, leave of what a step finds."""
        if commands not in self._others:
            site = self.site_before(step, self._kept / "other")
            for command in commands:
                site.done(*command)
            self._others[commands] = site.snapshot()
        return self._others[commands]

    def _play(self, step: Step) -> None:
        kept = self._kept / f"before-{step.name}"
        self._site.copy_to(kept)
        ended = self._site.run(*step.arguments, **step.environment)
        assert ended.code == step.code, ended.output
        self._played[step.name] = Before(kept, self._site.snapshot())
