"""What a command prints."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from pydantic import BaseModel


def answer(document: BaseModel | dict[str, Any] | list[Any], text: Iterable[str], as_json: bool) -> None:
    """Print the result of a command: its JSON document, or lines for people.

    Args:
        document: what the REST API would answer.
        text: the same in lines.
        as_json: which of the two.
    """
    if as_json:
        plain = document.model_dump(mode="json") if isinstance(document, BaseModel) else document
        typer.echo(json.dumps(plain, ensure_ascii=False, indent=2, default=str))
    else:
        for line in text:
            typer.echo(line)


def aligned(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lay rows out in columns as wide as their widest cell."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
