"""One export: read the profiles of a cut, write their identities and then them, and compare with what was counted.

All is read as it was when the cut was made, so a refresh may go on beside it, and the same job twice writes the same
rows. Nothing is brought to the driver but counts. Each of the two tables is replaced by one commit; the profiles come
last, so whoever sees the new ones finds their identities.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import reduce

from pyspark.sql import DataFrame, SparkSession

from jobs.catalog.union_schema import UnionLeaf, UnionSchema
from jobs.errors import StoreError
from jobs.exports.models import (
    COPIES_SUFFIX,
    EXPORTS,
    IDENTITIES_SUFFIX,
    CopyFormat,
    Counts,
    EventsPlan,
    ExportPlan,
    ExportResult,
    Span,
    UndoPlan,
)
from jobs.exports.transforms.events import by_profile, event_structs, in_window, no_events
from jobs.exports.transforms.rows import (
    CHECKSUM,
    counts,
    expected,
    exported,
    flat_identities,
    found,
    is_small,
    wanted,
)
from jobs.exports.transforms.shape import INSTANT_FORMAT, flat
from jobs.exports.transforms.tables import IDENTITY_COMMENTS, comments_of, identities_table, profiles_table
from jobs.faults import Fault
from jobs.ingest.transforms.events import events_table, is_active
from jobs.lake.replacing import put_back, replace_all
from jobs.lake.runs import read as read_keyed
from jobs.lake.tables import Written, read
from jobs.merge_policies.models import IDENTITY_MAP
from jobs.profiles.transforms import profiles_table as view_table
from jobs.session.progress import Progress


def run(spark: SparkSession, plan: ExportPlan, progress: Progress) -> ExportResult:
    """Write one export.

    Raises:
        StoreError: the store refused, a version of the cut is not there any more, or what was written is not what was
            counted; the tables may have the job's rows then, and `undo` puts the former ones back.
    """
    began = datetime.now(UTC)
    progress.stage("counting profiles", policy=plan.policy_id)
    view = _view(spark, plan)
    asked = counts(expected(view, plan).collect()[0], plan.codes)
    chosen = view.where(wanted(plan.updated_after, plan.empty_profiles) & is_small(plan.max_identities))
    chose = datetime.now(UTC)
    progress.stage("writing identities", profiles=asked.profiles, left_out=asked.left_out)
    written = _write_identities(spark, plan, chosen)
    progress.stage("writing profiles", identities=asked.identities)
    written |= _write_profiles(spark, plan, chosen)
    progress.stage("comparing what was written")
    name = f"{EXPORTS}/{plan.dataset.id}"
    rows = read(spark, f"{plan.store.at(name)}@v{written[name].version}")
    row = found(rows, plan.codes).collect()[0]
    _compare(asked, counts(row, plan.codes), written, name)
    copies = {str(kind): _copy(plan, rows, kind) for kind in plan.copies}
    return ExportResult(
        dataset=plan.dataset.id,
        **asked.model_dump(exclude={"identities"}),
        checksum=row[CHECKSUM],
        columns={field.name: field.dataType.simpleString() for field in rows.schema.fields},
        **plan.model_dump(include={"cut", "policy_id", "policy_version"}),
        tables=written,
        sources=plan.sources,
        copies=copies,
        counted=Span(begin=began, end=chose),
        written=Span(begin=chose, end=datetime.now(UTC)),
    )


def undo(spark: SparkSession, plan: UndoPlan) -> None:
    """Let tables have the rows of the last job that succeeded; StoreError when the store refuses."""
    for table in plan.tables:
        put_back(spark, table.path, table.name, table.version, plan.commit)


def _view(spark: SparkSession, plan: ExportPlan) -> DataFrame:
    identity_map = UnionLeaf(name=IDENTITY_MAP, type=IDENTITY_MAP, datasets=())
    union = UnionSchema(leaves=(*plan.leaves, identity_map), datasets=())
    defined = view_table(plan.store, plan.policy_id, plan.view.generation, union)
    at_cut = defined.model_copy(update={"path": f"{plan.store.at(plan.view.place)}@v{plan.view.version}"})
    return read_keyed(spark, at_cut, plan.view.runs)


def _write_identities(spark: SparkSession, plan: ExportPlan, chosen: DataFrame) -> dict[str, Written]:
    rows = flat_identities(chosen, IDENTITY_COMMENTS)
    table = identities_table(plan, rows)
    return {table.name: replace_all(spark, table, rows, plan.commit, Fault.EXPORT_IDENTITIES)}


def _write_profiles(spark: SparkSession, plan: ExportPlan, chosen: DataFrame) -> dict[str, Written]:
    comments = comments_of(plan)
    events = by_profile(_events(spark, plan.events, comments), chosen) if plan.events else None
    rows = exported(chosen, [leaf.name for leaf in plan.leaves], events, comments)
    table = profiles_table(plan, rows)
    return {table.name: replace_all(spark, table, rows, plan.commit, Fault.EXPORT)}


def _events(spark: SparkSession, plan: EventsPlan, comments: Mapping[str, str]) -> DataFrame:
    frames = [no_events(spark, plan.leaves, comments)]
    for source in plan.sources:
        rows = read(spark, f"{events_table(source).path}@v{source.version}")
        taken = rows.where(is_active(source.batches) & in_window(plan))
        frames.append(event_structs(taken, source.dataset.id, plan.leaves, comments))
    return reduce(DataFrame.unionByName, frames)


def _compare(asked: Counts, there: Counts, written: dict[str, Written], name: str) -> None:
    """Hold the counts to the rows that are there, and to what the commits say.

    Raises:
        StoreError: they differ; both sides are named.
    """
    rows = {table: one.rows for table, one in written.items()}
    wanted_rows = {name: asked.profiles, f"{name}{IDENTITIES_SUFFIX}": asked.identities}
    if there.model_copy(update={"left_out": asked.left_out}) != asked or rows != wanted_rows:
        raise StoreError(
            f"{name}: counted {asked.model_dump()}, and written were {there.model_dump(exclude={'left_out'})}, by the "
            f"commits {rows}: the export is given up"
        )


def _copy(plan: ExportPlan, rows: DataFrame, kind: CopyFormat) -> str:
    """Write the rows as files of another format, in a folder of this job; returns the folder."""
    folder = plan.store.path(EXPORTS, f"{plan.dataset.id}{COPIES_SUFFIX}", kind, plan.commit.batch)
    if kind is CopyFormat.CSV:
        # A quote in a value is doubled, as spreadsheets expect it; spaces around a value are part of it.
        flat(rows).write.mode("overwrite").csv(
            folder,
            header=True,
            escape='"',
            timestampFormat=INSTANT_FORMAT,
            ignoreLeadingWhiteSpace=False,
            ignoreTrailingWhiteSpace=False,
        )
    else:
        rows.write.mode("overwrite").parquet(folder)
    return folder
