"""What is done with a keyed table between folds: write a run, read, look a key up, drop a run, clear."""

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from jobs.faults import Fault
from jobs.lake.commits import CommitInfo, Written
from jobs.lake.keyed_table import (
    AT,
    BASE,
    FOLDED,
    FROM,
    KEY_SEPARATOR,
    LEVEL,
    OP,
    ORD,
    PART,
    PUT,
    RUN,
    RUN_ID,
    SEQ,
    UNSET,
    Folded,
    KeyedTable,
    KeyValue,
    Mode,
    Run,
    key_hash,
)
from jobs.lake.layout import Layout, folded_runs, is_base, is_run, load, look
from jobs.lake.reduce import lay_over, resolve
from jobs.lake.sql import checked_batch_id, literal, quoted
from jobs.lake.tables import remove_where, replace_partition


def write_run(
    spark: SparkSession,
    table: KeyedTable,
    frame: DataFrame,
    run: Run,
    at: datetime,
    commit: CommitInfo,
    fault: Fault,
) -> Written:
    """Make a frame the run of a batch, whatever an earlier attempt left. Reads nothing of the table.

    Args:
        spark: the session that the frame belongs to.
        table: must exist (`ensure(spark, table.table)`).
        frame: key, payload and `_ord` bigint; `_op` (put, the default, reset or delete), `_unset` array of column
            names (mode patch, default none) and `_at` (default `at`) may be there too. Any number of rows per key; no
            two of one `_ord`.
        run: the batch's id and `_seq`. A `_seq` is never used for two batches, and a batch that is sent again after it
            was folded and removed needs a new one: the run of a folded (batch, `_seq`) is not read any more.
        at: instant of ingestion, with its time zone.
        commit: who writes.
        fault: what is written, for those who test what a crash does here.

    Raises:
        InvalidRequest: the batch id breaks its rule.
        StoreError: the frame's columns differ from the table's, or the store refused.
    """
    if at.tzinfo is None:
        raise ValueError(f"{table.name}: the instant of ingestion {at} has no time zone")
    given = set(frame.columns)
    defaults = {OP: F.lit(PUT), AT: F.lit(at), UNSET: F.lit(None).cast("array<string>")}
    if table.mode is not Mode.PATCH:
        del defaults[UNSET]
    fixed = {SEQ: F.lit(run.seq).cast("bigint"), RUN_ID: F.lit(None).cast("string")}
    if table.mode is Mode.PATCH:
        fixed[FROM] = F.lit(None).cast("map<string,bigint>")
    place = {LEVEL: F.lit(RUN), PART: F.lit(checked_batch_id(run.batch_id))}
    rows = frame.withColumns({name: value for name, value in defaults.items() if name not in given} | fixed | place)
    own = {LEVEL: RUN, PART: run.batch_id}
    return replace_partition(spark, table.table, _sorted(rows, table), own, commit, fault)


def read(spark: SparkSession, table: KeyedTable, active: Sequence[tuple[str, int]] | Layout) -> DataFrame:
    """Read one row per key: the base with the runs of the ACTIVE batches laid over it.

    Grain out: one row per key that exists; columns `table.visible_names`. The frame is lazy and right whenever it is
    executed: a fold in between changes no answer. A run that is written later is not in it.

    Args:
        spark: the session.
        table: must exist.
        active: (batch id, `_seq`) of the batches that are ACTIVE, folded or not; or the layout, when it is known.
    """
    layout = _layout(spark, table, active)
    rows = _complete(spark, table)
    base = rows.where(is_base())
    visible = [F.col(quoted(name)) for name in table.visible_names]
    if not layout.pending:
        return base.select(visible)
    runs = rows.where(is_run([run.batch_id for run in layout.pending]))
    return lay_over(base, runs, table, layout.late)


def read_keys(
    spark: SparkSession, table: KeyedTable, active: Sequence[tuple[str, int]] | Layout, keys: DataFrame
) -> DataFrame:
    """Read the rows of many keys: as `read`, but what is no row of these keys is passed over before runs are reduced.

    Args:
        spark: the session.
        table: must exist.
        active: as of `read`.
        keys: the key's columns, any number of times.
    """
    layout = _layout(spark, table, active)
    place = is_run([run.batch_id for run in layout.pending]) | is_base() if layout.pending else is_base()
    rows = _complete(spark, table).where(place)
    found = rows.join(keys.select(table.key_names).distinct(), table.key_names, "left_semi")
    visible = [F.col(quoted(name)) for name in table.visible_names]
    return (resolve(found, table) if layout.pending else found).select(visible)


