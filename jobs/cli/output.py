"""What a command prints."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from pydantic import BaseModel

NONE = "-"
_SPANS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def answer(document: BaseModel | Sequence[BaseModel], text: Iterable[str], as_json: bool) -> None:
    """Print the result of a command: its JSON document, or lines for people.

    Args:
        document: what the REST API would answer.
        text: the same in lines.
        as_json: which of the two.
    """
    if as_json:
        is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        typer.echo(json.dumps(_plain(document), ensure_ascii=not is_unicode, indent=2))
    else:
        for line in text:
            typer.echo(line)


def aligned(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lay rows out in columns as wide as their widest cell; numbers to the right, an absent value as a dash."""
    values = [list(row) for row in rows]
    to_right = [any(isinstance(row[i], int | float) for row in values) for i in range(len(header))]
    cells = [list(header), *([shown(value) for value in row] for row in values)]
    widths = [max(_width(row[i]) for row in cells) for i in range(len(header))]
    return ["  ".join(map(_padded, row, widths, to_right)).rstrip() for row in cells]


def shown(value: object, most: int | None = None) -> str:
    """Show a value in one line of a terminal: nothing in it is a control character.

    Args:
        value: None is a dash, an instant is shown in UTC, whole numbers with spaces by thousands.
        most: characters after which a text is cut.
    """
    if value is None:
        return NONE
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", " ")
    text = str(value)
    cut = text if most is None or len(text) <= most else f"{text[: most - 1]}…"
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in cut)


def span(seconds: float | None) -> str:
    """Show a span of time by its two largest units: 3 d 4 h."""
    if seconds is None:
        return NONE
    parts, rest = [], max(0, int(seconds))
    for unit, size in _SPANS:
        if rest >= size:
            parts.append(f"{rest // size} {unit}")
            rest %= size
    return " ".join(parts[:2]) or "0 s"


def _plain(document: BaseModel | Sequence[BaseModel]) -> Any:  # a JSON value
    if isinstance(document, BaseModel):
        return document.model_dump(mode="json", by_alias=True)
    return [_plain(part) for part in document]


def _padded(cell: str, width: int, to_right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if to_right else cell + space


def _width(text: str) -> int:
    # A letter of Korean, Chinese or Japanese takes two columns of a terminal.
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
