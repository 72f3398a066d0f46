"""Fixture F: one small company, checked by hand, in the words of every feature; and rows as base plus overrides.

Namespaces CRMID (cross-device), Email, ECID (cookie). Three datasets:

- crm, records by CRMID: c1 (a@x.io, Ann, Paris), c2 (b@x.io, Bob)
- loyalty, upserted records by Email: a@x.io (gold, 10, Lyon), z@x.io (silver, 5)
- web, events by ECID: e1 and e2 of k1 (who is c1), e3 of k2, e4 of k3
"""

import csv
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.catalog.definitions import Definitions

Row = dict[str, Any]


def at(day: int, hour: int = 0) -> datetime:
    """An instant of January 2024, UTC."""
    return datetime(2024, 1, day, hour, tzinfo=UTC)


def field(path: str, type: str = "string", **more: Any) -> Row:
    return {"path": path, "type": type, **more}


def identity(path: str, namespace: str, primary: bool = False) -> Row:
    return field(path, identity={"namespace": namespace, "primary": primary})


NAMESPACES = (
    {"code": "CRMID", "type": "Cross_device"},
    {"code": "Email", "type": "Email"},
    {"code": "ECID", "type": "Cookie"},
)


def crm(**changes: Any) -> Row:
    fields = [
        identity("personID", "CRMID", primary=True),
        identity("personalEmail.address", "Email"),
        field("person.name.firstName"),
        field("homeAddress.city"),
    ]
    return {"id": "crm", "name": "CRM", "kind": "record", "enabled": True, "fields": fields} | changes


def loyalty(**changes: Any) -> Row:
    fields = [
        identity("personalEmail.address", "Email", primary=True),
        field("loyalty.tier"),
        field("loyalty.points", "integer"),
        field("homeAddress.city"),
    ]
    base = {"id": "loyalty", "name": "Loyalty", "kind": "record", "enabled": True, "upsert": True, "fields": fields}
    return base | changes


def web(**changes: Any) -> Row:
    fields = [
        field("_id"),
        field("timestamp", "timestamp"),
        identity("endUserIDs.ecid", "ECID", primary=True),
        identity("personID", "CRMID"),
        field("commerce.order.priceTotal", "decimal(10,2)"),
    ]
    return {"id": "web", "name": "Web", "kind": "events", "enabled": True, "fields": fields} | changes


def definitions(*datasets: Row, namespaces: Sequence[Row] = NAMESPACES) -> Definitions:
    return Definitions.model_validate({"namespaces": namespaces, "datasets": datasets or (crm(), loyalty(), web())})


def nested(leaves: Mapping[str, Any]) -> Row:
    """Dotted paths to the nested shape of JSON; an absent leaf is one that is not named."""
    row: Row = {}
    for path, value in leaves.items():
        parent = row
        *parents, last = path.split(".")
        for part in parents:
            parent = parent.setdefault(part, {})
        parent[last] = value
    return row


def _with(base: Row, overrides: Row) -> Row:
    """Add or replace leaves; an Ellipsis takes one out."""
    return nested({path: value for path, value in (base | overrides).items() if value is not ...})


def customer(person_id: Any = "c1", **leaves: Any) -> Row:
    """A row of crm: `customer("c1", **{"homeAddress.city": "Paris"})`."""
    return _with({"personID": person_id}, leaves)


def member(email: Any = "a@x.io", **leaves: Any) -> Row:
    """A row of loyalty."""
    return _with({"personalEmail.address": email}, leaves)


def event(event_id: Any = "e1", **leaves: Any) -> Row:
    """A row of web."""
    base = {"_id": event_id, "timestamp": "2024-01-02T10:00:00Z", "endUserIDs.ecid": "k1"}
    return _with(base, leaves)


EMAIL, FIRST, CITY, PRICE = (
    "personalEmail.address",
    "person.name.firstName",
    "homeAddress.city",
    "commerce.order.priceTotal",
)

CRM_ROWS = (
    customer("c1", **{EMAIL: "a@x.io", FIRST: "Ann", CITY: "Paris"}),
    customer("c2", **{EMAIL: "b@x.io", FIRST: "Bob"}),
)
LOYALTY_ROWS = (
    member("a@x.io", **{"loyalty.tier": "gold", "loyalty.points": 10, CITY: "Lyon"}),
    member("z@x.io", **{"loyalty.tier": "silver", "loyalty.points": 5}),
)
WEB_ROWS = (
    event("e1", personID="c1", **{PRICE: 20}),
    event("e2", timestamp="2024-01-02T11:00:00Z", personID="c1", **{PRICE: 5}),
    event("e3", timestamp="2024-01-02T12:00:00Z", **{"endUserIDs.ecid": "k2"}),
    event("e4", timestamp="2023-12-01T00:00:00Z", **{"endUserIDs.ecid": "k3"}),
)


def write_text(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """Write a text file, as gzip when its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_jsonl(path: Path, rows: Iterable[Row]) -> Path:
    return write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], encoding: str = "utf-8") -> Path:
    """Write flat rows under a header of all their names."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as opened:
        writer = csv.DictWriter(opened, names)
        writer.writeheader()
        writer.writerows(rows)
    return path
