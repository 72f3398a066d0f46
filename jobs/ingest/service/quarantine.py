"""The refused rows of a dataset: counted by rule, and the rows themselves; read without Spark."""

import operator
from collections import Counter
from collections.abc import Iterator
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from pydantic import BaseModel, ConfigDict, Field

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import BatchId, DatasetId
from jobs.errors import InvalidRequest, known_here, shortened
from jobs.lake import reader
from jobs.lake.schema import BATCH
from jobs.lake.store import Store

_COLUMNS = (BATCH, "file", "line", "rule", "message", "raw")
_AGE = "age"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class QuarantineQuery(_Document):
    """Which refused rows are asked for."""

    dataset: DatasetId
    rule: str | None = None
    batch: BatchId | None = None
    limit: int = Field(default=20, ge=0, le=10_000)


class RefusedRow(_Document):
    """One refused row."""

    batch: str
    file: str
    line: int = Field(description="Line of the text, else number of the element or row; from 1")
    rule: str
    message: str = Field(description="Where and why, without the row's values")
    raw: str = Field(description="The row as it came")


class Quarantined(_Document):
    """Refused rows of a dataset."""

    dataset: str
    total: int = Field(description="Refused rows that the query asks for")
    rules: dict[str, int] = Field(description="Those rows by rule, the most frequent first")
    rows: tuple[RefusedRow, ...] = Field(description="The first of them: newest batch first, then by file and line")


def quarantined(catalog: Catalog, store: Store, query: QuarantineQuery) -> Quarantined:
    """Count the refused rows of a dataset by rule, and give the first ones.

    Raises:
        NotFound: no such dataset or batch.
        InvalidRequest: the batch is of another dataset, or there is no such rule.
    """
    dataset = catalog.dataset(query.dataset).id
    if query.batch is not None:
        check_batch(catalog, dataset, query.batch)
    table = reader.find(store, "quarantine", dataset)
    counts = _counts(table, query.batch) if table else Counter[str]()
    if query.rule is not None:
        _check_rule(query.rule, counts)
        counts = Counter({rule: rows for rule, rows in counts.items() if rule == query.rule})
    rows = _first(table, query) if table and query.limit else []
    return Quarantined(dataset=dataset, total=counts.total(), rules=dict(counts.most_common()), rows=tuple(rows))


def check_batch(catalog: Catalog, dataset: str, batch_id: str) -> None:
    """Refuse a batch of another dataset.

    Raises:
        NotFound: no such batch.
        InvalidRequest: it belongs to another dataset.
    """
    owner = catalog.batch(batch_id).dataset_id
    if owner != dataset:
        raise InvalidRequest(f"batch {batch_id!r} belongs to dataset {owner!r}, not {dataset!r}; ask for that one")


def _check_rule(rule: str, counts: Counter[str]) -> None:
    if rule in counts:
        return
    # Loads Spark, which a right rule does without.
    from jobs.ingest.transforms.rules import RULES

    known = {known.id for known in RULES}
    if rule not in known:
        raise InvalidRequest(f"rule {shortened(rule)} is unknown; {known_here(rule, known, most=len(known))}")


def _condition(batch: str | None, rule: str | None = None) -> pc.Expression | None:
    asked = [pc.field(name) == value for name, value in ((BATCH, batch), ("rule", rule)) if value is not None]
    return reduce(operator.and_, asked) if asked else None


def _counts(table: DeltaTable, batch: str | None) -> Counter[str]:
    counts: Counter[str] = Counter()
    for part in _parts(table, ["rule"], _condition(batch)):
        for found in pc.value_counts(part["rule"]).to_pylist():
            counts[found["values"]] += found["counts"]
    return counts


def _first(table: DeltaTable, query: QuarantineQuery) -> list[RefusedRow]:
    """Pick the first rows in order, holding no more than those and one part of the table."""
    newest = pa.array(_newest_first(table), pa.string())
    order = [(name, "ascending") for name in (_AGE, "file", "line")]
    best: pa.Table | None = None
    for part in _parts(table, list(_COLUMNS), _condition(query.batch, query.rule)):
        aged = pa.table(part).append_column(_AGE, pc.index_in(part[BATCH].cast(pa.string()), newest))
        pool = aged if best is None else pa.concat_tables([best, aged])
        best = pool.take(pc.select_k_unstable(pool, min(query.limit, pool.num_rows), order))
    rows = [] if best is None else best.sort_by(order).to_pylist()
    return [RefusedRow(batch=row[BATCH], **{name: row[name] for name in _COLUMNS if name != BATCH}) for row in rows]


def _newest_first(table: DeltaTable) -> list[str]:
    actions = pa.table(table.get_add_actions(flatten=True))
    if not actions.num_rows:
        return []
    written = actions.group_by(f"partition.{BATCH}").aggregate([("modification_time", "max")])
    ordered = written.sort_by([("modification_time_max", "descending"), (f"partition.{BATCH}", "descending")])
    names: list[str] = ordered[f"partition.{BATCH}"].to_pylist()
    return names


def _parts(table: DeltaTable, columns: list[str], condition: pc.Expression | None) -> Iterator[pa.RecordBatch]:
    found = table.to_pyarrow_dataset().scanner(columns=columns, filter=condition)
    yield from (part for part in found.to_batches() if part.num_rows)
