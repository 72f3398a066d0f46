"""Asking for an export job: everything that can be said before it runs is said here."""

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import Dataset, DatasetKind, Definitions
from jobs.catalog.exports import ExportJob
from jobs.catalog.forms import write_forms
from jobs.errors import InvalidRequest, NotFound, known_here, shortened
from jobs.exports.models import EXPORTS, IDENTITIES_SUFFIX, ExportParams
from jobs.exports.service.choosing import attributes, event_leaves, policy_of, view_of
from jobs.settings import Settings


def accept(catalog: Catalog, settings: Settings, params: ExportParams, run: str) -> ExportJob:
    """Write the record of an export job that is asked for; nothing runs yet. Makes the dataset when that is asked.

    Raises:
        InvalidRequest: the dataset is not of kind profiles, or a field, the sandbox or the policy is not known.
        NotFound: there is no such dataset, policy or version of it.
        Conflict: there are no profiles of the policy yet.
    """
    if params.sandbox not in (None, catalog.sandbox):
        raise InvalidRequest(f"sandbox {params.sandbox!r}: this catalog was opened for {catalog.sandbox!r}")
    new = _destination(catalog, params)
    attributes(catalog, settings, params)
    event_leaves(catalog, params)
    policy = policy_of(catalog, params)
    view_of(catalog, settings, policy, catalog.cut())
    if new is not None:
        catalog.apply(Definitions(datasets=(new,)), run=run)
        write_forms(settings.home, catalog)
    return catalog.create_export(params.dataset, params.document(), run)


def _destination(catalog: Catalog, params: ExportParams) -> Dataset | None:
    """Check the dataset that is to be written; returns the one to make, None when it is there."""
    if params.dataset.endswith(IDENTITIES_SUFFIX):
        raise InvalidRequest(
            f"dataset {params.dataset!r}: {EXPORTS}/{params.dataset} is where the identities of an export to "
            f"{params.dataset.removesuffix(IDENTITIES_SUFFIX)!r} go; choose an id that does not end with "
            f"{IDENTITIES_SUFFIX!r}"
        )
    kinds = {record.id: record.definition.kind for record in catalog.datasets()}
    targets = [name for name, kind in kinds.items() if kind is DatasetKind.PROFILES]
    if params.dataset not in kinds:
        if params.create:
            return Dataset(id=params.dataset, name=params.name or params.dataset, kind=DatasetKind.PROFILES)
        raise NotFound(
            f"no dataset {shortened(params.dataset)} in sandbox {catalog.sandbox!r} to export to; "
            f"{known_here(params.dataset, targets)}. Declare it with `kind: profiles`, or set `create`, and it is made"
        )
    if kinds[params.dataset] is not DatasetKind.PROFILES:
        raise InvalidRequest(
            f"dataset {params.dataset!r} is of kind {kinds[params.dataset]}; an export writes one of kind profiles, "
            f"which has the union schema; {known_here(params.dataset, targets)}"
        )
    return None
