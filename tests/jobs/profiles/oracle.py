"""What profiles must be, in plain Python: dictionaries over the rows of every batch, in the order of ingestion."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.builders import Row
from tests.jobs.identities.graphs import Link, LinkBatch, profile_id, stitched

PERSON, EMAIL, ECID = "personID", "personalEmail.address", "endUserIDs.ecid"
NAMESPACE = {PERSON: "CRMID", EMAIL: "Email", ECID: "ECID"}
# The primary identity of each dataset, and another one that a row may name.
PRIMARY = {"crm": PERSON, "loyalty": EMAIL, "web": ECID}
SECOND = {"crm": EMAIL, "web": PERSON}


@dataclass(frozen=True)
class Ingested:
    """One batch: its rows as flat leaves, its place in its dataset, and when it came."""

    dataset: str
    seq: int
    rows: tuple[Row, ...]
    at: datetime


@dataclass
class Fragment:
    """What a dataset says of an identity: leaves, the order of its last row, events, namespaces."""

    identity: str
    leaves: Row
    at: datetime
    order: tuple[int, int]
    events: dict[str, str]
    namespaces: set[str]


def identity(row: Row, path: str) -> str | None:
    value = row.get(path)
    return None if value is None else f"{NAMESPACE[path]}:{value}"


def primary_of(dataset: str, row: Row) -> str:
    return f"{NAMESPACE[PRIMARY[dataset]]}:{row[PRIMARY[dataset]]}"


def new_rows(batches: Sequence[Ingested]) -> list[tuple[Ingested, list[tuple[int, Row]]]]:
    """Each batch with the rows that count, numbered: of events, those whose `_id` was not there before."""
    known: set[str] = set()
    found = []
    for batch in batches:
        rows = []
        for number, row in enumerate(batch.rows):
            if batch.dataset == "web":
                if row["_id"] in known:
                    continue
                known.add(row["_id"])
            rows.append((number, row))
        found.append((batch, rows))
    return found


def links(batches: Sequence[Ingested]) -> list[LinkBatch]:
    """Everything that rows say of identities; a row that does not count says nothing, and keeps its place."""
    found = []
    for batch, rows in new_rows(batches):
        said: list[Link] = [("", None)] * len(batch.rows)
        for number, row in rows:
            said[number] = (primary_of(batch.dataset, row), identity(row, SECOND.get(batch.dataset, "")))
        found.append(LinkBatch(batch.dataset, batch.seq, tuple(said), day=batch.at.day))
    return found


def fragments(batches: Sequence[Ingested]) -> dict[tuple[str, str], Fragment]:
    """The fragments by dataset and primary identity: crm replaces, loyalty keeps what a row leaves out, web counts."""
    found: dict[tuple[str, str], Fragment] = {}
    for batch, rows in new_rows(batches):
        for number, row in rows:
            key = (batch.dataset, primary_of(batch.dataset, row))
            given = {name: value for name, value in row.items() if value is not None}
            fresh = Fragment(key[1], {}, batch.at, (0, 0), {}, set())
            fragment = fresh if batch.dataset == "crm" else found.get(key, fresh)
            fragment.at, fragment.order = max(fragment.at, batch.at), (batch.seq, number)
            if batch.dataset == "web":
                fragment.events[row["_id"]] = row["timestamp"]
                fragment.namespaces |= {NAMESPACE[path] for path in (ECID, PERSON) if path in given}
            else:
                fragment.leaves |= given
                fragment.namespaces = {NAMESPACE[path] for path in (PERSON, EMAIL) if path in fragment.leaves}
            found[key] = fragment
    return found


def profiles(batches: Sequence[Ingested], by_graph: bool = True) -> dict[str, Row]:
    """The profiles by id, each as the view has it without its digest, instants as texts.

    Args:
        batches: in the order of ingestion.
        by_graph: whether identities are stitched; else each primary identity is a profile.
    """
    known = fragments(batches)
    owner = stitched(links(batches)) if by_graph else {name: profile_id(name) for _, name in known}
    members: dict[str, list[str]] = {}
    for name, profile in owner.items():
        members.setdefault(profile, []).append(name)
    own: dict[str, list[tuple[str, Fragment]]] = {}
    for (dataset, name), fragment in known.items():
        own.setdefault(owner[name], []).append((dataset, fragment))
    return {profile: _profile(pairs, sorted(members[profile])) for profile, pairs in own.items()}


def _profile(own: Iterable[tuple[str, Fragment]], identities: list[str]) -> Row:
    # The last ingested first; of one instant the first dataset, then the later batch and row, then identity.
    ordered = sorted(own, key=lambda pair: pair[1].identity)
    ordered.sort(key=lambda pair: pair[1].order, reverse=True)
    ordered.sort(key=lambda pair: pair[0])
    ordered.sort(key=lambda pair: pair[1].at, reverse=True)
    leaves: dict[str, Any] = {}
    for dataset, fragment in ordered:
        if dataset != "web":
            leaves = fragment.leaves | leaves
    by_dataset = Counter(dataset for dataset, _ in ordered)
    counted = sum(len(fragment.events) for _, fragment in ordered)
    last = max((when for _, fragment in ordered for when in fragment.events.values()), default=None)
    facts = {
        "_identities": identities,
        "_are_primary": [name in {fragment.identity for _, fragment in ordered} for name in identities],
        "_identity_count": len(identities),
        "_datasets": sorted(by_dataset),
        "_fragments_by_dataset": dict(by_dataset),
        "_fragments_by_namespace": dict(Counter(code for _, fragment in ordered for code in fragment.namespaces)),
        "_events": counted,
        "_events_by_dataset": {"web": counted} if counted else {},
        "_updated_at": f"{max(fragment.at for _, fragment in ordered):%Y-%m-%d %H:%M:%S}",
        "_has_records": any(dataset != "web" for dataset in by_dataset),
    }
    return leaves | facts | ({"_last_event": last} if last else {})
