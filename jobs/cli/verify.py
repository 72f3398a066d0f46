"""`tessera verify`."""

from collections.abc import Iterator
from typing import Annotated

import typer

from jobs.cli import options, output
from jobs.errors import StoreError
from jobs.session.engines import Engine
from jobs.verification.models import VerifyResult


def verify(
    full: Annotated[
        bool, typer.Option("--full", help="All profiles; otherwise a random slice, see profiles.verify_profiles.")
    ] = False,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Make profiles anew from fragments and links and compare them with the views; drift must be 0."""
    # Loaded here: the other commands do without Spark and its seconds.
    from jobs.session.progress import progress_for_terminal
    from jobs.verification import service

    settings = options.read_settings(sandbox)
    with options.open_catalog(settings) as catalog:
        engine = Engine.parse(settings.engine.spark)
        result = service.verify(catalog, settings, engine, full, progress_for_terminal())
    output.answer(result, _lines(result), as_json)
    if result.drift:
        raise StoreError(f"the views drifted by {result.drift} values; `tessera refresh --full` makes them anew")


def _lines(result: VerifyResult) -> Iterator[str]:
    yield result.summary
    if result.differences:
        rows = ((one.table, one.key, one.column, one.stored, one.made) for one in result.differences)
        cells = (tuple(part and output.shown(part, most=60) for part in row) for row in rows)
        yield from output.aligned(("TABLE", "OF", "COLUMN", "STORED", "SHOULD BE"), cells)
