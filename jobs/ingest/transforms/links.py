"""Identities that a row names together: they are the same person's.

A row links its first identity of a linking namespace, which is the primary one if that links, with every other one of a
linking namespace. Namespaces of type Non_people and Partner never link.
"""

from pyspark.sql import DataFrame, functions as F

from jobs.ingest.models import IngestPlan
from jobs.ingest.transforms.identities import identities, may_have_several
from jobs.ingest.transforms.landing import ORDER_COLUMNS
from jobs.ingest.transforms.numbering import ORD
from jobs.lake.store import Store
from jobs.lake.tables import BATCH, Column, Table

LAST_ORD = "_last_ord"


def links_table(plan: IngestPlan) -> Table:
    """Define links/<dataset>. Grain: one row per batch and pair of identities that it links."""
    return Table(
        path=Store(plan.store_root, plan.sandbox).path("links", plan.dataset.id),
        name=f"links/{plan.dataset.id}",
        comment=f"Identities that rows of dataset {plan.dataset.id} name together, by batch.",
        columns=(
            Column(
                name="identity", type="string", comment="First linking identity of the row; the primary one if it links"
            ),
            Column(name="linked", type="string", comment="Another identity of the row"),
            Column(name=LAST_ORD, type="long", comment="Order of the last row of the batch with this pair"),
            *(column for column in ORDER_COLUMNS if column.name in (BATCH, "_seq", ORD, "_at")),
        ),
        personal=frozenset({"identity", "linked"}),
    )


def link_rows(rows: DataFrame, plan: IngestPlan, primary: str) -> DataFrame:
    """Return the links of a batch.

    Args:
        rows: rows that the Profile store took, with their leaves and `_ord`.
        plan: of the batch.
        primary: the column that holds the primary identity.
    """
    linking = [space.code for space in plan.namespaces if space.type.links]
    found = identities(plan.dataset, plan.namespaces, F.col(primary))
    names = rows.where(may_have_several(plan.dataset)).select(
        F.filter(found, lambda identity: F.substring_index(identity, ":", 1).isin(linking)).alias("names"), ORD
    )
    pairs = names.where(F.size("names") > 1).select(
        F.col("names")[0].alias("identity"),
        F.explode(F.slice("names", 2, F.size("names") - 1)).alias("linked"),
        ORD,
    )
    once = pairs.groupBy("identity", "linked").agg(F.min(ORD).alias(ORD), F.max(ORD).alias(LAST_ORD))
    return once.select(
        "identity",
        "linked",
        LAST_ORD,
        F.lit(plan.batch_id).alias(BATCH),
        F.lit(plan.seq).cast("long").alias("_seq"),
        ORD,
        F.lit(plan.at).cast("timestamp").alias("_at"),
    )
