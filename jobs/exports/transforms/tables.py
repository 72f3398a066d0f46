"""The two tables of an export: `exports/<dataset>`, and flat beside it `exports/<dataset>_identities`."""

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame

from jobs.catalog.definitions import Dataset
from jobs.catalog.union_schema import UnionLeaf
from jobs.exports.models import EVENTS, EXPORTS, IDENTITIES_SUFFIX, ExportPlan
from jobs.exports.transforms.rows import ID, IS_PRIMARY, NAMESPACE
from jobs.lake.store import Store
from jobs.lake.tables import Column, Table
from jobs.merge_policies.models import IDENTITY_MAP
from jobs.profiles.models import PROFILE_ID

_ID = "Id that the platform gives the profile; it is the same in every export of the policy while the person's is"
_PRIMARY = (
    "Whether a dataset keeps records or events under this identity, as their primary one; false: their rows only name "
    "it beside that. A profile may have several that are primary"
)
# Said here, so that no default of a cluster makes a table that some reader cannot open.
_PLAIN = {
    "delta.columnMapping.mode": "none",
    "delta.checkpointPolicy": "classic",
    "delta.enableTypeWidening": "false",
    # A job that fails puts a version back that may be as old as the last export; with values the log has none.
    "delta.enableExpiredLogCleanup": "false",
}


def profiles_comment(dataset: Dataset) -> str:
    """Say what a row of an export is."""
    about = "".join(f"{told.rstrip('.')}. " for told in (dataset.name, dataset.description) if told)
    return f"{about}Profiles as of one cut of the Profile store. Grain: one row per profile."


def comments_of(plan: ExportPlan) -> dict[str, str]:
    """Return the comments of an export's columns and of the fields inside them, by path."""
    events = plan.events.leaves if plan.events else ()
    return {
        PROFILE_ID: _ID,
        IDENTITY_MAP: "Identities of the profile by namespace, each with its id and whether it is primary: whether "
        "a dataset keeps records or events under it",
        EVENTS: "Events of the profile in the order of their timestamp; empty when it has none in the span asked for",
        **_comments(plan.leaves),
        **{f"{EVENTS}.{path}": comment for path, comment in _comments(events).items()},
    }


def profiles_table(plan: ExportPlan, frame: DataFrame) -> Table:
    """Define the table that a job's rows make."""
    return _table(plan.store, plan.dataset.id, profiles_comment(plan.dataset), frame, comments_of(plan))


def identities_table(plan: ExportPlan, frame: DataFrame) -> Table:
    """Define the flat table of the identities."""
    comment = f"Identities of the profiles in {EXPORTS}/{plan.dataset.id}. Grain: one row per profile and identity."
    return _table(plan.store, f"{plan.dataset.id}{IDENTITIES_SUFFIX}", comment, frame, IDENTITY_COMMENTS)


IDENTITY_COMMENTS = {
    PROFILE_ID: _ID,
    NAMESPACE: "Code of the namespace",
    ID: "Value of the identity in its namespace",
    IS_PRIMARY: _PRIMARY,
}


def _comments(leaves: Sequence[UnionLeaf]) -> dict[str, str]:
    """Return the comments of leaves and of what holds them, by path; where none is declared, who told the values."""
    told: dict[str, set[str]] = {}
    for leaf in leaves:
        parents = leaf.name.split(".")[:-1]
        for end in range(1, len(parents) + 1):
            told.setdefault(".".join(parents[:end]), set()).update(leaf.datasets)
    return {
        **{path: f"What {', '.join(sorted(datasets))} told below {path}" for path, datasets in told.items()},
        **{leaf.name: leaf.comment or f"As {', '.join(leaf.datasets)} told it" for leaf in leaves},
    }


def _table(store: Store, name: str, comment: str, frame: DataFrame, comments: Mapping[str, str]) -> Table:
    columns = tuple(
        Column(name=field.name, type=field.dataType.simpleString(), comment=comments.get(field.name, ""))
        for field in frame.schema.fields
    )
    return Table(
        path=store.path(EXPORTS, name),
        name=f"{EXPORTS}/{name}",
        comment=comment,
        columns=columns,
        partitioned_by=(),
        # Every column is of people: the log keeps no value of any.
        personal=frozenset(column.name for column in columns),
        properties=_PLAIN,
    )
