"""The story `./run demo` tells: real orders through real Airflow runs to one profile per person, and that none is lost.

Runs in the platform's environment, after set-up. It writes to the sandbox `demo` only, under fixed batch ids, so a
second run finds every batch active and prints the same totals.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from launcher import cdnow, expected
from launcher.approving import Approver
from launcher.machine import Machine

SANDBOX = "demo"
# Has a card, is known to the partner, and has logged in.
PERSON = "00030"
EXPORT = "all_profiles"
# Of the batches that come in by mistake; each has another id, since a batch that was deleted is not ingested again.
ROBOT = "robot-visits-"
BY_CITY = """
    select homeAddress.city, count(*) as profiles, count(loyalty.card) as cards, sum(orderCount) as orders,
           sum(spent) as spent
    from profiles group by all order by profiles desc
"""
_OVERLAP_WIDTH = 60
_DEFINITIONS = Path("conf") / "demo" / "definitions.yaml"


def tessera(*arguments: str) -> Any:
    """Run one `tessera` command in the demo's sandbox and return the JSON document it prints.

    Raises:
        SystemExit: the command failed, with what it said.
    """
    return json.loads(tessera_text(*arguments, "--json"))


def tessera_text(*arguments: str) -> str:
    """Run one `tessera` command in the demo's sandbox and return what it prints. Errors as of `tessera`."""
    command = [str(Path(sys.executable).with_name("tessera")), *arguments, "--sandbox", SANDBOX]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stderr}demo: `tessera {' '.join(arguments)}` ended with {done.returncode}")
    return done.stdout


def play(checkout: Path, machine: Machine) -> None:
    """Ingest what the demo has of its customers, make their profiles, and compare each step with the source."""
    source, home = cdnow.source_file(), machine.home
    say(f"The orders of CDNOW's customers, 1997-98: {source.name}")
    tessera("apply", str(checkout / _DEFINITIONS))
    say("Orders, each batch a run of the DAG `ingest`:")
    for batch, file in cdnow.write_order_batches(source, home / "demo").items():
        ingest("web_orders", file, batch, "--via-airflow")
    say("Customers, month by month; a later batch updates the records of earlier ones:")
    for batch, file in cdnow.write_customer_batches(source, home / "demo").items():
        ingest("customers", file, batch)
    say("Visits, store cards and a partner's segments, made up around the orders:")
    for batch, (dataset, file) in cdnow.write_other_batches(source, home / "demo").items():
        ingest(dataset, file, batch, "--via-airflow")
    say("What the source holds, and what the store holds:")
    say(f"  {'':<30} {'source':>14} {'store':>14}")
    same = [
        compare("orders: ", cdnow.order_totals(source)._asdict(), lake_totals()._asdict()),
        compare("customers: ", cdnow.customer_totals(source)._asdict(), fragment_totals()._asdict()),
    ]
    if not all(same):
        raise SystemExit("demo: the store does not hold what the source holds")
    for left in robot_batches():
        say(f"An earlier demo left a batch that it meant to delete, {left}:")
        delete(left, machine)
    profiles(source)
    reports(source)
    export(source)
    mistake(source, machine)


def profiles(source: Path) -> None:
    """Make one profile per person, compare with what the rule of the demo gives, and show one."""
    say("One profile per person, from all of it:")
    started = time.monotonic()
    tessera("refresh")
    refreshed = time.monotonic()
    found = tessera("verify", "--full")
    say(f"  refreshed in {refreshed - started:.0f} s; made anew and compared in {time.monotonic() - refreshed:.0f} s")
    say(f"  {'':<30} {'expected':>14} {'found':>14}")
    counts = {f"fragments of {dataset}": count for dataset, count in found["fragments"].items()}
    wanted = expected.counts(source) | {"drift": 0}
    if not compare("", wanted, counts | {"profiles": found["profiles"]["default"], "drift": found["drift"]}):
        raise SystemExit("demo: the profiles are not what the rule of the demo gives")
    say("One of them, by an e-mail address; of each value where it came from (`tessera lookup Email … --origin`):")
    for line in tessera_text("lookup", "Email", cdnow.email(PERSON), "--origin").splitlines():
        say(f"  {line}")


