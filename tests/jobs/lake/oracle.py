"""The keyed table as a plain dictionary, and tables and rows to compare it with."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from hypothesis import Phase, strategies as st
from pyspark.sql import DataFrame, SparkSession

from jobs.lake.commits import CommitInfo
from jobs.lake.keyed_table import Combine, KeyedTable, Mode
from jobs.lake.schema import Column

COMMIT = CommitInfo(job="test")
AT = datetime(2024, 1, 1, tzinfo=UTC)
NAME, TAGS, DAYS, POINTS, LAST = "person.name.firstName", "tags", "days", "points", "last"
PAYLOAD = (
    Column(name=NAME, type="string"),
    Column(name=TAGS, type="array<string>"),
    Column(name=DAYS, type="map<string,bigint>"),
    Column(name=POINTS, type="bigint"),
    Column(name=LAST, type="timestamp"),
)
_PAYLOAD_NAMES = [column.name for column in PAYLOAD]
COMBINED = {
    NAME: Combine.LATEST,
    TAGS: Combine.LATEST,
    DAYS: Combine.SUM,
    POINTS: Combine.SUM,
    LAST: Combine.MAX,
}
ROW_SCHEMA = (
    f"identity string, `{NAME}` string, tags array<string>, days map<string,bigint>, points bigint, last timestamp, "
    "_op string, _ord bigint"
)
# Hundreds of Spark jobs to make a failing example smaller would cost more than reading it.
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
Row = dict[str, Any]
Batch = tuple[int, list[Row]]  # _seq and rows


def keyed_table(path: str, mode: Mode, **more: Any) -> KeyedTable:
    return KeyedTable(
        path=path,
        name="fragments/crm",
        comment="One row per identity",
        key=(Column(name="identity", type="string", comment="Identity"),),
        payload=PAYLOAD,
        mode=mode,
        append=frozenset({TAGS} if mode is Mode.PATCH else ()),
        combine=COMBINED if mode is Mode.COMBINE else {},
        **more,
    )


def frame(spark: SparkSession, mode: Mode, rows: Iterable[Row], extra_schema: str = "") -> DataFrame:
    patching = ", _unset array<string>" + (", _from map<string,bigint>" if "_seq" in extra_schema else "")
    schema = ROW_SCHEMA + (patching if mode is Mode.PATCH else "") + extra_schema
    names = [part.split()[0].strip("`") for part in schema.split(", ")]
    return spark.createDataFrame([tuple(row.get(name) for name in names) for row in rows], schema)


def put(identity: str, ord_: int = 0, **values: Any) -> Row:
    return {"identity": identity, "_op": "put", "_ord": ord_, **values}


def delete(identity: str, ord_: int = 0) -> Row:
    return {"identity": identity, "_op": "delete", "_ord": ord_}


def answer(mode: Mode, batches: Iterable[Batch]) -> dict[str, tuple[Any, ...]]:
    """Apply the batches in order to a dictionary: identity -> payload, _seq, _ord."""
    return {identity: as_tuple(row) for identity, row in _applied(mode, batches).items()}


def older_leaves(batches: Iterable[Batch]) -> dict[str, dict[str, int]]:
    """Apply the batches in order as patches: identity -> `_seq` of each leaf that is older than its row."""
    return {
        identity: {name: seq for name, seq in row["seqs"].items() if seq < row["_seq"]}
        for identity, row in _applied(Mode.PATCH, batches).items()
    }


def _applied(mode: Mode, batches: Iterable[Batch]) -> dict[str, Row]:
    state: dict[str, Row] = {}
    for seq, rows in sorted(batches, key=lambda batch: batch[0]):
        for row in sorted(rows, key=lambda row: row["_ord"]):
            if row["_op"] in ("delete", "reset"):
                state.pop(row["identity"], None)
            if row["_op"] != "delete":
                before = state.get(row["identity"], {})
                merged = _MERGES[mode](before, row)
                seqs = {
                    name: seq if row.get(name) is not None else before["seqs"][name]
                    for name in _PAYLOAD_NAMES
                    if merged.get(name) is not None
                }
                state[row["identity"]] = merged | {"_seq": seq, "_ord": row["_ord"], "seqs": seqs}
    return state


def _replaced(old: Row, new: Row) -> Row:
    return {column.name: new.get(column.name) for column in PAYLOAD}


def _patched(old: Row, new: Row) -> Row:
    kept = {name: value for name, value in old.items() if name not in (new.get("_unset") or [])}
    for column in PAYLOAD:
        value = new.get(column.name)
        if value is not None:
            before = kept.get(column.name) or []
            kept[column.name] = [*before, *value] if column.name == TAGS else value
    return kept


def _combined(old: Row, new: Row) -> Row:
    def sum_of_maps(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
        return {day: left.get(day, 0) + right.get(day, 0) for day in {*left, *right}}

    how = {NAME: _right, TAGS: _right, DAYS: sum_of_maps, POINTS: lambda left, right: left + right, LAST: max}
    return {
        name: next((v for v in (old.get(name), new.get(name)) if v is not None), None)
        if None in (old.get(name), new.get(name))
        else combine(old[name], new[name])
        for name, combine in how.items()
    }


def _right(left: Any, right: Any) -> Any:
    return right


_MERGES = {Mode.REPLACE: _replaced, Mode.PATCH: _patched, Mode.COMBINE: _combined}


def as_tuple(row: Row) -> tuple[Any, ...]:
    return tuple(_as_spark_gives_it(row.get(name)) for name in (*_PAYLOAD_NAMES, "_seq", "_ord"))


def _as_spark_gives_it(value: Any) -> Any:
    is_zoned = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC).replace(tzinfo=None) if is_zoned else value


def found(rows: DataFrame) -> dict[str, tuple[Any, ...]]:
    """What a keyed table answered, in the form of `answer`; a key that comes twice fails."""
    collected = [row.asDict() for row in rows.collect()]
    by_key = {row["identity"]: as_tuple(row) for row in collected}
    assert len(by_key) == len(collected)
    return by_key


def found_older_leaves(rows: DataFrame) -> dict[str, dict[str, int]]:
    """What a table in mode patch answered, in the form of `older_leaves`."""
    return {row["identity"]: row["_from"] or {} for row in rows.select("identity", "_from").collect()}


IDENTITIES = [*(f"Email:{n}@x.io" for n in range(12)), "Email:é", "Email:가나다", "CRMID: '\"`\\", "CRMID:"]
_TEXTS = st.none() | st.sampled_from(["", "a", "b", "Zoé", "가"])
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    NAME: _TEXTS,
    TAGS: st.none() | st.lists(_TEXTS, max_size=2),
    DAYS: st.none() | st.dictionaries(st.sampled_from(["2024-01-01", "2024-01-02"]), st.integers(1, 3)),
    POINTS: st.none() | st.integers(-2, 2),
    LAST: st.none() | st.integers(1, 3).map(lambda day: datetime(2024, 2, day)),  # noqa: DTZ001 as Spark gives it
    "_unset": st.none() | st.lists(st.sampled_from([NAME, TAGS, POINTS]), max_size=2),
}
_ROW = st.fixed_dictionaries(
    {
        "identity": st.sampled_from(IDENTITIES),
        "_op": st.sampled_from(["put", "put", "put", "reset", "delete"]),
        **_VALUES,
    }
)


def numbered(rows: list[Row]) -> list[Row]:
    """Give each row its place in the batch; places are not dense, as in a batch of several files."""
    return [row | {"_ord": place * 2**33} for place, row in enumerate(rows)]


def rows_of_a_batch(max_size: int = 12) -> st.SearchStrategy[list[Row]]:
    return st.lists(_ROW, min_size=1, max_size=max_size).map(numbered)
