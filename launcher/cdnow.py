"""The demo's data: the orders of CDNOW's customers, real purchases of 1997 and 1998.

The file `CDNOW_master.txt` comes with the package `lifetimes`: a header line, then one order a line: customer id, date,
number of CDs, dollar value. It holds exact duplicates, so an order is named by its line.
"""

import csv
import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

# Batch name -> first day after it. The first quarter of 1997 holds every customer's first order.
BATCHES = {"orders-1997-q1": "1997-04-01", "orders-1997-q2-q4": "1998-01-01", "orders-1998": "1999-01-01"}
ORDER_COLUMNS = ("order_id", "date", "customer_id", "number_of_cds", "dollar_value")


@dataclass(frozen=True)
class Order:
    """One line of the source."""

    line: int
    customer: str
    date: str
    cds: int
    value: Decimal


@dataclass(frozen=True)
class Totals:
    """What the orders add up to."""

    orders: int
    customers: int
    cds: int
    value: Decimal


def source_file() -> Path:
    """Return the path of CDNOW_master.txt in the installed package, which is never imported."""
    files = importlib.metadata.files("lifetimes") or []
    return next(Path(str(f.locate())) for f in files if f.name == "CDNOW_master.txt")


def orders(source: Path) -> Iterator[Order]:
    """Read the source; `line` is its 1-based line."""
    for number, line in enumerate(source.read_text(encoding="ascii").splitlines(), start=1):
        if number > 1 and line.strip():
            customer, day, cds, value = line.split()
            yield Order(number, customer, f"{day[:4]}-{day[4:6]}-{day[6:]}", int(cds), Decimal(value))


def write_order_batches(source: Path, folder: Path) -> dict[str, Path]:
    """Write one CSV file a batch of `web_orders`; the same source gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {batch: folder / f"{batch}.csv" for batch in BATCHES}
    rows: dict[str, list[Order]] = {batch: [] for batch in BATCHES}
    for order in orders(source):
        rows[next(batch for batch, end in BATCHES.items() if order.date < end)].append(order)
    for batch, path in paths.items():
        with path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(ORDER_COLUMNS)
            writer.writerows((f"cdnow-{o.line}", o.date, o.customer, o.cds, o.value) for o in rows[batch])
    return paths


def totals(source: Path) -> Totals:
    """Add up the source itself, in plain Python: what the lake must hold in the end."""
    found = list(orders(source))
    return Totals(
        len(found),
        len({o.customer for o in found}),
        sum(o.cds for o in found),
        sum((o.value for o in found), Decimal(0)),
    )
