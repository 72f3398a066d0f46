"""Rows that landed before, judged again for the Profile store: staged like the rows of files.

A row's place is that of its file in its former batch: `@path` is `<batch>/<file name>`, `@block` the file's number in
that batch, `@row` the row's number in the file.
"""

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from jobs.catalog.definitions import Dataset
from jobs.ingest.models import DatasetTables, IngestPlan
from jobs.ingest.transforms.documents import PROBLEM
from jobs.ingest.transforms.identities import judged
from jobs.ingest.transforms.landing import lake_table
from jobs.ingest.transforms.leaves import Leaf, leaf_type, leaves_of
from jobs.ingest.transforms.numbering import FILE, ORD, ROWS_PER_FILE, SPLIT_SCHEMA, Split
from jobs.ingest.transforms.reading import BLOCK, PATH, RAW, ROW
from jobs.lake.tables import BATCH, read

_FILE_BITS = ROWS_PER_FILE.bit_length() - 1


def landed_rows(spark: SparkSession, plan: IngestPlan) -> DataFrame:
    """Read the rows that the plan's source batches have in the lake: as `identities.judged` describes them."""
    leaves, lake = leaves_of(plan.dataset), read_lake(spark, plan)
    values = lake_values(lake, plan.dataset)
    rows = lake.where(F.col(BATCH).isin([source.batch_id for source in plan.from_lake])).select(
        F.concat_ws("/", BATCH, FILE).alias(PATH),
        F.shiftright(ORD, _FILE_BITS).alias(BLOCK),
        F.col(ORD).bitwiseAND(F.lit(ROWS_PER_FILE - 1)).alias(ROW),
        F.to_json(F.struct(*values)).alias(RAW),
        F.lit(None).cast("struct<rule:string,message:string>").alias(PROBLEM),
        *values,
    )
    return judged(rows, plan, leaves)


def read_lake(spark: SparkSession, tables: DatasetTables) -> DataFrame:
    """Read every row of lake/<dataset>, of batches that are ACTIVE or not."""
    return read(spark, lake_table(tables.store, tables.dataset).path)


def lake_values(lake: DataFrame, dataset: Dataset) -> list[Column]:
    """Return the leaves of a dataset as columns of its lake, null where the lake does not have them yet."""
    names = set(lake.columns)
    return [_value(leaf, names) for leaf in leaves_of(dataset)]


def landed_splits(spark: SparkSession, splits: Mapping[tuple[str, int], Split], sources: Sequence[str]) -> DataFrame:
    """Make the frame that `numbering.numbered` joins: the files of the source batches, in the order of the batches.

    A row keeps its number in its file, so that the quarantine names its line.
    """
    order = {batch_id: n for n, batch_id in enumerate(sources)}
    places = sorted(splits, key=lambda place: (order[place[0].partition("/")[0]], place[1]))
    rows = [(path, block, 0, 0, path.partition("/")[2], n) for n, (path, block) in enumerate(places)]
    return spark.createDataFrame(rows, SPLIT_SCHEMA)


def _value(leaf: Leaf, names: set[str]) -> Column:
    # The lake gains a column when the next batch of files lands.
    found = F.col(f"`{leaf.name}`") if leaf.name in names else F.lit(None).cast(leaf_type(leaf))
    return found.alias(leaf.name)
