"""What a model refused, told to a person: where, the value, the rule, and what would be right."""

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from jobs.catalog.dataset_fields import PATH_PATTERN
from jobs.catalog.definitions import BATCH_PATTERN, DATASET_PATTERN, NAMESPACE_PATTERN
from jobs.errors import known_here, shortened

_MOST_ERRORS = 5
_IN_WORDS = {
    DATASET_PATTERN: "1 to 63 of the characters a-z 0-9 _, the first one a letter",
    NAMESPACE_PATTERN: "1 to 63 of the characters A-Z a-z 0-9 _, the first one a letter",
    BATCH_PATTERN: "1 to 64 of the characters A-Z a-z 0-9 _ and -",
    PATH_PATTERN: "names of the characters A-Z a-z 0-9 _ joined by dots, none beginning with a digit",
}
_INSTANT = "must be an instant with its zone, e.g. 2024-01-31T10:00:00Z"
_MESSAGES = {
    "tuple_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map of keys and values",
    "string_type": "must be a text; write it in quotes",
    "timezone_aware": _INSTANT,
    "datetime_parsing": _INSTANT,
    "datetime_from_date_parsing": _INSTANT,
    "datetime_type": _INSTANT,
}
# Keys that a model takes and turns into others.
_MORE_KEYS = {"Dataset": ("tags",)}


def explained(refused: ValidationError, model: type[BaseModel]) -> str:
    """Say in one line what is wrong with a declaration: the first errors, each with its place, value and rule.

    Args:
        refused: what pydantic raised.
        model: the model that was to be read.
    """
    errors = refused.errors(include_url=False)
    told = [_told(error, model) for error in errors[:_MOST_ERRORS]]
    if len(errors) > _MOST_ERRORS:
        told.append(f"and {len(errors) - _MOST_ERRORS} more")
    return "; ".join(told)


def _told(error: Any, model: type[BaseModel]) -> str:
    place, rule = key_path(error["loc"]), _rule(error, model)
    value = error["input"]
    if error["type"] == "missing":
        return f"{place}: {rule}"
    shows_value = not isinstance(value, dict | list | tuple | BaseModel)
    return ": ".join(part for part in (f"{place} = {shortened(value)}" if shows_value else place, rule) if part)


def _rule(error: Any, model: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        *parents, key = error["loc"]
        return f"unknown key; {known_here(str(key), _keys(_model_at(model, parents)), most=20)}"
    if kind == "string_pattern_mismatch":
        return _IN_WORDS.get(context["pattern"], f"must match {context['pattern']}")
    if kind == "value_error":
        return str(context["error"])
    return _MESSAGES.get(kind) or str(error["msg"])


def key_path(place: Sequence[str | int]) -> str:
    """Write the place of a value as datasets[0].fields[2].type."""
    written = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return shortened_path(written.removeprefix("."))


def shortened_path(path: str, most: int = 120) -> str:
    """Cut a path in which a key of the file is too long to be read."""
    return path if len(path) <= most else f"{path[: most - 1]}…"


def _model_at(model: type[BaseModel], parents: Sequence[str | int]) -> type[BaseModel]:
    for part in parents:
        inner = model.model_fields.get(str(part))
        if inner is not None:
            model = _model_in(inner.annotation) or model
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _keys(model: type[BaseModel]) -> list[str]:
    fields = [field.serialization_alias or name for name, field in model.model_fields.items()]
    return [*fields, *_MORE_KEYS.get(model.__name__, ())]
