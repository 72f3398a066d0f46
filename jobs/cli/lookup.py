"""`tessera lookup`."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from jobs.cli import options, output
from jobs.entities.models import IDENTITIES, IDENTITY_MAP, EntityQuery
from jobs.entities.service import Found, lookup as look_up
from jobs.profiles import models as view

_MOST = 60  # characters of a value that are shown


def lookup(
    namespace: Annotated[str, typer.Argument(help="Code of the namespace, in any case.")],
    value: Annotated[str, typer.Argument(help="Value of the identity, byte for byte.")],
    policy: Annotated[str | None, typer.Option("--policy", help="Merge policy; default: the default one.")] = None,
    fields: Annotated[
        str | None, typer.Option("--fields", help="Paths to show, with all below them: person.name,loyalty.tier.")
    ] = None,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say of each value which dataset and batch gave it, and which values lost.")
    ] = False,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Look one profile up by any of its identities. No Spark: it reads a few kilobytes of the view."""
    settings = options.read_settings(sandbox)
    query = options.checked(
        EntityQuery,
        entity_id=value,
        entity_id_ns=namespace,
        merge_policy_id=policy,
        fields=tuple(fields.split(",")) if fields is not None else (),
    )
    with options.open_catalog(settings) as catalog:
        found = look_up(catalog, settings, query, with_origins=origin)
    output.answer(found.document, _lines(found), as_json)


def _lines(found: Found) -> Iterator[str]:
    entity, row = found.entity, found.row
    yield f"profile {entity.entity_id} under policy {entity.merge_policy.id}, as of {output.shown(found.cut.at)} UTC"
    yield f"identities: {', '.join(map(output.shown, row[view.IDENTITIES]))}"
    yield f"datasets: {', '.join(entity.sources)}; last ingested {output.shown(entity.last_modified_at)} UTC"
    if row[view.EVENTS]:
        yield f"events: {output.shown(row[view.EVENTS])}, the last at {output.shown(row[view.LAST_EVENT])} UTC"
    yield ""
    if entity.origins is None:
        yield from output.aligned(("FIELD", "VALUE"), _leaves(entity.entity))
        return
    header = ("FIELD", "VALUE", "", "DATASET", "BATCH", "INGESTED (UTC)", "OF")
    rows = [
        (
            name if one.wins else "",
            _shown(one.value),
            "" if one.wins else "lost",
            one.dataset,
            one.batch,
            one.at,
            output.shown(one.identity),
        )
        for name, origins in sorted(entity.origins.items())
        for one in origins
    ]
    yield from output.aligned(header, rows)


def _leaves(entity: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in sorted(entity.items()):
        if not above and name in (IDENTITIES, IDENTITY_MAP):
            continue
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", _shown(value)


def _shown(value: Any) -> str:
    return output.shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), most=_MOST)
