"""What a keyed table is: the one primitive behind everything that is updated by key.

An upsert is a blind append: a batch writes a *run*, the rows as they came, into a partition of its own, and reads
nothing of the table. Readers lay the runs over the *base*, one row per key. A *fold* pays later: it moves runs into
the base.

    _level   _part                      rows
    run      <batch id>                 what a batch wrote: any number of rows per key, puts, resets and deletes
    base     <buckets>-<bucket>         one row per key, in the bucket of its crc32; the number of buckets may change
    folded   <highest _seq>-<folds>     one row per folded run: its batch (`_run`) and `_seq`

The order of the rows of a key is (`_seq`, `_ord`): the batch's place among the batches, the row's place in its batch. A
delete voids all before it, and so does a reset, which then puts its row. A row of a run counts only if its `_seq` is
above that of its key's base row, and the run of a folded batch never counts again, so writing a batch twice equals
once, also after it was folded.

In mode patch the row of a key is made of what several rows gave. `_from` says of which batch a leaf's value is: the
`_seq` of each leaf that is older than its row. Rows of runs need none: what they give is their own.

The runs that count are the caller's to name, as (batch id, `_seq`) of the batches that are ACTIVE: a run that died half
way, or whose batch failed, is never seen.
"""

import zlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.errors import Conflict
from jobs.lake.schema import Column, Table

LEVEL, PART, OP, SEQ, ORD, AT, UNSET, RUN_ID = "_level", "_part", "_op", "_seq", "_ord", "_at", "_unset", "_run"
FROM = "_from"
RUN, BASE, FOLDED = "run", "base", "folded"  # values of _level
PUT, RESET, DELETE = "put", "reset", "delete"  # values of _op; a reset is a put that voids all before it
# Values of a key are joined by this before they are hashed.
KEY_SEPARATOR = "\x1f"
_KEY_TYPES = {"string", "int", "bigint", "date"}
_SMALL_ROW_GROUPS = {"parquet.block.size": str(1024 * 1024)}  # a lookup reads the one group that holds its key

KeyValue = str | int | tuple[str | int, ...]


class Folded(Conflict):
    """A run cannot be dropped any more: its rows are in the base. Rebuild the keys that it touched from the lake."""


class Mode(StrEnum):
    """How the rows of a key make one."""

    REPLACE = "replace"  # the last row
    PATCH = "patch"  # each column's last given value
    COMBINE = "combine"  # each column's aggregate


class Combine(StrEnum):
    """How the values of a column make one in mode combine; nulls never count."""

    SUM = "sum"  # numbers, or maps of numbers summed by key
    MIN = "min"
    MAX = "max"
    LATEST = "latest"


class Run(NamedTuple):
    """One batch's run: the batch's id and its place among the batches."""

    batch_id: str
    seq: int


class KeyedTable(BaseModel):
    """A table with one row per key, as its readers see it.

    Args:
        path, name, comment: as of `Table`.
        key: columns without a dot in their name, of type string, int, bigint or date; never null.
        payload: the other columns of a row.
        mode: how the rows of a key make one.
        append: mode patch: names of array columns whose values are concatenated in order instead of replaced.
        combine: mode combine: for every column of the payload how its values make one.
        public: columns that hold no data of people and may have statistics.
        max_runs: runs that may wait before a fold is due: 2 for a table that is read per request, else 16: a fold
            writes what the runs touch, of random keys all there is, and a read of 16 runs is hardly longer than of 8.
        file_bytes: size of a base file to aim at; decides the number of buckets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    name: str
    comment: str
    key: tuple[Column, ...] = Field(min_length=1)
    payload: tuple[Column, ...]
    mode: Mode
    append: frozenset[str] = frozenset()
    combine: Mapping[str, Combine] = {}
    public: frozenset[str] = frozenset()
    max_runs: int = Field(default=16, ge=1)
    file_bytes: int = Field(default=96 * 1024 * 1024, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        payload = {column.name for column in self.payload}
        for column in self.key:
            if "." in column.name or column.type not in _KEY_TYPES:
                raise ValueError(
                    f"table {self.name!r}: key {column.name!r} of type {column.type!r}; "
                    f"a key has no dot in its name and is one of {', '.join(sorted(_KEY_TYPES))}"
                )
        if wrong := {column.name for column in self.payload if column.name in self.append} ^ self.append:
            raise ValueError(f"table {self.name!r}: unknown append columns {', '.join(sorted(wrong))}")
        if self.append and self.mode is not Mode.PATCH:
            raise ValueError(f"table {self.name!r}: only mode patch appends, this one is {self.mode}")
        if set(self.combine) != (payload if self.mode is Mode.COMBINE else set()):
            raise ValueError(f"table {self.name!r}: mode combine says for each column how, the other modes for none")
        return self

    @property
    def key_names(self) -> list[str]:
        """Names of the key's columns."""
        return [column.name for column in self.key]

    @property
    def payload_names(self) -> list[str]:
        """Names of the payload's columns."""
        return [column.name for column in self.payload]

    @property
    def run_column(self) -> str:
        """Column that names a batch in the rows of level folded."""
        return RUN_ID

    @property
    def visible_names(self) -> list[str]:
        """Columns that a reader gets: key, payload, `_seq`, `_ord`, `_at` of the key's last row; in patch `_from`."""
        return [*self.key_names, *self.payload_names, SEQ, ORD, AT, *([FROM] if self.mode is Mode.PATCH else ())]

    @property
    def table(self) -> Table:
        """The Delta table that holds it."""
        return Table(
            path=self.path,
            name=self.name,
            comment=self.comment,
            columns=(*self.key, *self.payload, *(_PATCHING if self.mode is Mode.PATCH else ()), *_BOOKKEEPING),
            partitioned_by=(LEVEL, PART),
            personal=frozenset({*self.key_names, *self.payload_names} - self.public),
            properties=_SMALL_ROW_GROUPS,
        )


_PATCHING = (
    Column(name=UNSET, type="array<string>", comment="Columns that the row blanks"),
    Column(name=FROM, type="map<string,bigint>", comment="Of each column whose value is older than the row, its _seq"),
)
_BOOKKEEPING = (
    Column(name=OP, type="string", comment="put, reset or delete; reset and delete void all before them"),
    Column(name=SEQ, type="bigint", comment="Place of the row's batch among the batches"),
    Column(name=ORD, type="bigint", comment="Place of the row in its batch"),
    Column(name=AT, type="timestamp", comment="Instant of ingestion"),
    Column(name=RUN_ID, type="string", comment="In level folded: a batch whose run is in the base"),
    Column(
        name=LEVEL, type="string", comment="run: as a batch wrote it; base: one row per key; folded: what base holds"
    ),
    Column(name=PART, type="string", comment="Batch id of a run; <buckets>-<bucket> of a base row"),
)
BOOKKEEPING_NAMES = frozenset(column.name for column in (*_PATCHING, *_BOOKKEEPING))


def key_hash(key: KeyValue) -> int:
    """Return the crc32 of a key, the same that Spark computes; modulo the number of buckets it is the key's bucket."""
    values: Sequence[str | int] = key if isinstance(key, tuple) else (key,)
    return zlib.crc32(KEY_SEPARATOR.join(map(str, values)).encode())
