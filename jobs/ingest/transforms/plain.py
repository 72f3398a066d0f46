"""The fast way for JSON lines: a row that is plain is read as text in one pass, without the checks made leaf by leaf.

A plain line is one JSON object, alone, with declared keys only, each at most once, and values of kinds that their
fields take. Such a row has no problem of form, and its values have the same texts as by the slow way. Every other row,
a right one too, goes the slow way and is judged there: a plain row may be missed, and none is taken that the slow way
would not take.

A line is plain if its values, written down as the file's first rows write theirs, give that very line: then there was
nothing else in it, and nothing escaped. Most files are the work of one program, and nothing is cheaper. Otherwise a
pattern tells, which asks for keys in the order of the first rows, so that no key can be there twice.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import Column, DataFrame, functions as F

from jobs.ingest.transforms.leaves import Leaf
from jobs.ingest.transforms.reading import PLACE, TEXT

_SPACE = r"[ \t\r\n]*+"
# Escaped surrogates go the slow way: half of a pair is no letter.
_ESCAPE = r"\\(?:[\"\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4})"
# Control characters are left to Spark's reader, which objects to them.
_STRING = rf'"[^"\\]*+(?:{_ESCAPE}[^"\\]*+)*+"'
# A JSON value keeps neither the sign of zero nor more digits than these.
_NOT_MINUS_ZERO = r"(?!-0(?:\.0+)?(?:[,} \t\r\n]|\z))"
_INTEGER = rf"{_NOT_MINUS_ZERO}-?(?:0|[1-9][0-9]{{0,17}}+)(?![0-9.eE])"
_NUMBER = rf"{_NOT_MINUS_ZERO}-?(?:0|[1-9][0-9]{{0,17}}+)(?:\.[0-9]{{1,15}}+)?+(?![0-9.eE])"
_VALUES = {
    "string": (_STRING, _INTEGER),
    "integer": (_STRING, _NUMBER),
    "long": (_STRING, _NUMBER),
    "decimal": (_STRING, _NUMBER),
    "double": (_STRING, _NUMBER),
    "boolean": (_STRING, "true", "false"),
    "date": (_STRING,),
    "timestamp": (_STRING,),
}
_PLAIN, _CORRUPT = "@plain", "@corrupt"
_READ = "@read"
# A leaf, or the children of an object by key.
_Node = Leaf | dict[str, "_Node"]


@dataclass(frozen=True)
class Plain:
    """What a plain row looks like.

    Args:
        tree: the leaves that it may have, in the order of its keys.
        sample: a row of the file, which tells how values are written.
        between: what stands between two members of an object, and between a key and its value.
    """

    tree: Mapping[str, _Node]
    # It holds data of people.
    sample: Mapping[str, Any] = field(repr=False)
    between: tuple[str, str]

    def read(self, rows: DataFrame, max_bytes: int) -> DataFrame:
        """Add the struct of a plain line's texts to rows of `reading.lines` as `@plain`, null for any other line.

        Args:
            rows: with the lines.
            max_bytes: bound of a row; a longer one is not plain.
        """
        schema = ", ".join([*_fields(self.tree), f"`{_CORRUPT}` string"])
        read = F.from_json(TEXT, schema, {"columnNameOfCorruptRecord": _CORRUPT})
        parsed = rows.select("*", F.when(F.octet_length(TEXT) <= max_bytes, read).alias(_READ))
        as_written = self._written(self.tree, self.sample, F.col(_READ)) == F.col(TEXT)
        matches = F.col(TEXT).rlike(rf"\A{_SPACE}{_object(self.tree)}{_SPACE}\z")
        return parsed.select(*PLACE, TEXT, F.when(as_written | matches, F.col(_READ)).alias(_PLAIN))

    def _written(self, tree: Mapping[str, _Node], sample: Any, values: Column) -> Column:
        """Write an object down as the file does; what is null is left out."""
        members = []
        comma, colon = self.between
        for key, node in tree.items():
            value, seen = values.getField(key), sample.get(key) if isinstance(sample, dict) else None
            name = F.lit(json.dumps(key, ensure_ascii=False) + colon)
            if isinstance(node, Leaf):
                members.extend([] if node.is_nested else [F.concat(name, _token(node, seen, value))])
            elif _fields(node):
                members.append(F.when(value.isNotNull(), F.concat(name, self._written(node, seen, value))))
        return F.concat(F.lit("{"), F.concat_ws(comma, *members), F.lit("}"))


def is_plain() -> Column:
    """Tell whether a row was read the fast way; if Spark's reader objects to a line, it was not."""
    return F.col(_PLAIN).isNotNull() & F.col(f"`{_PLAIN}`.`{_CORRUPT}`").isNull()


