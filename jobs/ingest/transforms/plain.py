"""The fast way for JSON lines: a row that is plain is read as text in one pass, without the checks made leaf by leaf.

One pattern says of a line that it is one JSON object, alone, with declared keys only, each at most once, and values of
kinds that their fields take. Such a row has no problem of form, and its values have the same texts as by the slow way.
Every other row, a right one too, goes the slow way and is judged there: the pattern may miss a row, and takes none that
the slow way would not. It asks for keys in the order of the file's first rows, so that no key can be there twice.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, functions as F

from jobs.ingest.transforms.leaves import Leaf

_SPACE = r"[ \t\r\n]*+"
# Escaped surrogates go the slow way: half of a pair is no letter.
_ESCAPE = r"\\(?:[\"\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4})"
# Control characters are left to Spark's reader, which objects to them.
_STRING = rf'"[^"\\]*+(?:{_ESCAPE}[^"\\]*+)*+"'
# A JSON value keeps neither the sign of zero nor more digits than these.
_NOT_MINUS_ZERO = r"(?!-0(?:\.0+)?[,} \t\r\n])"
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
PLAIN, _CORRUPT = "@plain", "@corrupt"
# A leaf, or the children of an object by key.
_Node = Leaf | dict[str, "_Node"]


@dataclass(frozen=True)
class Plain:
    """What a plain row looks like: the pattern of its line, and the struct of its texts as Spark's DDL writes it."""

    pattern: str
    schema: str

    def read(self, line: Column) -> Column:
        """Return the struct of a plain line's texts, as `PLAIN`; null for any other line."""
        options = {"columnNameOfCorruptRecord": _CORRUPT}
        return F.when(line.rlike(self.pattern), F.from_json(line, self.schema, options))


def is_plain() -> Column:
    """Tell whether a row was read the fast way; if Spark's reader objects to a line, it was not."""
    return F.col(PLAIN).isNotNull() & F.col(f"`{PLAIN}`.`{_CORRUPT}`").isNull()


def plain_text(leaf: Leaf) -> Column:
    """Return the text of a leaf of a plain row."""
    path = ".".join(f"`{part}`" for part in (PLAIN, *leaf.source.split(".")))
    return F.when(is_plain(), F.col(path))


def plain_rows(leaves: Sequence[Leaf], first_lines: Iterable[str]) -> Plain | None:
    """Describe the plain rows of files that begin with these lines; None where every row must go the slow way."""
    tree = _tree(leaves)
    if tree is None:
        return None
    samples = [row for line in first_lines if isinstance(row := _parsed(line), dict)]
    fullest: Mapping[str, Any] = max(samples, key=lambda row: len(json.dumps(row)), default={})
    ordered = _in_order(tree, fullest)
    fields = ", ".join([*_fields(ordered), f"`{_CORRUPT}` string"])
    return Plain(rf"\A{_SPACE}{_object(ordered)}{_SPACE}\z", fields)


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
    kinds = () if node.is_nested else _VALUES[node.type.partition("(")[0]]
    return f"(?:{'|'.join((*kinds, 'null'))})"


def _fields(tree: Mapping[str, _Node]) -> list[str]:
    fields = []
    for key, node in tree.items():
        if isinstance(node, dict):
            if inner := _fields(node):
                fields.append(f"`{key}` struct<{', '.join(inner)}>")
        elif not node.is_nested:
            fields.append(f"`{key}` string")
    return fields