def reports(source: Path) -> None:
    """Count what the store is made of, compare with what the rule of the demo gives, and draw it."""
    say("What the profile store is made of (`tessera preview`, `tessera preview show dataset/overlap`):")
    for line in tessera_text("preview").splitlines():
        say(f"  {line}")
    compare_reports(source)


def compare_reports(source: Path) -> None:
    """Compare the newest reports with what the rule of the demo gives.

    Raises:
        SystemExit: they differ.
    """
    by = {name: tessera("preview", "show", f"{name}/overlap")["data"] for name in ("dataset", "namespace")}
    alone = tessera("preview", "show", "unstitchedProfiles")["data"]["unstitchedProfiles"]["120days"]
    idle = {"profiles": alone["countOfProfiles"], "events": alone["eventsAssociated"]}
    idle |= {f"profiles of {code}": counted["countOfProfiles"] for code, counted in alone["nsDistribution"].items()}
    for what, wanted, found in (
        ("profiles by the exact set of their datasets", expected.overlap(source), by["dataset"]),
        ("profiles by the exact set of their namespaces", expected.namespaces(source), by["namespace"]),
        ("of one fragment, no event for 120 days", expected.unstitched(source), idle),
    ):
        say(f"  {what:<{_OVERLAP_WIDTH}} {'expected':>14} {'found':>14}")
        if not compare("", dict(sorted(wanted.items())), found, _OVERLAP_WIDTH) or set(found) != set(wanted):
            raise SystemExit("demo: the reports are not what the rule of the demo gives")


def export(source: Path) -> None:
    """Export all profiles, open the tables with DuckDB, and compare with what the rule of the demo gives."""
    import duckdb
    from deltalake import DeltaTable

    say("All profiles as tables for analysts (`tessera export --dataset all_profiles …`), opened with DuckDB:")
    tessera("export", "--dataset", EXPORT, "--create", "--name", "All profiles", "--empty-profiles")
    paths = {table["name"]: table["path"] for table in tessera("tables")}
    duck = duckdb.connect()
    for view, table in {"profiles": EXPORT, "identities": f"{EXPORT}_identities"}.items():
        duck.register(view, DeltaTable(paths[f"exports/{table}"]).to_pyarrow_dataset())
    for line in str(duck.sql(BY_CITY)).splitlines():
        say(f"  {line}")
    by_city = dict(duck.sql("select coalesce(homeAddress.city, ''), count(*) from profiles group by 1").fetchall())
    by_code = duck.sql("select namespace, count(distinct profile_id) from identities group by 1").fetchall()
    found = {"profiles": sum(by_city.values())} | {f"with {code}": count for code, count in by_code}
    found |= {f"in {city}": count for city, count in by_city.items() if city}
    say(f"  {'':<30} {'expected':>14} {'found':>14}")
    if not compare("exported: ", expected.exported(source), found):
        raise SystemExit("demo: the export is not what the rule of the demo gives")


def mistake(source: Path, machine: Machine) -> None:
    """Ingest a wrong batch, see it in the reports, delete it with a second user's approval, and see it gone."""
    say("A batch that should not have come, visits of robots; it is in the reports at once:")
    batch = f"{ROBOT}{time.strftime('%Y%m%d%H%M%S', time.gmtime())}"
    ingest("web_visits", cdnow.write_robot_batch(source, machine.home / "demo"), batch)
    tessera("refresh")
    tessera("preview")
    alone = tessera("preview", "show", "dataset/overlap")["data"]["web_visits"]
    say(f"  {'':<30} {'expected':>14} {'found':>14}")
    wanted = expected.overlap(source)["web_visits"] + cdnow.ROBOTS
    if not compare("profiles of ", {"web_visits alone": wanted}, {"web_visits alone": alone}):
        raise SystemExit("demo: the reports do not show the wrong batch")
    say(f"Planned, approved by a second user, deleted (`tessera delete --batch {batch} --via-airflow`):")
    plan = delete(batch, machine)
    effect = next(one for one in plan["policies"] if one["is_default"])
    found = {"fragments that end": plan["removed"]["fragments"], "events that end": plan["removed"]["events"]}
    found |= {f"profiles that {what}": effect[what] for what in ("vanish", "change")}
    say(f"  {'':<30} {'expected':>14} {'planned':>14}")
    if not compare("", expected.robot(), found):
        raise SystemExit("demo: the plan is not what the rule of the demo gives")
    say("The next report does not know of it:")
    compare_reports(source)