def plain_text(leaf: Leaf) -> Column:
    """Return the text of a leaf of a plain row; of another row it says nothing."""
    path = ".".join(f"`{part}`" for part in (_PLAIN, *leaf.source.split(".")))
    return F.col(path)


def plain_rows(leaves: Sequence[Leaf], first_lines: Iterable[str]) -> Plain | None:
    """Describe the plain rows of files that begin with these lines; None where rows must go the slow way."""
    tree = _tree(leaves)
    if tree is None:
        return None
    lines = list(first_lines)
    samples = [row for line in lines if isinstance(row := _parsed(line), dict)]
    if samples and all(_holds_nested(row, leaves) for row in samples):
        return None
    fullest: Mapping[str, Any] = max(samples, key=lambda row: len(json.dumps(row)), default={})
    is_spaced = any('": ' in line for line in lines)
    return Plain(_in_order(tree, fullest), fullest, (", ", ": ") if is_spaced else (",", ":"))


def _holds_nested(row: Any, leaves: Iterable[Leaf]) -> bool:
    """Tell whether a row has an array or an object where a field takes one: then it is not plain."""
    return any(_found(row, leaf.source) is not None for leaf in leaves if leaf.is_nested)


def _found(row: Any, source: str) -> Any:
    for part in source.split("."):
        row = row.get(part) if isinstance(row, dict) else None
    return row


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _tree(leaves: Sequence[Leaf]) -> dict[str, _Node] | None:
    tree: dict[str, _Node] = {}
    for leaf in leaves:
        *parents, last = leaf.source.split(".")
        node = tree
        for parent in parents:
            child = node.setdefault(parent, {})
            if isinstance(child, Leaf):
                return None
            node = child
        if last in node:
            return None
        node[last] = leaf
    return tree if _is_nameable(tree) else None


def _is_nameable(tree: Mapping[str, _Node]) -> bool:
    """Tell whether the keys can stand in a pattern and in the names of a struct, which compare without case."""
    if len({key.lower() for key in tree}) < len(tree) or any(letter in key for key in tree for letter in '"\\`'):
        return False
    return all(_is_nameable(node) for node in tree.values() if isinstance(node, dict))


def _in_order(tree: Mapping[str, _Node], sample: Any) -> dict[str, _Node]:
    seen = sample if isinstance(sample, dict) else {}
    keys = [key for key in seen if key in tree] + [key for key in tree if key not in seen]
    ordered: dict[str, _Node] = {}
    for key in keys:
        node = tree[key]
        ordered[key] = _in_order(node, seen.get(key)) if isinstance(node, dict) else node
    return ordered


def _object(tree: Mapping[str, _Node]) -> str:
    # A comma is followed by a key, and the last member by the end.
    after = rf"{_SPACE}(?:,{_SPACE}(?=\")|(?=\}}))"
    members = "".join(rf'(?:"\Q{key}\E"{_SPACE}:{_SPACE}{_value(node)}{after})?+' for key, node in tree.items())
    return rf"\{{{_SPACE}{members}\}}"


def _value(node: _Node) -> str:
    if isinstance(node, dict):
        return f"(?:{_object(node)}|null)"
    return f"(?:{'|'.join((*_kinds(node), 'null'))})"


def _kinds(leaf: Leaf) -> tuple[str, ...]:
    return () if leaf.is_nested else _VALUES[leaf.type.partition("(")[0]]


def _token(leaf: Leaf, seen: Any, value: Column) -> Column:
    """Write a value down, in quotes if the one that was seen is; null where it cannot have stood there so."""
    bare = [kind for kind in _kinds(leaf) if kind != _STRING]
    if isinstance(seen, str) or not bare or (seen is None and leaf.type == "string"):
        return F.concat(F.lit('"'), value, F.lit('"'))
    return F.when(value.rlike(rf"\A(?:{'|'.join(bare)})\z"), value)


def _fields(tree: Mapping[str, _Node]) -> list[str]:
    fields = []
    for key, node in tree.items():
        if isinstance(node, dict):
            if inner := _fields(node):
                fields.append(f"`{key}` struct<{', '.join(inner)}>")
        elif not node.is_nested:
            fields.append(f"`{key}` string")
    return fields
