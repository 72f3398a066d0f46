"""The command-line program `tessera`.

`--json` prints one JSON document on stdout, the one the REST API answers; everything else goes to stderr. Errors end
with the exit code of their class (jobs.errors), a wrong use of a command with 2.
"""

import io
import logging
import sys

import typer

from jobs.cli.batches import batch, batches
from jobs.cli.datasets import datasets
from jobs.cli.definitions import apply
from jobs.cli.delete import app as delete_app
from jobs.cli.export import export
from jobs.cli.ingest import ingest
from jobs.cli.lookup import lookup
from jobs.cli.maintain import maintain
from jobs.cli.preview import app as preview_app
from jobs.cli.quarantine import quarantine
from jobs.cli.refresh import refresh
from jobs.cli.replay import replay
from jobs.cli.scan import scan
from jobs.cli.status import status
from jobs.cli.tables import tables
from jobs.cli.verify import verify
from jobs.errors import TesseraError

app = typer.Typer(
    name="tessera",
    help="A batch customer-profile platform on Spark and Delta Lake.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    apply,
    ingest,
    scan,
    replay,
    refresh,
    lookup,
    export,
    verify,
    maintain,
    status,
    datasets,
    batches,
    batch,
    quarantine,
    tables,
):
    app.command()(command)
app.add_typer(preview_app, name="preview")
app.add_typer(delete_app, name="delete")


def main() -> None:
    """Run the program; every error that is meant for people becomes one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        # What the terminal cannot show is escaped, not an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for chatty in ("alembic", "httpx", "py4j", "pyspark"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        app()
    except TesseraError as refused:
        typer.echo(f"error: {refused}", err=True)
        sys.exit(refused.exit_code)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
