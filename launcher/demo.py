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
        SystemExit: the command failed; what it said is already on the terminal.
    """
    command = [str(Path(sys.executable).with_name("tessera")), *arguments, "--sandbox", SANDBOX, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"demo: `tessera {' '.join(arguments)}` ended with {done.returncode}")
    return json.loads(done.stdout)


def play(checkout: Path, home: Path) -> None:
    """Ingest the orders through Airflow and compare what the lake holds with the source."""
    source = cdnow.source_file()
    say(f"The orders of CDNOW's customers, 1997-98: {source.name}")
    tessera("apply", str(checkout / _DEFINITIONS))
    for batch, file in cdnow.write_order_batches(source, home / "demo").items():
        started = time.monotonic()
        done = tessera("ingest", "web_orders", str(file), "--batch", batch, "--via-airflow")
        say(f"  {batch:<20} {done['result']['equation']}  ({time.monotonic() - started:.0f} s)")
    expected, found = cdnow.totals(source), lake_totals(home)
    say("What the source holds, and what the lake holds:")
    say(f"  {'':<12} {'source':>14} {'lake':>14}")
    for name in ("orders", "customers", "cds", "value"):
        left, right = getattr(expected, name), getattr(found, name)
        say(f"  {name:<12} {left:>14,} {right:>14,}  {'equal' if left == right else 'DIFFERENT'}")
    if expected != found:
        raise SystemExit("demo: the lake does not hold what the source holds")


def lake_totals(home: Path) -> cdnow.Totals:
    """Add up the lake's table of orders, read without Spark."""
    import pyarrow.compute as pc
    from deltalake import DeltaTable

    path = next(t["path"] for t in tessera("tables") if t["name"] == "lake/web_orders")
    table = DeltaTable(path).to_pyarrow_table(
        # The lake may hold batches of yours too, and rows of a batch that is not active yet.
        partitions=[("_batch", "in", list(cdnow.BATCHES))],
        columns=["customerID", "commerce.order.itemCount", "commerce.order.priceTotal"],
    )
    value: Decimal = pc.sum(table["commerce.order.priceTotal"]).as_py()
    return cdnow.Totals(
        table.num_rows,
        pc.count_distinct(table["customerID"]).as_py(),
        pc.sum(table["commerce.order.itemCount"]).as_py(),
        value,
    )


def say(line: str) -> None:
    """Print at once: the demo is watched while it runs."""
    print(line, flush=True)
