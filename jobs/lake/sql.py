"""The few texts of SQL statements: names, literals and table paths, quoted.

Delta's parser takes no parameter markers (`:name`) in Spark 4.2, neither for the table nor for a value, so everything
that enters a statement's text passes through here.
"""

import re

from jobs.errors import InvalidRequest

_BATCH = re.compile(r"[A-Za-z0-9_-]{1,64}")


def quoted(name: str) -> str:
    """Quote a column name; a dotted name stays one column."""
    return f"`{name.replace('`', '``')}`"


def literal(text: str) -> str:
    r"""Quote a text as a SQL string.

    `$` is written as \u0024, because Spark replaces ${...} in the text of a statement before it parses it.
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("$", "\\u0024") + "'"


def table_at(path: str) -> str:
    """Name the Delta table at a path, for the FROM of a statement."""
    return f"delta.{quoted(path)}"


def checked_batch_id(batch_id: str) -> str:
    """Return a batch id that may stand in a predicate.

    Raises:
        InvalidRequest: the id is not 1 to 64 letters, digits, `_` or `-`.
    """
    if not _BATCH.fullmatch(batch_id):
        raise InvalidRequest(f"batch id {batch_id!r}: use 1 to 64 letters, digits, '_' and '-'")
    return batch_id
