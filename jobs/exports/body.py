"""An export job in the words of the guide: the body of a request."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from jobs.catalog.definitions import DatasetId
from jobs.catalog.explaining import explained
from jobs.catalog.policies import PROFILE_CLASS, PolicyId
from jobs.errors import InvalidRequest
from jobs.exports.models import MOST_CHARACTERS, ExportParams


class _Wire(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True
    )


def _no_audiences(given: tuple[Any, ...]) -> tuple[Any, ...]:
    if given:
        raise ValueError("there are no audiences yet to choose profiles by; leave it out to export all profiles")
    return given


# Dotted paths, joined by commas.
_Paths = Annotated[str, StringConstraints(max_length=MOST_CHARACTERS)]


class PolicyVersion(_Wire):
    """A merge policy, as it is or was."""

    id: PolicyId
    version: int | None = Field(default=None, ge=1)


class ProfileFilter(_Wire):
    """Which profiles."""

    segments: Annotated[tuple[dict[str, Any], ...], AfterValidator(_no_audiences)] = ()
    from_ingest_timestamp: AwareDatetime | None = None
    empty_profiles: bool = False


class EventFilter(_Wire):
    """Which events, by when they were ingested."""

    from_ingest_timestamp: AwareDatetime | None = None
    to_ingest_timestamp: AwareDatetime | None = None


class EventList(_Wire):
    """What of events."""

    fields: _Paths = ""
    filter: EventFilter = EventFilter()


class AdditionalFields(_Wire):
    """What beside attributes."""

    event_list: EventList | None = None


class Destination(_Wire):
    """Where to. `create` is ours: the dataset is made when there is none."""

    dataset_id: DatasetId = Field(validation_alias=AliasChoices("datasetId", "dataSetId", "dataset_id"))
    # One batch for each audience: without audiences there is one.
    segment_per_batch: Literal[False] = False
    create: bool = False


class SchemaName(_Wire):
    """Of what class the rows are."""

    name: Literal["_xdm.context.profile"]


class Evaluation(_Wire):
    """Whether audiences are evaluated first; there are none yet."""

    segmentation: Literal[False] = False


class ExportBody(_Wire):
    """The body of a request for an export job."""

    schema_: SchemaName = Field(alias="schema")
    destination: Destination
    fields: _Paths = ""
    merge_policy: PolicyVersion | None = None
    filter: ProfileFilter = ProfileFilter()
    additional_fields: AdditionalFields | None = None
    evaluation_info: Evaluation = Evaluation()


def read_body(document: Any) -> ExportParams:  # parsed JSON
    """Read the body of a request.

    Raises:
        InvalidRequest: a key is unknown or missing, or a value breaks its rule; the message names it.
    """
    try:
        body = ExportBody.model_validate(document)
    except ValidationError as refused:
        raise InvalidRequest(explained(refused, ExportBody)) from None
    try:
        return _params(body)
    except ValidationError as refused:
        raise InvalidRequest(explained(refused, ExportParams)) from None


def body_of(params: ExportParams) -> Mapping[str, Any]:
    """Return a request as the body that asks for the same; what is left to its default is left out."""
    policy = {"id": params.merge_policy, "version": params.merge_policy_version}
    window = {"fromIngestTimestamp": params.events_after, "toIngestTimestamp": params.events_until}
    listed = {"fields": ",".join(params.event_fields), "filter": window}
    document = {
        "schema": {"name": PROFILE_CLASS},
        "destination": {"datasetId": params.dataset, "create": params.create},
        "fields": ",".join(params.fields),
        "mergePolicy": policy if params.merge_policy else None,
        "filter": {"fromIngestTimestamp": params.updated_after, "emptyProfiles": params.empty_profiles},
        "additionalFields": {"eventList": listed} if params.events else None,
    }
    return ExportBody.model_validate(document).model_dump(mode="json", exclude_defaults=True)


def _params(body: ExportBody) -> ExportParams:
    events = body.additional_fields.event_list if body.additional_fields else None
    window = events.filter if events else EventFilter()
    policy = body.merge_policy
    return ExportParams(
        dataset=body.destination.dataset_id,
        create=body.destination.create,
        fields=_paths(body.fields),
        merge_policy=policy.id if policy else None,
        merge_policy_version=policy.version if policy else None,
        updated_after=body.filter.from_ingest_timestamp,
        empty_profiles=body.filter.empty_profiles,
        events=events is not None,
        event_fields=_paths(events.fields) if events else (),
        events_after=window.from_ingest_timestamp,
        events_until=window.to_ingest_timestamp,
    )


def _paths(listed: str) -> tuple[str, ...]:
    return tuple(path.strip() for path in listed.split(",")) if listed.strip() else ()
