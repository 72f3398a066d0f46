"""One attempt at one batch: read the files once, judge every row, write the batch's partition of each table.

Order: the files are read once into a staging table, and there it is decided whether the share of refused rows fails
the batch; then the lake, the quarantine and, for a dataset that feeds the Profile store, events or fragments and links
are written. Every write replaces the batch's own partition, so an attempt that died is overwritten by the next one, and
the same batch twice equals once. Nothing here knows the catalog: readers see the rows once the caller has made the
batch ACTIVE.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.catalog.definitions import DatasetKind
from jobs.errors import Conflict
from jobs.faults import Fault
from jobs.ingest.models import CheckPlan, CheckResult, IngestPlan, IngestResult, Refusal, TooManyRefused
from jobs.ingest.parsing import parsed, too_many_refused
from jobs.ingest.transforms.events import (
    event_fragment_rows,
    event_fragments,
    event_rows,
    events_table,
    is_active,
    seen_hashes,
    unseen,
)
from jobs.ingest.transforms.identities import FIT, IDENTITY
from jobs.ingest.transforms.landing import lake_rows, lake_table, quarantine_rows, quarantine_table
from jobs.ingest.transforms.links import link_rows, links_table
from jobs.ingest.transforms.numbering import Counted
from jobs.ingest.transforms.records import FRAGMENT_KEY, record_fragments, record_rows
from jobs.lake.definition import ensure
from jobs.lake.keyed_table import LEVEL, PART, RUN, KeyedTable, Run
from jobs.lake.runs import drop_run, write_run
from jobs.lake.schema import BATCH
from jobs.lake.sql import checked_batch_id, literal
from jobs.lake.store import Store
from jobs.lake.tables import Table, Written, drop_batch, exists, read, remove_where, replace_batch, replace_where
from jobs.session.progress import Progress

logger = logging.getLogger(__name__)

# A maintenance compacts a table once, so a second conflict is rare already.
_MOST_COMPACTIONS = 3


def run(spark: SparkSession, plan: IngestPlan, progress: Progress) -> IngestResult:
    """Ingest one batch.

    Returns:
        The counts of the row equation, and what was written.

    Raises:
        TooManyRefused: a larger share of rows than allowed, or every row, breaks a rule; they are in the quarantine.
        InvalidRequest: a file cannot be read as its format, or the batch has no row.
        NotFound: a file is gone.
        StoreError: the store refused.
    """
    began = time.monotonic()
    with parsed(spark, plan, progress) as (placed, counts):
        if refusal := too_many_refused(plan, counts):
            _write_quarantine(spark, plan, placed, counts)
            raise TooManyRefused(
                f"{refusal}. So nothing was ingested; see quarantine/{plan.dataset.id} for batch {plan.batch_id}, or "
                "raise ingest.max_refused_share"
            )
        progress.stage("writing the lake", rows=counts.landed, quarantined=counts.quarantined)
        lake, quarantine = _together(
            lambda: {} if plan.from_lake else _write_lake(spark, plan, placed),
            lambda: _write_quarantine(spark, plan, placed, counts),
        )
        tables, applied = lake | quarantine, counts.landed
        if plan.in_profile:
            progress.stage("writing the Profile store", rows=counts.fit)
            write = _write_events if plan.dataset.kind is DatasetKind.EVENTS else _write_records
            applied, written = write(spark, plan, placed)
            tables |= written
    left_out = counts.fit - applied if plan.in_profile else 0
    is_events = plan.dataset.kind is DatasetKind.EVENTS
    return IngestResult(
        sandbox=plan.sandbox,
        dataset=plan.dataset.id,
        batch_id=plan.batch_id,
        read=counts.read,
        landed=0 if plan.from_lake else counts.landed,
        applied=applied,
        superseded=0 if is_events else left_out,
        duplicates=left_out if is_events else 0,
        quarantined=counts.quarantined,
        refused=counts.refused,
        tables=tables,
        seconds=round(time.monotonic() - began, 1),
        warnings=_warnings(plan, counts),
    )


def check(spark: SparkSession, plan: CheckPlan, progress: Progress) -> CheckResult:
    """Say what `run` would refuse of a batch, and write nothing.

    Raises:
        InvalidRequest, NotFound, StoreError: as `run`.
    """
    with parsed(spark, plan, progress) as (placed, counts):
        progress.stage("collecting refused rows", rows=counts.quarantined)
        first = quarantine_rows(placed, plan.batch_id).orderBy("file", "line").limit(plan.shown)
        rows = first.select("file", "line", "rule", "message").collect()
    refusal = too_many_refused(plan, counts)
    return CheckResult(
        dataset=plan.dataset.id,
        read=counts.read,
        landing=0 if refusal else counts.landed,
        quarantined=counts.quarantined,
        refused=counts.refused,
        rows=tuple(Refusal(**row.asDict()) for row in rows),
        fails=refusal,
        warnings=_warnings(plan, counts),
    )


def drop(spark: SparkSession, plan: IngestPlan) -> None:
    """Remove what a batch that failed for good has written; its quarantine stays."""
    for table in (lake_table(_store(plan), plan.dataset), links_table(plan)):
        if exists(spark, table.path):
            drop_batch(spark, table, plan.batch_id, plan.commit)
    fragments = _fragments(plan)
    if exists(spark, fragments.path):
        drop_run(spark, fragments, Run(plan.batch_id, plan.seq), plan.commit)
    events = events_table(plan)
    if plan.dataset.kind is DatasetKind.EVENTS and exists(spark, events.path):
        remove_where(spark, events, _own_run(plan), plan.commit, Fault.DROP_RUN)


def _write_lake(spark: SparkSession, plan: IngestPlan, placed: DataFrame) -> dict[str, Written]:
    return _write(spark, plan, lake_table(_store(plan), plan.dataset), lake_rows(placed, plan), Fault.LAKE)


def _write_records(spark: SparkSession, plan: IngestPlan, placed: DataFrame) -> tuple[int, dict[str, Written]]:
    """Write fragments and links; returns the rows that no later row of the batch came after."""
    fit = placed.where(F.col(FIT))
    fragments, links, identities = _together(
        lambda: _write_fragments(spark, plan, record_fragments(plan), record_rows(placed, plan)),
        lambda: _write(spark, plan, links_table(plan), link_rows(fit, plan, IDENTITY), Fault.LINKS),
        lambda: fit.agg(F.count_distinct(IDENTITY)).collect()[0][0] if plan.dataset.upsert else None,
    )
    applied = sum(written.rows for written in fragments.values()) if identities is None else identities
    return applied, fragments | links


def _write_events(spark: SparkSession, plan: IngestPlan, placed: DataFrame) -> tuple[int, dict[str, Written]]:
    """Write events, fragments and links; returns the events that were not known."""
    table = events_table(plan)
    ensure(spark, table)
    events = _unseen(spark, plan, event_rows(placed, plan))
    ordered = events.sortWithinPartitions(FRAGMENT_KEY.name, "timestamp")
    written = _though_compacted(lambda: replace_where(spark, table, ordered, _own_run(plan), plan.commit, Fault.EVENTS))
    # Read back: the search for known events is not made again.
    own = read(spark, table.path).where((F.col(LEVEL) == RUN) & (F.col(PART) == plan.batch_id))
    fragments, links = _together(
        lambda: _write_fragments(
            spark, plan, event_fragments(plan), event_fragment_rows(own, plan.dataset, plan.namespaces)
        ),
        lambda: _write(spark, plan, links_table(plan), link_rows(own, plan, FRAGMENT_KEY.name), Fault.LINKS),
    )
    return written.rows, {table.name: written} | fragments | links


def _though_compacted(write: Callable[[], Written]) -> Written:
    """Write again when a compaction came between: it moves rows that the search for known events reads.

    Nobody else writes a batch's own partition, so no other conflict is hidden.
    """
    for _ in range(_MOST_COMPACTIONS):
        try:
            return write()
        except Conflict as overtaken:
            logger.info("%s", overtaken)
    return write()


def _unseen(spark: SparkSession, plan: IngestPlan, events: DataFrame) -> DataFrame:
    """Leave out the events whose `_id` an ACTIVE batch of the dataset has."""
    earlier = [batch for batch in plan.active_batches if batch.batch_id != plan.batch_id]
    if not earlier:
        return events
    known = read(spark, events_table(plan).path).where(is_active(earlier))
    hashes = seen_hashes(events, known)
    # Most batches have no event twice: then one narrow scan is all.
    return unseen(events, known, hashes) if hashes.limit(1).count() else events


def _write_fragments(spark: SparkSession, plan: IngestPlan, table: KeyedTable, rows: DataFrame) -> dict[str, Written]:
    ensure(spark, table.table)
    run = Run(plan.batch_id, plan.seq)
    return {table.name: write_run(spark, table, rows, run, plan.at, plan.commit, Fault.FRAGMENTS)}


def _fragments(plan: IngestPlan) -> KeyedTable:
    return event_fragments(plan) if plan.dataset.kind is DatasetKind.EVENTS else record_fragments(plan)


def _own_run(plan: IngestPlan) -> str:
    return f"{LEVEL} = {literal(RUN)} AND {PART} = {literal(checked_batch_id(plan.batch_id))}"


def _together(*works: Callable[[], Any]) -> list[Any]:
    """Write different tables at once, or count beside it: a small write spends its time in planning and committing."""
    executor = ThreadPoolExecutor(len(works))
    try:
        return [future.result() for future in [executor.submit(work) for work in works]]
    except Exception:
        executor.shutdown()
        raise
    finally:
        # Told to end, this process does not wait: its session's end interrupts what still runs.
        executor.shutdown(wait=False, cancel_futures=True)


def _warnings(plan: IngestPlan, counts: Counted) -> tuple[str, ...]:
    limit = plan.bounds.upsert_warning_rows
    if plan.dataset.upsert and counts.read > limit:
        return (f"{counts.read} rows in an upsert batch; keep each below {limit} (ingest.upsert_warning_rows)",)
    return ()


def _store(plan: IngestPlan) -> Store:
    return Store(plan.store_root, plan.sandbox)


def _write_quarantine(spark: SparkSession, plan: IngestPlan, placed: DataFrame, counts: Counted) -> dict[str, Written]:
    table = quarantine_table(_store(plan), plan.dataset.id)
    ensure(spark, table)
    earlier = read(spark, table.path).where(F.col(BATCH) == plan.batch_id)
    # Looking for an earlier attempt's rows is cheaper than replacing nothing by nothing.
    if not counts.quarantined and not earlier.limit(1).count():
        return {}
    return _write(spark, plan, table, quarantine_rows(placed, plan.batch_id), Fault.QUARANTINE)


def _write(spark: SparkSession, plan: IngestPlan, table: Table, rows: DataFrame, fault: Fault) -> dict[str, Written]:
    ensure(spark, table)
    return {table.name: replace_batch(spark, table, rows, plan.batch_id, plan.commit, fault)}
