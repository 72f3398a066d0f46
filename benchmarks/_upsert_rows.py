"""The rows of the upsert benchmark: people, and batches of changes to some of them, prepared once as Parquet files.

Every value holds a number, so that one query of sums in any engine's SQL tells whether two tables hold the same value
for the same key.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb

KEY = "_identity"
# Column -> type as Spark writes it.
PAYLOAD = {
    "first": "string",
    "last": "string",
    "city": "string",
    "tier": "string",
    "points": "bigint",
    "spent": "decimal(12,2)",
    "modified": "timestamp",
}
# Place of the row in its batch, as an ingest gives it.
ORD = "_ord"
_SHARE = 100  # a batch has one row for so many of the table
_NEW_IN = 20  # and one key in about so many is new


@dataclass(frozen=True)
class Prepared:
    """Files of prepared rows: the table at first, and the batches."""

    base: Path
    batches: tuple[Path, ...]


def prepare(folder: Path, rows: int, batches: int) -> Prepared:
    """Write the files. A fifth of the cities and points of a batch are null, which an upsert keeps as they are."""
    base = folder / "base.parquet"
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"copy ({_people('range', rows, 0)}) to '{base}' (row_group_size 250000)")
        files = []
        for number in range(1, batches + 1):
            files.append(folder / f"batch-{number:02}.parquet")
            some = f"range({rows + rows // _NEW_IN}) order by hash(range, {number}) limit {rows // _SHARE}"
            keys = f"(select range from {some})"
            connection.execute(f"copy ({_people(keys, 0, number)}) to '{files[-1]}'")
    return Prepared(base, tuple(files))


def _people(keys: str, rows: int, salt: int) -> str:
    source = f"range({rows})" if keys == "range" else keys

    def drawn(column: str, below: int) -> str:
        return f"(hash(range, '{column}', {salt}) % {below})::bigint"

    def kept(column: str, value: str) -> str:
        return f"case when {salt} = 0 or {drawn(f'{column} given', 5)} > 0 then {value} end"

    return f"""
        select 'CRMID:c' || lpad(range::varchar, 9, '0') as {KEY},
            'First ' || {drawn("first", 5000)} as first,
            'Last ' || {drawn("last", 90000)} as last,
            {kept("city", f"'City ' || {drawn('city', 2000)}")} as city,
            'Tier ' || {drawn("tier", 4)} as tier,
            {kept("points", drawn("points", 100000))} as points,
            ({drawn("spent", 10000000)} / 100)::decimal(12, 2) as spent,
            make_timestamptz(1700000000000000 + {drawn("modified", 30000000)} * 1000000) as modified,
            row_number() over () as {ORD}
        from {source}"""


def checking_query(table: str, seconds_of: str) -> str:
    """Return SQL that reads every value of a table and sums it up, each value mixed with its key.

    Args:
        table: what to read.
        seconds_of: the engine's function that gives an instant's seconds since 1970.
    """
    number = f"cast(substr({KEY}, 8) as bigint)"
    values = {
        "first": "cast(substr(first, 7) as bigint)",
        "last": "cast(substr(last, 6) as bigint)",
        "city": "cast(substr(city, 6) as bigint)",
        "tier": "cast(substr(tier, 6) as bigint)",
        "points": "points",
        "spent": "cast(spent * 100 as bigint)",
        "modified": f"cast({seconds_of}(modified) as bigint)",
    }
    sums = [f"sum({value} * ({number} % {1009 + 2 * n}))" for n, value in enumerate(values.values())]
    return f"select count(*), sum({number}), {', '.join(sums)} from {table}"
