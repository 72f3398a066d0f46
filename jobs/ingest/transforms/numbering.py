"""Numbers of rows and lines, from the counts of the splits that a file was read in.

A row's number in its file is the count of rows in the file's earlier splits plus its place in its own split. The place
is `@row` less the split's smallest `@row`: `@row` counts the rows of a split one by one from any start. So the numbers
do not depend on where a file was split, and no frame is sorted for them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.catalog.records import InputFile
from jobs.ingest.transforms.documents import BLANK
from jobs.ingest.transforms.identities import FIT, LANDS, MESSAGE, RULE
from jobs.ingest.transforms.reading import BLOCK, PATH, ROW, plain_path
from jobs.ingest.transforms.rules import REPEATED_HEADER

FILE, LINE, ORD = "_file", "@line", "_ord"
ROWS_PER_FILE = 2**40
SPLIT_SCHEMA = (
    f"`{PATH}` string, `{BLOCK}` long, `@first_row` long, `@rows_before` long, `{FILE}` string, `@index` long"
)


class Group(NamedTuple):
    """One row of `counts_by_split`."""

    path: str
    block: int
    rule: str | None
    rows: int
    first_row: int
    message: str | None
    landed: int
    fit: int


class Split(NamedTuple):
    """The smallest `@row` of a split, and the number of rows in the earlier splits of its file."""

    first_row: int
    rows_before: int


@dataclass(frozen=True)
class Counted:
    """What staging holds.

    Args:
        read: rows, without blank lines and headers.
        landed: those for the lake.
        fit: those that the Profile store can take.
        refused: those that break a rule, by rule.
        messages: one message of each such rule.
        splits: by (`@path`, `@block`).
    """

    read: int
    landed: int
    fit: int
    refused: dict[str, int]
    messages: dict[str, str]
    splits: dict[tuple[str, int], Split]

    @property
    def quarantined(self) -> int:
        """Rows that break a rule."""
        return sum(self.refused.values())


def counts_by_split(staged: DataFrame) -> DataFrame:
    """Count staged rows by split and rule: one row per (`@path`, `@block`, `@rule`), so small in every batch."""
    return staged.groupBy(PATH, BLOCK, RULE).agg(
        F.count(F.lit(1)).alias("rows"),
        F.min(ROW).alias("first_row"),
        F.min(MESSAGE).alias("message"),
        F.count_if(LANDS).alias("landed"),
        F.count_if(FIT).alias("fit"),
    )


def counted(groups: Iterable[Group]) -> Counted:
    """Sum up the rows of `counts_by_split`. The header of a CSV file is no row; another line like it breaks a rule."""
    groups = list(groups)
    splits = _splits(groups)
    rows_by_rule: Counter[str] = Counter()
    messages: dict[str | None, str | None] = {}
    for group in groups:
        # The header is the first row of its file, and the file's first split holds it.
        is_header = group.rule == REPEATED_HEADER.id and splits[group.path, group.block] == Split(group.first_row, 0)
        rows_by_rule[group.rule or ""] += group.rows - is_header
        messages.setdefault(group.rule, group.message)
    read = sum(rows for rule, rows in rows_by_rule.items() if rule != BLANK)
    refused = {rule: rows for rule, rows in sorted(rows_by_rule.items()) if rows and rule not in ("", BLANK)}
    landed, fit = sum(group.landed for group in groups), sum(group.fit for group in groups)
    return Counted(read, landed, fit, refused, {rule: messages[rule] or "" for rule in refused}, splits)


def _splits(groups: Iterable[Group]) -> dict[tuple[str, int], Split]:
    first_rows: dict[tuple[str, int], int] = {}
    rows: Counter[tuple[str, int]] = Counter()
    for group in groups:
        split = group.path, group.block
        rows[split] += group.rows
        first_rows[split] = min(group.first_row, first_rows.get(split, group.first_row))
    before: Counter[str] = Counter()
    splits = {}
    for path, block in sorted(rows):
        splits[path, block] = Split(first_rows[path, block], before[path])
        before[path] += rows[path, block]
    return splits


def files_read(counted: Counted) -> set[str]:
    """Return the paths of the files that gave at least one line, element or row."""
    return {plain_path(path) for path, _ in counted.splits}


def split_frame(spark: SparkSession, counted: Counted, files: Sequence[InputFile]) -> DataFrame:
    """Make the frame that `numbered` joins: one row per split, with its file's name and place in the batch."""
    place = {file.path: (file.name, n) for n, file in enumerate(files)}
    rows = [(path, block, *split, *place[plain_path(path)]) for (path, block), split in counted.splits.items()]
    return spark.createDataFrame(rows, SPLIT_SCHEMA)


def numbered(staged: DataFrame, splits: DataFrame) -> DataFrame:
    """Add `_file` (base name), `@line` (1-based) and `_ord` to staged rows; blank lines and headers are left out."""
    joined = staged.join(F.broadcast(splits), [PATH, BLOCK], how="inner")
    row = F.col(ROW) - F.col("@first_row") + F.col("@rows_before")
    placed = joined.withColumns({LINE: row + 1, ORD: F.col("@index") * ROWS_PER_FILE + row})
    is_header = (F.col(RULE) == REPEATED_HEADER.id) & (F.col(LINE) == 1)
    is_row = F.col(RULE).isNull() | ((F.col(RULE) != BLANK) & ~is_header)
    return placed.where(is_row)
