"""Applying definitions: plan all of it, refuse all of it when one part may not be, else write it. One transaction."""

from collections.abc import Mapping, Sequence
from zlib import crc32

from sqlalchemy import func, select, text, update

from jobs.catalog import changes, policy_records
from jobs.catalog.definitions import Dataset, DatasetField, Definitions, Namespace
from jobs.catalog.records import Action, Change
from jobs.catalog.schema import DatasetRow, EnablementRow, NamespaceRow
from jobs.catalog.scope import Scope, changed_rows
from jobs.catalog.union_schema import conflicts
from jobs.errors import Conflict, InvalidRequest, known_here

FIRST_GENERATION = 1
# With the sandbox's number: no two processes apply to one sandbox of a PostgreSQL catalog at once.
_ADVISORY_LOCK = 0x54455353
_MOST_REASONS = 10
_DEFINED = "DEFINED"


def apply(scope: Scope, definitions: Definitions, run: str) -> list[Change]:
    """Create or change what the definitions declare; nothing is written when a part is refused.

    Raises:
        InvalidRequest: a namespace, or a dataset that a merge policy puts in order, is not known.
        Conflict: a change would break what is there; the message names every one.
    """
    _lock(scope)
    namespaces = {
        row.code_key: row
        for row in scope.session.scalars(select(NamespaceRow).where(NamespaceRow.sandbox == scope.sandbox))
    }
    codes = {n.code.lower(): n.code for n in definitions.namespaces} | {k: row.code for k, row in namespaces.items()}
    given = [_canonical(dataset, codes) for dataset in definitions.datasets]
    wanted = select(DatasetRow).where(DatasetRow.sandbox == scope.sandbox, DatasetRow.id.in_([d.id for d in given]))
    datasets = {row.id: row for row in scope.session.scalars(wanted.order_by(DatasetRow.id).with_for_update())}

    refused: list[str] = []
    planned = [_plan_namespace(n, namespaces.get(n.code.lower()), refused) for n in definitions.namespaces]
    planned += [_plan_dataset(d, datasets.get(d.id), refused) for d in given]
    refused += _conflicts_in_profiles(scope, given)
    if refused:
        more = f"; and {len(refused) - _MOST_REASONS} more" if len(refused) > _MOST_REASONS else ""
        raise Conflict(f"nothing was applied: {'; '.join(refused[:_MOST_REASONS])}{more}")
    for namespace, change in zip(definitions.namespaces, planned, strict=False):
        _write_namespace(scope, namespace, namespaces.get(namespace.code.lower()), change, run)
    for dataset, change in zip(given, planned[len(definitions.namespaces) :], strict=True):
        _write_dataset(scope, dataset, datasets.get(dataset.id), change, run)
    scope.session.flush()
    # Before the policies that are declared, so that an entry of its name changes it.
    if given and not any(policy.default for policy in definitions.merge_policies):
        policy_records.ensure_default(scope, run)
    planned += policy_records.apply(scope, definitions.merge_policies, run)
    if given:
        policy_records.ensure_default(scope, run)
    return planned


def _conflicts_in_profiles(scope: Scope, given: Sequence[Dataset]) -> list[str]:
    """Say why the datasets that feed or fed the Profile store would have no union schema with these."""
    rows = scope.session.execute(
        select(DatasetRow.id, DatasetRow.definition).where(
            DatasetRow.sandbox == scope.sandbox,
            DatasetRow.id.in_(select(EnablementRow.dataset_id).where(EnablementRow.sandbox == scope.sandbox)),
        )
    )
    feeding = {dataset_id: Dataset.model_validate(definition) for dataset_id, definition in rows}
    feeding |= {dataset.id: dataset for dataset in given if dataset.enabled or dataset.id in feeding}
    return conflicts(list(feeding.values()), [dataset.id for dataset in given])


def _lock(scope: Scope) -> None:
    if scope.session.get_bind().dialect.name == "postgresql":
        scope.session.execute(
            text("SELECT pg_advisory_xact_lock(:program, :sandbox)"),
            {"program": _ADVISORY_LOCK, "sandbox": crc32(scope.sandbox.encode()) - 2**31},
        )


def _canonical(dataset: Dataset, codes: Mapping[str, str]) -> Dataset:
    """Write the namespaces of a dataset's identities as they are defined.

    Raises:
        InvalidRequest: one is not defined.
    """
    fields = tuple(_canonical_field(dataset, field, codes) for field in dataset.fields)
    return dataset.model_copy(update={"fields": fields})


def _canonical_field(dataset: Dataset, field: DatasetField, codes: Mapping[str, str]) -> DatasetField:
    if field.identity is None:
        return field
    code = codes.get(field.identity.namespace.lower())
    if code is None:
        raise InvalidRequest(
            f"dataset {dataset.id!r}, field {field.path!r}: no namespace {field.identity.namespace!r}; "
            f"declare it under namespaces; {known_here(field.identity.namespace, codes.values())}"
        )
    return field.model_copy(update={"identity": field.identity.model_copy(update={"namespace": code})})


