"""The story `./run demo` tells: real orders through a real Airflow run into the lake, and the proof that none is lost.

Runs in the platform's environment, after set-up. It writes to the sandbox `demo` only, under fixed batch ids, so a
second run finds every batch active and prints the same totals.
"""

import json
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from launcher import cdnow

SANDBOX = "demo"
_DEFINITIONS = Path("conf") / "demo" / "definitions.yaml"


def tessera(*arguments: str) -> Any:
    """Run one `tessera` command in the demo's sandbox and return the JSON document it prints.

    Raises:
        SystemExit: the command failed, with what it said.
    """
    command = [str(Path(sys.executable).with_name("tessera")), *arguments, "--sandbox", SANDBOX, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stderr}demo: `tessera {' '.join(arguments)}` ended with {done.returncode}")
    return json.loads(done.stdout)


def play(checkout: Path, home: Path) -> None:
    """Ingest the orders and the customers, and compare what the store holds with the source."""
    source = cdnow.source_file()
    say(f"The orders of CDNOW's customers, 1997-98: {source.name}")
    tessera("apply", str(checkout / _DEFINITIONS))
    say("Orders, each batch a run of the DAG `ingest`:")
    for batch, file in cdnow.write_order_batches(source, home / "demo").items():
        ingest("web_orders", file, batch, "--via-airflow")
    say("Customers, month by month; a later batch updates the records of earlier ones:")
    for batch, file in cdnow.write_customer_batches(source, home / "demo").items():
        ingest("customers", file, batch)
    say("What the source holds, and what the store holds:")
    say(f"  {'':<20} {'source':>14} {'store':>14}")
    same = [
        compare("orders", cdnow.order_totals(source), lake_totals()),
        compare("customers", cdnow.customer_totals(source), fragment_totals(home)),
    ]
    if not all(same):
        raise SystemExit("demo: the store does not hold what the source holds")


def ingest(dataset: str, file: Path, batch: str, *how: str) -> None:
    """Ingest one batch and print its row equation."""
    started = time.monotonic()
    done = tessera("ingest", dataset, str(file), "--batch", batch, *how)
    say(f"  {batch:<18} {done['result']['equation']}  ({time.monotonic() - started:.0f} s)")


def compare(what: str, source: cdnow.Totals, store: cdnow.Totals) -> bool:
    """Print the totals of both sides; says whether they are equal."""
    for name, left, right in zip(store._fields, source, store, strict=True):
        say(f"  {f'{what}: {name}':<20} {left:>14,} {right:>14,}  {'equal' if left == right else 'DIFFERENT'}")
    return source == store


def lake_totals() -> cdnow.Totals:
    """Add up the lake's orders, read without Spark."""
    import pyarrow.compute as pc
    from deltalake import DeltaTable

    path = next(t["path"] for t in tessera("tables") if t["name"] == "lake/web_orders")
    table = DeltaTable(path).to_pyarrow_table(
        # The lake may hold batches of yours too, and rows of a batch that is not active yet.
        partitions=[("_batch", "in", list(cdnow.BATCHES))],
        columns=["customerID", "commerce.order.priceTotal"],
    )
    return cdnow.Totals(
        table.num_rows,
        pc.count_distinct(table["customerID"]).as_py(),
        pc.sum(table["commerce.order.priceTotal"]).as_py(),
    )


def fragment_totals(home: Path) -> cdnow.Totals:
    """Add up the Profile store's records of customers: of each leaf the last value given, whichever batch gave it."""
    from deltalake import DeltaTable

    newest = max((home / "store" / SANDBOX / "fragments" / "customers").glob("g*"), key=lambda g: int(g.name[1:]))
    rows = DeltaTable(newest).to_pandas()
    latest = rows.sort_values(["_seq", "_ord"]).groupby("_identity").last()
    with_email = latest["personalEmail.address"].notna() & latest["firstOrder"].notna()
    return cdnow.Totals(int(latest["orderCount"].sum()), int(with_email.sum()), sum(latest["spent"], Decimal(0)))


def say(line: str) -> None:
    """Print at once: the demo is watched while it runs."""
    print(line, flush=True)