def lookup(
    spark: SparkSession, table: KeyedTable, keys: Sequence[KeyValue], active: Sequence[tuple[str, int]]
) -> DataFrame:
    """Read the rows of a few keys; opens the runs and the keys' own buckets only. Columns as of `read`.

    Args:
        spark: the session.
        table: must exist.
        keys: values of the key; tuples when it has several columns.
        active: (batch id, `_seq`) of the batches that are ACTIVE.
    """
    layout = look(spark, table, active)
    place = is_run([run.batch_id for run in layout.pending]) | (is_base() & _in_buckets_of(keys))
    return resolve(load(spark, table).where(place & _has_key(table, keys)), table)


def drop_run(spark: SparkSession, table: KeyedTable, run: Run, commit: CommitInfo) -> Written:
    """Remove a batch's run; metadata only. A run that is not there is no error.

    Raises:
        Folded: the run's rows are in the base; the caller rebuilds the keys that it touched.
        Conflict: a fold took the run at this moment; called again, it answers `Folded`.
    """
    predicate = f"{LEVEL} = {literal(RUN)} AND {PART} = {literal(checked_batch_id(run.batch_id))}"
    written = remove_where(spark, table.table, predicate, commit, Fault.DROP_RUN)
    # Asked after the removal: a fold that came before it is seen, one that comes after finds no run.
    if run in folded_runs(spark, table):
        raise Folded(f"{table.name}: the run of batch {run.batch_id!r} is folded; rebuild the keys that it touched")
    return written


def clear(spark: SparkSession, table: KeyedTable, commit: CommitInfo) -> Written:
    """Remove every row, and the memory of what was folded; metadata only. The files stay until vacuum."""
    predicate = f"{LEVEL} IN ({', '.join(map(literal, (RUN, BASE, FOLDED)))})"
    return remove_where(spark, table.table, predicate, commit, Fault.CLEAR)


def hash_of(names: Sequence[str]) -> Column:
    """The crc32 of a key's columns; equals `key_hash` of their values."""
    return F.crc32(F.concat_ws(KEY_SEPARATOR, *(F.col(name).cast("string") for name in names)))


def _layout(spark: SparkSession, table: KeyedTable, active: Sequence[tuple[str, int]] | Layout) -> Layout:
    return active if isinstance(active, Layout) else look(spark, table, active)


def _complete(spark: SparkSession, table: KeyedTable) -> DataFrame:
    """All rows of the Delta table; a column that its definition gained since it was last written is null."""
    rows = load(spark, table)
    there = set(rows.columns)
    gained = [column for column in table.payload if column.name not in there]
    return rows.select("*", *(F.lit(None).cast(column.type).alias(column.name) for column in gained))


def _sorted(rows: DataFrame, table: KeyedTable) -> DataFrame:
    return rows.sortWithinPartitions(LEVEL, PART, *table.key_names, SEQ, ORD)


def _in_buckets_of(keys: Sequence[KeyValue]) -> Column:
    # The number of buckets comes from the partition's own name, so a fold that changes it meanwhile does no harm.
    count = F.substring_index(PART, "-", 1).try_cast("bigint")
    bucket = F.substring_index(PART, "-", -1).try_cast("bigint")
    hashes = F.array(*(F.lit(key_hash(key)).cast("bigint") for key in keys))
    return F.exists(hashes, lambda hashed: F.pmod(hashed, count) == bucket)


def _has_key(table: KeyedTable, keys: Sequence[KeyValue]) -> Column:
    if len(table.key) == 1:
        return F.col(table.key_names[0]).isin([key[0] if isinstance(key, tuple) else key for key in keys])
    values = [F.struct(*map(F.lit, key if isinstance(key, tuple) else (key,))) for key in keys]
    return F.struct(*table.key_names).isin(values)
