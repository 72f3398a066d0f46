"""`tessera datasets`."""

from collections.abc import Iterator
from typing import Annotated

import typer

from jobs.catalog.definitions import DatasetField
from jobs.cli import options, output
from jobs.ingest.service import overview
from jobs.lake.store import Store


def datasets(
    dataset: Annotated[str | None, typer.Argument(help="Dataset to describe; default: list all.")] = None,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """List the datasets, or describe one: its definition, generation, when it was enabled, its rows."""
    settings = options.read_settings(sandbox)
    store = Store(settings.store_root, settings.store.sandbox)
    with options.open_catalog(settings) as catalog:
        if dataset is not None:
            one = overview.dataset(catalog, store, options.dataset_id(dataset))
            output.answer(one, _description(one), as_json)
            return
        found = overview.datasets(catalog, store)
    output.answer(found, _list(found, settings.store.sandbox), as_json)


def _list(found: list[overview.DatasetFacts], sandbox: str) -> list[str]:
    if not found:
        return [f"no dataset in sandbox {sandbox!r} yet; `tessera apply FILE` declares some"]
    header = ("DATASET", "KIND", "PROFILE", "UPSERT", "FIELDS", "GENERATION", "LAKE ROWS", "QUARANTINED", "NAME")
    return output.aligned(header, map(_row, found))


def _row(facts: overview.DatasetFacts) -> tuple[object, ...]:
    known = facts.definition
    return (
        known.id,
        known.kind,
        "enabled" if known.enabled else "disabled",
        "yes" if known.upsert else "no",
        len(known.fields),
        facts.generation,
        facts.rows_in_lake,
        facts.rows_in_quarantine,
        known.name,
    )


def _description(facts: overview.DatasetFacts) -> Iterator[str]:
    known = facts.definition
    yield f"{known.id}: {output.shown(known.name or known.id)} ({known.kind}{', upsert' if known.upsert else ''})"
    if known.description:
        yield output.shown(known.description)
    yield f"rows: {output.shown(facts.rows_in_lake)} in the lake, {output.shown(facts.rows_in_quarantine)} quarantined"
    yield f"definition: version {facts.version}, changed {output.shown(facts.updated_at)} UTC"
    state = "enabled" if known.enabled else "disabled"
    yield f"Profile: {state}, tables of generation {facts.generation}"
    for interval in facts.enabled_intervals:
        until = "now" if interval.enabled_until is None else f"{output.shown(interval.enabled_until)} UTC"
        yield f"  enabled from {output.shown(interval.enabled_from)} UTC until {until}"
    yield ""
    yield from output.aligned(("FIELD", "TYPE", "FROM", "IDENTITY", "RULES", "COMMENT"), map(_field, known.fields))


def _field(field: DatasetField) -> tuple[object, ...]:
    identity = field.identity
    role = f"{identity.namespace}{', primary' if identity.primary else ''}" if identity else ""
    return field.path, field.type, field.source or "", role, _rules(field), output.shown(field.comment, most=60)


def _rules(field: DatasetField) -> str:
    rules = ["required"] if field.required else []
    rules += [f"one of {len(field.enum)}"] if field.enum else []
    rules += [f"pattern {output.shown(field.pattern, most=30)}"] if field.pattern else []
    rules += [f"format {field.format}"] if field.format else []
    return ", ".join([*rules, "append"] if field.append else rules)
