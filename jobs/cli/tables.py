"""`tessera tables`."""

from collections.abc import Iterator
from typing import Annotated

import typer

from jobs.cli import options, output
from jobs.lake import reader
from jobs.lake.store import Store


def tables(
    describe: Annotated[
        str | None,
        typer.Option(
            "--describe", metavar="TABLE", help="Describe the columns of one, and count their nulls, e.g. lake/crm."
        ),
    ] = None,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """List the Delta tables that analysts read: what they hold, how many rows, who wrote them, where they are."""
    settings = options.read_settings(sandbox)
    store = Store(settings.store_root, settings.store.sandbox)
    if describe is not None:
        table = reader.describe(store, describe)
        output.answer(table, _description(table), as_json)
        return
    found = reader.tables(store)
    output.answer(found, _list(found, settings.store.sandbox), as_json)


def _list(found: list[reader.TableFacts], sandbox: str) -> list[str]:
    if not found:
        return [f"no table in sandbox {sandbox!r} yet"]
    rows = ((t.name, t.rows, str(t.version), t.updated, t.run, t.path, t.description) for t in found)
    return output.aligned(("TABLE", "ROWS", "VERSION", "UPDATED (UTC)", "RUN", "PATH", "DESCRIPTION"), rows)


def _description(table: reader.TableDescription) -> Iterator[str]:
    yield f"{table.name}: {output.shown(table.description)}"
    yield f"{output.shown(table.rows)} rows, version {table.version} of {output.shown(table.updated)} UTC, {table.path}"
    if table.partitioned_by:
        yield f"partitioned by {', '.join(table.partitioned_by)}"
    yield ""
    columns = ((column.name, column.type, column.nulls, column.comment) for column in table.columns)
    yield from output.aligned(("COLUMN", "TYPE", "NULLS", "COMMENT"), columns)
