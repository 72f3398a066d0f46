"""Identities that the rows of a batch name: each of them stands here, so that the graph is a function of links alone.

A row links its first identity of a linking namespace, which is the primary one if that links, with every other one of a
linking namespace: they are the same person's. Namespaces of type Non_people and Partner never link. A primary identity
that its row links with nothing stands by itself, with `linked` null: a person whom nothing else is known of yet.

A deletion says what the events say that it applies again. Such a link is still of the batch that brought the event, its
origin, and ends with that.
"""

from collections.abc import Sequence

from pyspark.sql import Column as SparkColumn, DataFrame, functions as F

from jobs.ingest.models import DatasetTables, IngestPlan
from jobs.ingest.transforms.identities import identities, may_have_several
from jobs.ingest.transforms.landing import ORDER_COLUMNS
from jobs.ingest.transforms.numbering import ORD
from jobs.lake.tables import BATCH, Column, Table

LAST_ORD, ORIGIN = "_last_ord", "_origin"
_PRIMARY, _NAMES = "@primary", "@names"


def links_table(tables: DatasetTables) -> Table:
    """Define links/<dataset>. Grain: one row per batch and pair of identities that it links, or identity by itself."""
    return Table(
        path=tables.store.path("links", tables.dataset.id),
        name=f"links/{tables.dataset.id}",
        comment=f"Identities that rows of dataset {tables.dataset.id} name together, by batch.",
        columns=(
            Column(
                name="identity", type="string", comment="First linking identity of the row; the primary one if it links"
            ),
            Column(
                name="linked", type="string", comment="Another identity of the row; null: the row links it with none"
            ),
            Column(name=LAST_ORD, type="long", comment="Order of the last row of the batch that says this"),
            *(column for column in ORDER_COLUMNS if column.name in (BATCH, "_seq", ORD, "_at")),
            Column(
                name=ORIGIN,
                type="string",
                comment="Batch that brought the row, where a deletion applied it again; null: _batch",
            ),
        ),
        personal=frozenset({"identity", "linked"}),
    )


def link_rows(rows: DataFrame, plan: IngestPlan, primary: str, origin: str | None = None) -> DataFrame:
    """Return the links of a batch.

    Grain out: one row per pair of identities and origin.

    Args:
        rows: rows that the Profile store took, with their leaves and `_ord`.
        plan: of the batch.
        primary: the column that holds the primary identity.
        origin: the column that names the batch that brought a row; None: this one.
    """
    brought_by = F.lit(None) if origin is None else F.col(origin)
    linking = [space.code for space in plan.namespaces if space.type.links]
    found = identities(plan.dataset, plan.namespaces, F.col(primary))
    named = rows.select(
        F.col(primary).alias(_PRIMARY),
        # Most rows have one identity, and to list those of a row takes most of the time.
        F.when(
            may_have_several(plan.dataset),
            F.filter(found, lambda identity: F.substring_index(identity, ":", 1).isin(linking)),
        ).alias(_NAMES),
        ORD,
        brought_by.cast("string").alias(ORIGIN),
    )
    pairs = named.select(F.explode(_said()).alias("said"), ORD, ORIGIN)
    once = (
        pairs.select("said.*", ORD, ORIGIN)
        .groupBy("identity", "linked", ORIGIN)
        .agg(F.min(ORD).alias(ORD), F.max(ORD).alias(LAST_ORD))
    )
    return once.select(
        "identity",
        "linked",
        LAST_ORD,
        F.lit(plan.batch_id).alias(BATCH),
        F.lit(plan.seq).cast("long").alias("_seq"),
        ORD,
        F.lit(plan.at).cast("timestamp").alias("_at"),
        ORIGIN,
    )


def is_said(by: Sequence[str], origins: Sequence[str]) -> SparkColumn:
    """Tell whether one of the batches `by` wrote a link, for a row that one of `origins` brought."""
    return F.col(BATCH).isin(list(by)) & F.coalesce(ORIGIN, BATCH).isin(list(origins))


def _said() -> SparkColumn:
    """Return what a row says: array of struct identity, linked."""
    primary, names, first = F.col(_PRIMARY), F.col(_NAMES), F.get(F.col(_NAMES), F.lit(0))
    alone = F.array(_pair(primary, F.lit(None)))
    star = F.transform(F.slice(names, 2, F.size(names) - 1), lambda other: _pair(first, other))
    return (
        F.when(F.coalesce(F.size(names), F.lit(0)) < 2, alone)
        .when(first == primary, star)
        .otherwise(F.concat(alone, star))
    )


def _pair(identity: SparkColumn, linked: SparkColumn) -> SparkColumn:
    return F.struct(identity.alias("identity"), linked.cast("string").alias("linked"))
