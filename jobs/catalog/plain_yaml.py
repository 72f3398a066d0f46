"""The part of YAML that definition files are written in; see `jobs.catalog.loading`."""

import re
from typing import Any

import yaml

from jobs.errors import shortened

MAX_DEPTH = 50
# The C parser is ten times as fast where PyYAML has it.
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PlainLoader(_PARSER):  # type: ignore[misc] # chosen at import
    """Knows null, true, false and decimal numbers; everything else is text, and so is every key."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as the base class has it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        """Build a map; a key that is given twice or is no plain text is an error."""
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key.start_mark)
            if key.value in found:
                problem = f"the key {shortened(key.value)} is given twice in one map"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            found[key.value] = self.construct_object(value, deep=True)
        return found


for _tag, _form, _first in (
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"^(?:true|false)$", list("tf")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]{0,30})$", list("-+0123456789")),
    ("float", r"^[-+]?[0-9]{1,30}\.[0-9]{1,30}(?:[eE][-+]?[0-9]{1,3})?$", list("-+0123456789")),
):
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_form), _first)


def read_yaml(text: str) -> object:
    """Read one YAML document.

    Raises:
        ValueError: it is none, has a key twice, is nested deeper than 50 levels or uses a tag that is not known; names
            the line.
    """
    try:
        _check_depth(text)
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.MarkedYAMLError as refused:
        mark = refused.problem_mark or refused.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{refused.problem or refused.context}") from None
    except yaml.YAMLError as refused:
        raise ValueError(" ".join(str(refused).split())[:200]) from None


def _check_depth(text: str) -> None:
    """Look at the events first: building a tree calls itself for each level, which deep nesting turns into a crash."""
    depth = 0
    for event in yaml.parse(text, Loader=_PARSER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                line = f"line {event.start_mark.line + 1}: " if event.start_mark else ""
                raise ValueError(f"{line}nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
