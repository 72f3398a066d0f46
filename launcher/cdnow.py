"""The demo's data: the orders of CDNOW's customers, real purchases of 1997 and 1998.

The file `CDNOW_master.txt` comes with the package `lifetimes`: a header line, then one order a line: customer id, date,
number of CDs, dollar value. It holds exact duplicates, so an order is named by its line.
"""

import csv
import importlib.metadata
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

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


class Totals(NamedTuple):
    """What orders add up to, in the source or in a table."""

    orders: int
    customers: int
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


def order_totals(source: Path) -> Totals:
    """Add up the source itself, in plain Python: what the lake must hold in the end."""
    found = list(orders(source))
    return Totals(len(found), len({order.customer for order in found}), sum((o.value for o in found), Decimal(0)))


def customer_totals(source: Path) -> Totals:
    """Add up the customers of the last month: what the Profile store must hold in the end."""
    known = customers(source).values()
    return Totals(sum(one.orders for one in known), len(known), sum((one.spent for one in known), Decimal(0)))


CUSTOMER_MONTHS = tuple(f"1997-{month:02}" for month in range(1, 7))


@dataclass
class Customer:
    """What is known of a customer at the end of a month."""

    customer_id: str
    email: str
    first_order: str
    last_order: str
    orders: int
    spent: Decimal


def customers(source: Path, months: tuple[str, ...] = CUSTOMER_MONTHS) -> dict[str, Customer]:
    """Return every customer who has ordered by the end of the last month, in plain Python."""
    known: dict[str, Customer] = {}
    for order in orders(source):
        if order.date[:7] <= months[-1]:
            address = email(order.customer)
            one = known.setdefault(
                order.customer, Customer(order.customer, address, order.date, order.date, 0, Decimal(0))
            )
            one.first_order, one.last_order = min(one.first_order, order.date), max(one.last_order, order.date)
            one.orders, one.spent = one.orders + 1, one.spent + order.value
    return known


def write_customer_batches(source: Path, folder: Path) -> dict[str, Path]:
    """Write one JSON lines file a month for `customers`: whoever ordered in it, with what the month changed.

    E-mail and first order are in a customer's first row only: the rows after it say nothing of them, and an upsert
    keeps them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths, before = {}, dict[str, Customer]()
    for number, month in enumerate(CUSTOMER_MONTHS, start=1):
        now = customers(source, CUSTOMER_MONTHS[:number])
        path = paths[f"customers-{month}"] = folder / f"customers-{month}.jsonl"
        with path.open("w", encoding="utf-8") as out:
            for key, one in now.items():
                row = {"customer_id": key, "last_order": one.last_order, "orders": one.orders, "spent": str(one.spent)}
                if key not in before:
                    row |= {"email": one.email, "first_order": one.first_order}
                if key not in before or before[key].orders != one.orders:
                    out.write(json.dumps(row) + "\n")
        before = now
    return paths


CITIES = ("Boston", "Chicago", "Denver", "Houston", "Seattle")
TIERS = ("bronze", "silver", "gold")


def ecid(customer: str) -> str:
    """Return the cookie of a customer's browser: 38 digits."""
    return customer.zfill(38)


def email(customer: str) -> str:
    """Return the address that a customer gives."""
    return f"customer{customer}@cdnow.example"


def write_other_batches(source: Path, folder: Path) -> dict[str, tuple[str, Path]]:
    """Write a file for each of the datasets that are made up around the orders, by the rule of the demo's definitions.

    Returns:
        batch -> dataset and file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = {order.customer: order for order in reversed(list(orders(source)))}
    rows = {
        "web_visits": [_visit(order) for order in first.values()],
        "store_cards": [_card(one) for one in first if int(one) % 3 == 0],
        "partner_segments": [_segment(one) for one in first if int(one) % 5 == 0],
    }
    paths = {dataset: folder / f"{dataset}.jsonl" for dataset in rows}
    for dataset, path in paths.items():
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows[dataset]), encoding="utf-8")
    return {f"{dataset.replace('_', '-')}-1": (dataset, path) for dataset, path in paths.items()}


ROBOTS, VISITS_OF_A_ROBOT, VISITED_CUSTOMERS = 100, 3, 50


def write_robot_batch(source: Path, folder: Path) -> Path:
    """Write the wrong batch of `web_visits`: visits of robots, and some under cookies of customers who log in.

    No identity of a customer's is new in it, and none is linked with another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = sorted({order.customer for order in orders(source) if order.customer[-1] in "01234"})[:VISITED_CUSTOMERS]
    robots = (f"9{robot:037}" for robot in range(ROBOTS) for _ in range(VISITS_OF_A_ROBOT))
    ecids = [*robots, *map(ecid, known)]
    path = folder / "robot.jsonl"
    lines = (
        {"visit_id": f"robot-{number}", "time": f"1998-07-01T{number % 24:02}:00:00Z", "ecid": cookie}
        for number, cookie in enumerate(ecids)
    )
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def _visit(order: Order) -> dict[str, str]:
    visit = {"visit_id": f"visit-{order.line}", "time": f"{order.date}T09:00:00Z", "ecid": ecid(order.customer)}
    return visit | ({"customer_id": order.customer} if order.customer[-1] in "01234" else {})


def _card(customer: str) -> dict[str, str]:
    number = int(customer)
    city, tier = CITIES[number % len(CITIES)], TIERS[number // 3 % len(TIERS)]
    return {"email": email(customer), "card": f"C{customer}", "tier": tier, "city": city}


def _segment(customer: str) -> dict[str, str]:
    number = int(customer)
    address = email(customer) if number % 500 else f"reader{customer}@elsewhere.example"
    return {"email": address, "segment": f"music-{number % 4}", "city": CITIES[number // 5 % len(CITIES)]}
