"""Reading definition files: YAML or JSON on disk becomes `Definitions`, or one clear error.

YAML here is the plain part of it: keys are text as written (`null:` is a name), only true and false are booleans, a
date stays text, and there are no merge keys. So `from: no` and `null: NA` mean what they look like. Anchors and aliases
work, as long as what they stand for stays small.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs.catalog.definitions import Definitions
from jobs.catalog.explaining import explained
from jobs.catalog.plain_yaml import read_yaml
from jobs.errors import InvalidRequest, NotFound, TooLarge, shortened

MAX_FILE_BYTES = 8 * 1024 * 1024
# Values that a file may stand for once its aliases are followed; 10,000 fields with all their keys are 100,000.
MAX_VALUES = 1_000_000
_KEYS = " and ".join(", ".join(Definitions.model_fields).rsplit(", ", 1))


def load_definitions(paths: Iterable[Path | str]) -> Definitions:
    """Read definition files into one set of definitions.

    Raises:
        NotFound: a file does not exist.
        InvalidRequest: a file is empty, cannot be read, is no YAML or JSON in UTF-8, breaks a rule, or declares what
            another file declares; the message names file, place, value and rule.
        TooLarge: a file is over the limit of bytes, or its aliases stand for too much.
    """
    namespaces: dict[str, tuple[Path, Any]] = {}
    datasets: dict[str, tuple[Path, Any]] = {}
    policies: dict[str, tuple[Path, Any]] = {}
    for path in map(Path, paths):
        read = _read(path)
        for namespace in read.namespaces:
            _once(namespaces, "namespace", namespace.code, namespace, path)
        for dataset in read.datasets:
            _once(datasets, "dataset", dataset.id, dataset, path)
        for policy in read.merge_policies:
            _once(policies, "merge policy", policy.name, policy, path)
    return Definitions(
        namespaces=tuple(declared for _, declared in namespaces.values()),
        datasets=tuple(declared for _, declared in datasets.values()),
        merge_policies=tuple(declared for _, declared in policies.values()),
    )


def _once(seen: dict[str, tuple[Path, Any]], kind: str, name: str, declared: object, path: Path) -> None:
    first, _ = seen.setdefault(name.lower(), (path, declared))
    if seen[name.lower()][1] is not declared:
        raise InvalidRequest(f"{path}: {kind} {name!r} is declared in {first} too; leave one of them out")


def _read(path: Path) -> Definitions:
    text = _text(path)
    declared = _parsed(path, text)
    if not isinstance(declared, dict):
        raise InvalidRequest(f"{path}: holds {_kind(declared)}; it is a map with the keys {_KEYS}")
    _check_size(path, declared)
    try:
        return Definitions.model_validate(declared)
    except ValidationError as refused:
        raise InvalidRequest(f"{path}: {explained(refused, Definitions)}") from None


def _text(path: Path) -> str:
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        raise InvalidRequest(f"{path}: a definition file ends in .yaml, .yml or .json, not {path.suffix!r}")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except (OSError, ValueError) as refused:
        raise InvalidRequest(f"{shortened(str(path))}: cannot be read: {refused}") from None
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(f"{path}: more than {MAX_FILE_BYTES // 1024**2} MiB; split it into several files")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as refused:
        raise InvalidRequest(
            f"{path}: byte {refused.start} is not UTF-8 (0x{data[refused.start]:02x}); save the file as UTF-8"
        ) from None
    if not text.strip():
        raise InvalidRequest(f"{path}: is empty; it declares {_KEYS}")
    return text


def _parsed(path: Path, text: str) -> object:
    try:
        return _read_json(text) if path.suffix.lower() == ".json" else read_yaml(text)
    except RecursionError:
        raise InvalidRequest(f"{path}: is nested too deeply") from None
    except ValueError as refused:
        what = "JSON" if path.suffix.lower() == ".json" else "YAML"
        raise InvalidRequest(f"{path}: is no {what} that can be read: {refused}") from None


def _read_json(text: str) -> object:
    return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shortened(key)} is given twice in one map")
        found[key] = value
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check_size(path: Path, declared: object) -> None:
    """Count values as often as aliases repeat them; a few lines of aliases can stand for billions."""
    waiting, count = [declared], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count + len(waiting) > MAX_VALUES:
            raise TooLarge(f"{path}: stands for more than {MAX_VALUES:,} values; split it, or repeat fewer aliases")
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _kind(value: object) -> str:
    return {list: "a list", str: "a text", type(None): "nothing"}.get(type(value), f"a {type(value).__name__}")
