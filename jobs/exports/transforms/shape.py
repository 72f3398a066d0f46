"""Dotted leaves to XDM's nested shape: `person.name.firstName` is a column in tables, and three levels in an export."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

from pyspark.sql import Column, DataFrame, functions as F, types as T

from jobs.lake.sql import quoted

# Spark's own format for texts ends at the millisecond.
INSTANT_FORMAT = "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"
# Names to what is below them; a leaf is its whole path.
_Tree = Mapping[str, Any]


def nested(names: Sequence[str], comments: Mapping[str, str], parent: str = "") -> list[Column]:
    """Return one column for each first name of the paths, in their order; what is below it is a struct.

    A struct of which every leaf is null is null itself, as an object that a source did not give is absent.

    Args:
        names: paths, which are columns of the frame; none holds another one.
        comments: of the paths.
        parent: what the paths are below, for their comments alone: `events.`.
    """
    return [_column(name, below, comments, parent) for name, below in _tree(names).items()]


def commented(value: Column, name: str, comment: str) -> Column:
    """Name a column, or a field of a struct, and say what it is: the comment goes along into the table's schema."""
    # A schema that is sent to the server and back (`DataFrame.to`) would make every string one with a collation.
    return value.alias(name, metadata={"comment": comment} if comment else {})


def flat(frame: DataFrame) -> DataFrame:
    """Give every leaf a column of its own, by its path; arrays and maps become JSON texts."""
    return frame.select(
        *(column for field in frame.schema.fields for column in _flat(F.col(quoted(field.name)), field))
    )


def _flat(value: Column, field: T.StructField, parent: str = "") -> list[Column]:
    path = f"{parent}{field.name}"
    if isinstance(field.dataType, T.StructType):
        return [one for part in field.dataType.fields for one in _flat(value[part.name], part, f"{path}.")]
    is_nested = isinstance(field.dataType, T.ArrayType | T.MapType)
    return [(F.to_json(value, {"timestampFormat": INSTANT_FORMAT}) if is_nested else value).alias(path)]


def _tree(names: Sequence[str]) -> _Tree:
    tree: dict[str, Any] = {}
    for name in names:
        *parents, last = name.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = name
    return tree


def _column(name: str, below: str | _Tree, comments: Mapping[str, str], parent: str) -> Column:
    comment = comments.get(f"{parent}{name}", "")
    if isinstance(below, str):
        return commented(F.col(quoted(below)), name, comment)
    is_given = reduce(or_, (F.col(quoted(leaf)).isNotNull() for leaf in _leaves(below)))
    fields = (_column(one, part, comments, f"{parent}{name}.") for one, part in below.items())
    return commented(F.when(is_given, F.struct(*fields)), name, comment)


def _leaves(tree: str | _Tree) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    return [leaf for below in tree.values() for leaf in _leaves(below)]
