"""The header line of a CSV file: what its columns are called, and whether the dataset knows them."""

import csv
from collections import Counter

from jobs.catalog.definitions import MAX_FIELDS, Dataset
from jobs.errors import InvalidRequest, known_here
from jobs.ingest.transforms.leaves import leaves_of

_MOST_NAMED = 5
_EVENT_NEEDS = ("_id", "timestamp")


def csv_names(line: str, dataset: Dataset) -> tuple[str, ...]:
    """Split a header line into its names.

    Raises:
        InvalidRequest: the line is no CSV.
    """
    options = dataset.csv
    # The limit is the whole process's: other readers of CSV in it must find it as they left it.
    limit = csv.field_size_limit(len(line) + 1)
    try:
        return tuple(next(csv.reader([line], delimiter=options.delimiter, quotechar=options.quote, strict=True)))
    except (csv.Error, StopIteration) as refused:
        raise InvalidRequest(f"the first line is no header: {refused or 'it is empty'}") from None
    finally:
        csv.field_size_limit(limit)


def check_header(line: str, dataset: Dataset, file: str) -> None:
    """Refuse a file whose header the dataset cannot take.

    Raises:
        InvalidRequest: the header is empty, has too many columns, a name twice or none, a column that the dataset
            does not know, or lacks one that every row needs; the message names file, columns and remedy.
    """
    if not line.strip():
        raise InvalidRequest(f"{file}: the first line is empty; a CSV file begins with a header that names its columns")
    if (columns := line.count(dataset.csv.delimiter) + 1) > MAX_FIELDS:
        raise InvalidRequest(f"{file}: the header has {columns} columns; a row has at most {MAX_FIELDS} fields")
    try:
        names = csv_names(line, dataset)
    except InvalidRequest as refused:
        raise InvalidRequest(f"{file}: {refused}") from None
    if "" in names:
        raise InvalidRequest(f"{file}: column {names.index('') + 1} of the header has no name; name it or remove it")
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise InvalidRequest(f"{file}: the header has {_listed(twice)} more than once; keep one")
    known = {leaf.source: leaf for leaf in leaves_of(dataset)}
    if unknown := [name for name in names if name not in known]:
        raise InvalidRequest(
            f"{file}: dataset {dataset.id!r} has no field for {_listed(unknown)}; {known_here(unknown[0], known)}. "
            "Declare it (`from` maps a column to a field), remove it, or set csv.delimiter if the columns are not split"
        )
    needed = [f.column for f in dataset.fields if f.required or (dataset.kind == "events" and f.path in _EVENT_NEEDS)]
    if missing := [name for name in needed if name not in names]:
        raise InvalidRequest(f"{file}: the header lacks {_listed(missing)}, which every row of {dataset.id!r} needs")


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:64]) for name in names[:_MOST_NAMED])
    return f"column{'s' if len(names) > 1 else ''} {shown}" + (
        f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    )
