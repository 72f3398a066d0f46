"""The two tables that every row of a batch ends in, and their rows: the lake's and the quarantine's."""

from pyspark.sql import DataFrame, functions as F

from jobs.catalog.definitions import Dataset, DatasetField
from jobs.ingest.models import IngestPlan
from jobs.ingest.transforms.identities import FIT, LANDS, MESSAGE, RULE
from jobs.ingest.transforms.leaves import IDENTITY_MAP, UNSET, leaf_type, leaves_of
from jobs.ingest.transforms.numbering import FILE, LINE, ORD
from jobs.ingest.transforms.reading import RAW
from jobs.lake.store import Store
from jobs.lake.tables import BATCH, Column, Table

PROFILE = "_profile"
_COMMENTS = {
    IDENTITY_MAP: "Identities by namespace, as ingested",
    UNSET: "Paths that the row blanks in the record",
}
ORDER_COLUMNS = (
    Column(
        name=BATCH, type="string", comment="Batch that the row came in; a batch counts once the catalog says ACTIVE"
    ),
    Column(name="_seq", type="long", comment="Order of the batch in its dataset"),
    Column(name=ORD, type="long", comment="Order of the row in its batch: place of the file * 2^40 + row in the file"),
    Column(name="_at", type="timestamp", comment="Ingestion instant, UTC"),
    Column(name=PROFILE, type="boolean", comment="False: not fit for the Profile store; the quarantine may say why"),
    Column(name=FILE, type="string", comment="Base name of the file that the row came in"),
)


def lake_table(store: Store, dataset: Dataset) -> Table:
    """Define lake/<dataset>. Grain: one row per row ingested that broke no rule, or one of the Profile store only."""
    leaves = leaves_of(dataset)
    columns = [
        Column(name=leaf.name, type=leaf_type(leaf), comment=_COMMENTS.get(leaf.name) or _comment(leaf.field))
        for leaf in leaves
    ]
    return Table(
        path=store.path("lake", dataset.id),
        name=f"lake/{dataset.id}",
        comment=(
            f"Rows of dataset {dataset.id} as ingested. It may run ahead of the catalog: "
            "only batches that the catalog calls ACTIVE count."
        ),
        columns=(*columns, *ORDER_COLUMNS),
        personal=frozenset(leaf.name for leaf in leaves) | {FILE},
    )


def quarantine_table(store: Store, dataset_id: str) -> Table:
    """Define quarantine/<dataset>. Grain: one row per refused row."""
    columns = (
        Column(name="raw", type="string", comment="The row's text; ISO-8859-1 where it is not in the file's encoding"),
        Column(name="file", type="string", comment="Base name of the file"),
        Column(name="line", type="long", comment="Line of the text, else number of the element or row; from 1"),
        Column(name="rule", type="string", comment="Rule that the row breaks; the first one that it meets"),
        Column(name="message", type="string", comment="Where and why, without the row's values"),
        Column(name=BATCH, type="string", comment="Batch that the row came in"),
    )
    return Table(
        path=store.path("quarantine", dataset_id),
        name=f"quarantine/{dataset_id}",
        comment=f"Rows of dataset {dataset_id} that broke a rule, of every batch, failed ones included.",
        columns=columns,
        personal=frozenset({"raw", "file", "message"}),
    )


def lake_rows(placed: DataFrame, plan: IngestPlan) -> DataFrame:
    """Return the rows of a batch's partition of lake/<dataset>: those that broke no rule, or one of Profile only."""
    leaves = leaves_of(plan.dataset)
    return placed.where(F.col(LANDS)).select(
        *(F.col(f"`{leaf.name}`") for leaf in leaves),
        F.lit(plan.batch_id).alias(BATCH),
        F.lit(plan.seq).cast("long").alias("_seq"),
        F.col(ORD),
        F.lit(plan.at).cast("timestamp").alias("_at"),
        F.col(FIT).alias(PROFILE),
        F.col(FILE),
    )


def quarantine_rows(placed: DataFrame, batch_id: str) -> DataFrame:
    """Return the rows of a batch's partition of quarantine/<dataset>."""
    place = F.format_string("%s line %d: ", FILE, LINE)
    return placed.where(F.col(RULE).isNotNull()).select(
        F.col(RAW).alias("raw"),
        F.col(FILE).alias("file"),
        F.col(LINE).alias("line"),
        F.col(RULE).alias("rule"),
        F.concat(place, F.col(MESSAGE)).alias("message"),
        F.lit(batch_id).alias(BATCH),
    )


def _comment(field: DatasetField | None) -> str:
    return field.comment if field else ""
