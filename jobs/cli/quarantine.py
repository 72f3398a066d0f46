"""`tessera quarantine`."""

from collections.abc import Iterator
from typing import Annotated

import typer

from jobs.cli import options, output
from jobs.ingest.service.quarantine import Quarantined, QuarantineQuery, quarantined
from jobs.lake.store import Store


def quarantine(
    dataset: Annotated[str, typer.Argument(help="Dataset whose refused rows are listed.")],
    rule: Annotated[str | None, typer.Option("--rule", help="Only rows that break this rule.")] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="Only rows of this batch.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="How many rows, from 0 to 10,000.")] = 20,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """List the refused rows of a dataset: how many by rule, then the rows as they came, the newest batch first."""
    settings = options.read_settings(sandbox)
    query = options.checked(QuarantineQuery, dataset=dataset, rule=rule, batch=batch, limit=limit)
    with options.open_catalog(settings) as catalog:
        found = quarantined(catalog, Store(settings.store_root, settings.store.sandbox), query)
    output.answer(found, _lines(found), as_json)


def _lines(found: Quarantined) -> Iterator[str]:
    if not found.total:
        yield f"no such row in the quarantine of {found.dataset}"
        return
    yield from output.aligned(("RULE", "ROWS"), found.rules.items())
    if not found.rows:
        return
    yield ""
    rows = ((row.batch, row.rule, row.message, output.shown(row.raw, most=100)) for row in found.rows)
    yield from output.aligned(("BATCH", "RULE", "WHERE AND WHY", "ROW"), rows)
    if (more := found.total - len(found.rows)) > 0:
        yield f"and {output.shown(more)} more; --limit shows more of them, --json shows rows whole"
