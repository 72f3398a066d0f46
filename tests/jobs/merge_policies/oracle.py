"""Merging in plain Python, and fragments to merge."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from jobs.catalog.definitions import Dataset
from jobs.merge_policies.models import IDENTITY_MAP, MergePolicy, PolicyBody, UnionSchema

Row = dict[str, Any]
CITY, TAGS, UPDATED = "homeAddress.city", "tags", "extSourceSystemAudit.lastUpdatedDate"
DATASETS = ("alpha", "beta", "gamma")
_FIELDS = {CITY: "string", "points": "long", TAGS: "array<string>", "scores": "map<string,long>", UPDATED: "timestamp"}
FRAME_SCHEMA = (
    "profile_id string, _dataset string, _identity string, _seq bigint, _ord bigint, _at timestamp, "
    f"`{CITY}` string, points bigint, {TAGS} array<string>, scores map<string,bigint>, `{UPDATED}` timestamp, "
    "identityMap map<string,array<struct<id:string,primary:boolean>>>"
)
_NAMES = [part.split()[0].strip("`") for part in FRAME_SCHEMA.replace("string,bigint", "").split(", ")]


def dataset(dataset_id: str, without: str = "") -> Dataset:
    """A dataset; gamma's source does not say when it changed a record."""
    fields = [{"path": path, "type": kind} for path, kind in _FIELDS.items() if path != without]
    primary = {"path": "personID", "type": "string", "identity": {"namespace": "CRMID", "primary": True}}
    return Dataset.model_validate({"id": dataset_id, "kind": "record", "fields": [*fields, primary]})


def union(custom_timestamps: bool = False) -> UnionSchema:
    datasets = [dataset("alpha"), dataset("beta"), dataset("gamma", without=UPDATED)]
    united = UnionSchema.of(datasets, custom_timestamps, namespaces=("Email", "CRMID"))
    return united.model_copy(update={"leaves": tuple(leaf for leaf in united.leaves if leaf.name != "personID")})


def policy(**attribute_merge: Any) -> MergePolicy:
    body = PolicyBody.model_validate({"name": "p", "attributeMerge": attribute_merge})
    return MergePolicy.of(body, "p", "prod", 1, at(1))


def at(day: int) -> datetime:
    return datetime(2024, 1, day, tzinfo=UTC)


def fragment(
    dataset_id: str, identity: str = "CRMID:1", day: int = 1, seq: int = 1, ord_: int = 0, **leaves: Any
) -> Row:
    place = {"_dataset": dataset_id, "_identity": identity, "_seq": seq, "_ord": ord_, "_at": at(day)}
    return {"profile_id": "p", **place, **leaves}


def frame(spark: SparkSession, rows: Sequence[Row]) -> DataFrame:
    return spark.createDataFrame([tuple(row.get(name) for name in _NAMES) for row in rows], FRAME_SCHEMA)


def merged(rows: Sequence[Row], policy: MergePolicy, schema: UnionSchema) -> Row:
    """Merge the fragments of one profile; empty when none takes part."""
    order, instants = policy.attribute_merge.order, schema.instants
    by_order = policy.attribute_merge.type == "dataSetPrecedence"
    newest = sorted(rows, key=lambda row: row["_identity"])
    newest.sort(key=lambda row: (row["_at"], row["_seq"], row["_ord"]), reverse=True)
    if by_order:
        newest = sorted((r for r in newest if r["_dataset"] in order), key=lambda row: order.index(row["_dataset"]))
    elif not instants:
        newest.sort(key=lambda row: row["_dataset"])
        newest.sort(key=lambda row: row["_at"], reverse=True)
    result: Row = {}
    for name in schema.names:
        given = [row for row in newest if row.get(name) is not None]
        if instants and not by_order:
            given = _last_changed(given, instants)
        if given:
            result[name] = given[0][name]
    maps = [row[IDENTITY_MAP] for row in newest if row.get(IDENTITY_MAP) is not None]
    return result | ({IDENTITY_MAP: _united(maps, schema)} if maps else {})


def _last_changed(newest: Sequence[Row], instants: Mapping[str, str]) -> list[Row]:
    of_dataset: dict[str, Row] = {}
    for row in newest:
        of_dataset.setdefault(row["_dataset"], row)
    return sorted(
        sorted(of_dataset.values(), key=lambda row: row["_dataset"]),
        key=lambda row: row.get(instants.get(row["_dataset"], "")) or row["_at"],
        reverse=True,
    )


def _united(maps: Sequence[Mapping[str, Any]], schema: UnionSchema) -> Row:
    codes = {code.lower(): code for code in schema.namespaces}
    found: dict[str, dict[str, set[Any]]] = {}
    for key, entries in (pair for mapped in maps for pair in mapped.items()):
        for one in entries or ():
            found.setdefault(codes.get(key.lower(), key), {}).setdefault(one["id"], set()).add(one["primary"])

    def primary(said: set[Any]) -> bool | None:
        return True if True in said else False if False in said else None

    return {
        key: [{"id": one, "primary": primary(said)} for one, said in sorted(ids.items())] for key, ids in found.items()
    }


def by_profile(frame: DataFrame) -> dict[str, Row]:
    """Collect merged profiles: the leaves that have a value."""
    rows = [row.asDict(recursive=True) for row in frame.collect()]
    found = {row.pop("profile_id"): {k: _zoned(v) for k, v in row.items() if v is not None} for row in rows}
    assert len(found) == len(rows)
    return found


def _zoned(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


_ids = st.fixed_dictionaries({"id": st.sampled_from(["a", "b"]), "primary": st.sampled_from([True, False, None])})
_namespaces = st.sampled_from(["Email", "email", "CRMID"])
_leaves = st.fixed_dictionaries(
    {},
    optional={
        CITY: st.sampled_from(["Paris", "Lyon", "", None]),
        "points": st.integers(0, 3),
        TAGS: st.lists(st.sampled_from(["x", "y"]), max_size=2),
        "scores": st.dictionaries(st.sampled_from(["k", "l"]), st.integers(0, 2), max_size=2),
        UPDATED: st.integers(1, 4).map(at),
        IDENTITY_MAP: st.dictionaries(
            st.sampled_from(["Email", "email", "CRMID"]), st.lists(_ids, max_size=2), max_size=2
        ),
    },
)


@st.composite
def profiles(draw: st.DrawFn, most: int = 6) -> list[Row]:
    """The fragments of one profile: one per dataset and identity, with many ties."""
    keys = draw(
        st.lists(st.tuples(st.sampled_from(DATASETS), st.integers(1, 3)), min_size=1, max_size=most, unique=True)
    )
    rows = []
    for dataset_id, number in keys:
        leaves = draw(_leaves)
        if dataset_id == "gamma":
            leaves.pop(UPDATED, None)
        day, seq, place = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 1))
        rows.append(fragment(dataset_id, f"CRMID:{number}", day, seq, place, **leaves))
    return rows
