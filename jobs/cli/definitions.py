"""`tessera apply`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from jobs.catalog.forms import write_forms
from jobs.catalog.loading import load_definitions
from jobs.cli import options, output


def apply(
    files: Annotated[list[Path], typer.Argument(help="Definition files, YAML or JSON.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Create or update what definition files declare: all of it, or nothing when one part is refused."""
    settings = options.read_settings(sandbox)
    definitions = load_definitions(files)
    with options.open_catalog(settings) as catalog:
        report = catalog.apply(definitions, at=datetime.now(UTC), dry_run=dry_run)
        if not dry_run:
            write_forms(settings.home, catalog)
    output.answer(report, report.lines(), as_json)
