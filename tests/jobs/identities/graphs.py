"""Graphs for the tests of stitching: links written straight to their tables, and an oracle of plain Python."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import networkx as nx
from pyspark.sql import SparkSession

from jobs.catalog.definitions import Dataset
from jobs.faults import Fault
from jobs.identities.job import Graph, remove, stitch
from jobs.identities.models import LinkSource, Stitched, StitchPlan
from jobs.identities.transforms import identities_table, merged_ids_table
from jobs.ingest.transforms.links import links_table
from jobs.lake.commits import CommitInfo
from jobs.lake.definition import ensure
from jobs.lake.keyed_table import Run
from jobs.lake.runs import read as read_keyed
from jobs.lake.staging import Staging
from jobs.lake.store import Store
from jobs.lake.tables import replace_batch
from tests.builders import at, crm
from tests.jobs.ingest.workshop import Silent

# A row of a links table in short: an identity, and another one that it is linked with or None.
# (an empty one stands for a row that says nothing).
Link = tuple[str, str | None]
# When an identity was named: as the order of naming has it.
First = tuple[datetime, str, int, int]


@dataclass(frozen=True)
class LinkBatch:
    """The links of one batch."""

    dataset: str
    seq: int
    links: tuple[Link, ...]
    day: int = 1

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.seq}"


def profile_id(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def first_seen(batches: Iterable[LinkBatch]) -> dict[str, First]:
    """When each identity was named first."""
    found: dict[str, First] = {}
    for batch in batches:
        for ord_, link in enumerate(batch.links):
            for identity in link:
                if identity:
                    when = (at(batch.day), batch.dataset, batch.seq, ord_)
                    found[identity] = min(found.get(identity, when), when)
    return found


def stitched(batches: Sequence[LinkBatch], without: Iterable[str] = ()) -> dict[str, str]:
    """The profile id of each identity, by networkx."""
    gone = set(without)
    graph = nx.Graph()
    firsts = first_seen(batches)
    graph.add_nodes_from(set(firsts) - gone)
    pairs = (link for batch in batches for link in batch.links if link[1] is not None)
    graph.add_edges_from(pair for pair in pairs if not gone & set(pair))
    found: dict[str, str] = {}
    for component in nx.connected_components(graph):
        oldest = min(component, key=lambda identity: (firsts[identity], identity))
        found |= dict.fromkeys(component, profile_id(oldest))
    return found


@dataclass
class GraphShop:
    """A store with nothing but links, and its graph."""

    spark: SparkSession
    root: str
    driver_links: int = 1000
    numbers: int = 0
    batches: list[LinkBatch] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(self.root, "prod")

    def source(self, dataset: str, batches: Sequence[str]) -> LinkSource:
        definition, names = Dataset.model_validate(crm(id=dataset)), tuple(batches)
        return LinkSource(
            dataset=definition, store_root=self.root, sandbox="prod", generation=0, batches=names, origins=names
        )

    def write(self, *batches: LinkBatch) -> None:
        """Put batches into their tables, as ingestion does."""
        schema = (
            "identity string, linked string, _last_ord bigint, _batch string, _seq bigint, _ord bigint, _at timestamp, "
            "_origin string"
        )
        for batch in batches:
            table = links_table(self.source(batch.dataset, ()))
            ensure(self.spark, table)
            rows = [(*link, n, batch.name, batch.seq, n, at(batch.day), None) for n, link in enumerate(batch.links)]
            frame = self.spark.createDataFrame(rows, schema)
            replace_batch(self.spark, table, frame, batch.name, CommitInfo(job="test", batch=batch.name), Fault.LAKE)

    def plan(self, batches: Sequence[LinkBatch], full: bool) -> StitchPlan:
        self.numbers += 1
        names: dict[str, list[str]] = {}
        for batch in batches:
            names.setdefault(batch.dataset, []).append(batch.name)
        return StitchPlan(
            store_root=self.root,
            sandbox="prod",
            run=Run(f"r{self.numbers}", self.numbers),
            at=at(1),
            identities_runs=tuple(self.runs),
            merged_runs=tuple(self.runs),
            sources=tuple(self.source(dataset, ids) for dataset, ids in names.items()),
            full=full,
            driver_links=self.driver_links,
            commit=CommitInfo(job="test", attempt=f"a{self.numbers}"),
        )

    def take(self, *batches: LinkBatch, full: bool = False) -> Stitched:
        """Stitch batches that are written, and publish."""
        self.batches.extend(batches)
        plan = self.plan(self.batches if full else batches, full)
        with Staging.open(self.spark, self.store, plan.commit.attempt) as staging:
            return self._published(plan, stitch(self.spark, plan, staging, Silent()))

    def without(self, *leaving: str) -> Stitched:
        """Take identities out."""
        plan = self.plan(self.batches, full=False)
        with Staging.open(self.spark, self.store, plan.commit.attempt) as staging:
            return self._published(plan, remove(self.spark, plan, staging, leaving, Silent()))

    def _published(self, plan: StitchPlan, graph: Graph) -> Stitched:
        self.runs.append(plan.run)
        return graph.result

    def profiles(self) -> dict[str, str]:
        """The profile id of each identity."""
        rows = read_keyed(self.spark, identities_table(self.store), self.runs).select("identity", "profile_id")
        return {row[0]: row[1] for row in rows.collect()}

    def ends(self) -> dict[str, str]:
        """What became of profile ids that ended."""
        rows = read_keyed(self.spark, merged_ids_table(self.store), self.runs).select("profile_id", "merged_into")
        return {row[0]: row[1] for row in rows.collect()}


def by_component(profiles: Mapping[str, Any]) -> set[frozenset[str]]:
    """The components alone, whatever they are called."""
    return {frozenset(i for i, other in profiles.items() if other == profile) for profile in profiles.values()}