def delete(batch: str, machine: Machine) -> Any:
    """Delete a batch by a run of the DAG that a second user approves; returns the plan that was carried out."""
    started = time.monotonic()
    job = tessera("delete", "--batch", batch, "--note", "Robots, not people.", "--via-airflow")
    run_id = job["events"][0]["run"].split("/")[1]
    approver = second_user(machine)
    questions, state = approver.see_through(run_id, "These are robots.")
    say(f"  {approver.user} approved: {questions[-1] if questions else 'nothing was asked'}")
    done = tessera("delete", "show", job["requestId"])
    if state != "success" or done["status"] != "SUCCESS":
        raise SystemExit(f"demo: system job {done['requestId']} is {done['status']}: {done['reason']}")
    say(f"  system job {done['requestId']} is {done['status']}  ({time.monotonic() - started:.0f} s)")
    return done["plan"]


def second_user(machine: Machine) -> Approver:
    """Return the user `operator` of the platform; commands ask Airflow as `admin`."""
    kept = json.loads((machine.home / "secrets.json").read_text(encoding="utf-8"))
    return Approver(machine.url, "operator", kept["operator_password"], "system_jobs")


def robot_batches() -> list[str]:
    """List the wrong batches that an earlier demo ingested and did not come to delete."""
    listed = tessera("batches", "web_visits", "--status", "ACTIVE", "--limit", "10000")
    return [one["id"] for one in listed if one["id"].startswith(ROBOT) and not one["removed_by"]]


def ingest(dataset: str, file: Path, batch: str, *how: str) -> None:
    """Ingest one batch and print its row equation."""
    started = time.monotonic()
    done = tessera("ingest", dataset, str(file), "--batch", batch, *how)
    say(f"  {batch:<18} {done['result']['equation']}  ({time.monotonic() - started:.0f} s)")


def compare(what: str, source: Mapping[str, Any], store: Mapping[str, Any], width: int = 30) -> bool:
    """Print the figures of both sides, those that the source has; says whether they are equal."""
    for name, left in source.items():
        right = store.get(name, 0)
        say(f"  {f'{what}{name}':<{width}} {left:>14,} {right:>14,}  {'equal' if left == right else 'DIFFERENT'}")
    return all(store.get(name, 0) == left for name, left in source.items())


def lake_totals() -> cdnow.Totals:
    """Add up the lake's orders, read without Spark."""
    import pyarrow.compute as pc
    from deltalake import DeltaTable

    table = DeltaTable(f"{sandbox_path()}/lake/web_orders").to_pyarrow_table(
        # The lake may hold batches of yours too, and rows of a batch that is not active yet.
        partitions=[("_batch", "in", list(cdnow.BATCHES))],
        columns=["customerID", "commerce.order.priceTotal"],
    )
    return cdnow.Totals(
        table.num_rows,
        pc.count_distinct(table["customerID"]).as_py(),
        pc.sum(table["commerce.order.priceTotal"]).as_py(),
    )


def fragment_totals() -> cdnow.Totals:
    """Add up the Profile store's records of customers: of each leaf the last value given, whichever batch gave it."""
    from deltalake import DeltaTable

    generation = tessera("datasets", "customers")["generation"]
    rows = DeltaTable(f"{sandbox_path()}/fragments/customers/g{generation}").to_pandas()
    latest = rows.sort_values(["_seq", "_ord"]).groupby("_identity").last()
    with_email = latest["personalEmail.address"].notna() & latest["firstOrder"].notna()
    return cdnow.Totals(int(latest["orderCount"].sum()), int(with_email.sum()), sum(latest["spent"], Decimal(0)))


def sandbox_path() -> str:
    """Return the folder or URL that holds the demo's tables, wherever the settings put the store."""
    known: dict[str, str] = next(iter(tessera("tables")))
    return known["path"].removesuffix(f"/{known['name']}")


def say(line: str) -> None:
    """Print at once: the demo is watched while it runs."""
    print(line, flush=True)
