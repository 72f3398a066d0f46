"""`tessera tables`."""

from jobs.cli import options, output
from jobs.lake import reader
from jobs.lake.store import Store


def tables(sandbox: options.Sandbox = None, as_json: options.AsJson = False) -> None:
    """List the Delta tables that analysts read: what they hold, how many rows, who wrote them, where they are."""
    settings = options.read_settings(sandbox)
    found = reader.tables(Store(settings.store_root, settings.store.sandbox))
    rows = [(t.name, t.rows, t.version, f"{t.updated:%Y-%m-%d %H:%M:%S}", t.run, t.path, t.description) for t in found]
    header = ("TABLE", "ROWS", "VERSION", "UPDATED (UTC)", "RUN", "PATH", "DESCRIPTION")
    text = output.aligned(header, rows) if rows else [f"no table in sandbox {settings.store.sandbox!r} yet"]
    output.answer([table.model_dump(mode="json") for table in found], text, as_json)
