"""Records of a batch to fragments: what a dataset says about each primary identity."""

from pyspark.sql import Column as SparkColumn, DataFrame, Window, functions as F

from jobs.ingest.models import DatasetTables, IngestPlan
from jobs.ingest.transforms.identities import FIT, IDENTITY
from jobs.ingest.transforms.leaves import UNSET, leaf_type, leaves_of
from jobs.ingest.transforms.numbering import ORD
from jobs.lake.keyed_table import OP, RESET, KeyedTable, Mode
from jobs.lake.tables import Column

FRAGMENT_KEY = Column(name="_identity", type="string", comment="Primary identity, <namespace>:<value>")


def record_fragments(tables: DatasetTables) -> KeyedTable:
    """Define fragments/<dataset> of a record dataset: the record of each primary identity.

    Without upsert the last record replaces the ones before; with upsert each leaf has its last given value. Which of
    the two is said by each row, as a reset or a put, so that a dataset may change from one to the other.
    """
    dataset = tables.dataset
    return KeyedTable(
        path=tables.store.generation_path("fragments", dataset.id, tables.generation),
        name=f"fragments/{dataset.id}",
        comment=f"What dataset {dataset.id} says about each primary identity.",
        key=(FRAGMENT_KEY,),
        payload=tuple(
            Column(name=leaf.name, type=leaf_type(leaf), comment=leaf.field.comment if leaf.field else "")
            for leaf in leaves_of(dataset)
            if leaf.name != UNSET
        ),
        mode=Mode.PATCH,
        append=frozenset(field.path for field in dataset.fields if field.append),
    )


def record_rows(placed: DataFrame, plan: IngestPlan) -> DataFrame:
    """Return the rows of a batch's run.

    Grain out: without upsert one row per primary identity, the last one in the order of the dataset's ordering field
    (null first), then of file and row; with upsert every row, `_ord` its place in that order.
    """
    ordering = [] if plan.dataset.ordering is None else [F.col(f"`{plan.dataset.ordering}`")]
    of_identity = Window.partitionBy(IDENTITY)
    fit = placed.where(F.col(FIT))
    if not plan.dataset.upsert:
        latest = of_identity.orderBy(*(value.desc_nulls_last() for value in ordering), F.col(ORD).desc())
        ranked = fit.withColumn("@rank", F.row_number().over(latest)).where(F.col("@rank") == 1)
        return ranked.select(*_columns(plan), ORD, F.lit(RESET).alias(OP))
    place = F.col(ORD)
    if ordering:
        in_order = of_identity.orderBy(*(value.asc_nulls_first() for value in ordering), F.col(ORD))
        place = F.row_number().over(in_order).cast("long")
    return fit.select(*_columns(plan), place.alias(ORD))


def _columns(plan: IngestPlan) -> list[SparkColumn]:
    return [F.col(IDENTITY).alias(FRAGMENT_KEY.name), *(F.col(f"`{leaf.name}`") for leaf in leaves_of(plan.dataset))]