def _plan_namespace(namespace: Namespace, row: NamespaceRow | None, refused: list[str]) -> Change:
    if row is None:
        return Change(kind="namespace", id=namespace.code, action=Action.CREATED, details=(namespace.type,))
    if row.code != namespace.code:
        refused.append(
            f"namespace {namespace.code!r} is defined as {row.code!r}, and a code never changes: write it so"
        )
    if row.type != namespace.type:
        refused.append(f"namespace {row.code!r} of type {row.type} cannot become {namespace.type}: declare another")
    if row.name == namespace.name:
        return Change(kind="namespace", id=row.code, action=Action.UNCHANGED)
    return Change(kind="namespace", id=row.code, action=Action.CHANGED, details=("name changed",))


def _plan_dataset(dataset: Dataset, row: DatasetRow | None, refused: list[str]) -> Change:
    if row is None:
        enabled = "enabled for Profile" if dataset.enabled else "not enabled for Profile"
        told = (f"{dataset.kind}, {len(dataset.fields)} fields", enabled)
        return Change(kind="dataset", id=dataset.id, action=Action.CREATED, details=told)
    found = changes.compare(Dataset.model_validate(row.definition), dataset)
    refused += [f"dataset {dataset.id!r}: {reason}" for reason in found.refused]
    action = Action.CHANGED if found.allowed else Action.UNCHANGED
    return Change(kind="dataset", id=dataset.id, action=action, details=tuple(found.allowed))


def _write_namespace(scope: Scope, namespace: Namespace, row: NamespaceRow | None, change: Change, run: str) -> None:
    if change.action is Action.UNCHANGED:
        return
    if row is None:
        row = NamespaceRow(
            sandbox=scope.sandbox,
            code_key=namespace.code.lower(),
            code=namespace.code,
            type=namespace.type,
            created_at=scope.now,
        )
        scope.session.add(row)
    before = None if change.action is Action.CREATED else _DEFINED
    row.name, row.updated_at = namespace.name, scope.now
    scope.record("namespace", namespace.code, before, _DEFINED, run, "; ".join(change.details))


def _write_dataset(scope: Scope, dataset: Dataset, row: DatasetRow | None, change: Change, run: str) -> None:
    if change.action is Action.UNCHANGED:
        return
    was_enabled = row is not None and row.enabled
    before = None if row is None else _state(row.enabled)
    if row is None:
        _insert(scope, dataset)
    else:
        _replace(scope, changes.merged(Dataset.model_validate(row.definition), dataset), row.version)
    if dataset.enabled and not was_enabled:
        _open_interval(scope, dataset.id)
    elif was_enabled and not dataset.enabled:
        _close_interval(scope, dataset.id)
    scope.record("dataset", dataset.id, before, _state(dataset.enabled), run, "; ".join(change.details))


def _insert(scope: Scope, dataset: Dataset) -> None:
    row = DatasetRow(
        sandbox=scope.sandbox,
        id=dataset.id,
        kind=dataset.kind,
        enabled=dataset.enabled,
        definition=dataset.model_dump(mode="json", by_alias=True),
        version=1,
        generation=FIRST_GENERATION,
        last_seq=0,
        created_at=scope.now,
        updated_at=scope.now,
    )
    scope.session.add(row)
    scope.session.flush()


def _replace(scope: Scope, dataset: Dataset, version: int) -> None:
    replaced = scope.session.execute(
        update(DatasetRow)
        .where(DatasetRow.sandbox == scope.sandbox, DatasetRow.id == dataset.id, DatasetRow.version == version)
        .values(
            definition=dataset.model_dump(mode="json", by_alias=True),
            enabled=dataset.enabled,
            version=version + 1,
            updated_at=scope.now,
        )
        .execution_options(synchronize_session=False)
    )
    if changed_rows(replaced) != 1:
        raise Conflict(f"dataset {dataset.id!r} was changed by another process; look again and repeat")


def _open_interval(scope: Scope, dataset_id: str) -> None:
    latest = scope.session.scalar(
        select(func.max(EnablementRow.enabled_until)).where(
            EnablementRow.sandbox == scope.sandbox, EnablementRow.dataset_id == dataset_id
        )
    )
    # A clock that was set back gives no overlapping spans.
    start = scope.now if latest is None else max(scope.now, latest)
    scope.session.add(EnablementRow(sandbox=scope.sandbox, dataset_id=dataset_id, enabled_from=start))


def _close_interval(scope: Scope, dataset_id: str) -> None:
    open_row = scope.session.scalars(
        select(EnablementRow).where(
            EnablementRow.sandbox == scope.sandbox,
            EnablementRow.dataset_id == dataset_id,
            EnablementRow.enabled_until.is_(None),
        )
    ).one()
    open_row.enabled_until = max(scope.now, open_row.enabled_from)


def _state(enabled: bool) -> str:
    return "ENABLED" if enabled else "DISABLED"
