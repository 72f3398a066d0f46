"""What is asked of a profile, and what is answered: the shapes of the profile guide's access API."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel, StringConstraints
from pydantic.alias_generators import to_camel

from jobs.catalog.dataset_fields import Path

MAX_IDENTITIES = 50  # of one profile; the guide answers no lookup of a larger graph
MAX_VALUE = 1024
IDENTITIES, IDENTITY_MAP = "identities", "identityMap"


class _Wire(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True
    )


class EntityQuery(_Wire):
    """One profile, by an identity or, without a namespace, by its id."""

    entity_id: Annotated[str, StringConstraints(min_length=1, max_length=MAX_VALUE)] = Field(
        description="Value of an identity, compared byte for byte; or the id of a profile"
    )
    entity_id_ns: str | None = Field(
        default=None, alias="entityIdNS", description="Code of its namespace, compared without case"
    )
    merge_policy_id: str | None = Field(default=None, description="Default: the sandbox's default policy")
    fields: tuple[Path, ...] = Field(
        default=(), description="Paths, each with all below it; default: everything. identityMap and identities are two"
    )


class PolicyRef(_Wire):
    """The policy that a profile was merged under."""

    id: str


class Origin(_Wire):
    """A value that a fragment gives a leaf, and where it came from."""

    value: Any  # a JSON value
    wins: bool
    dataset: str
    identity: str = Field(description="Primary identity of the fragment")
    batch: str | None = Field(description="Batch that gave the value; null when the catalog does not know it any more")
    at: AwareDatetime | None = Field(description="Instant of that batch")
    fragment_at: AwareDatetime = Field(description="Instant of the fragment's last row, which decides by time")


class Entity(_Wire):
    """One profile."""

    entity_id: str
    merge_policy: PolicyRef
    sources: Sequence[str] = Field(description="Datasets that contribute to it")
    entity: Mapping[str, Any] = Field(description="Its attributes, nested, with identityMap and identities")
    last_modified_at: AwareDatetime = Field(description="Latest instant of ingestion of any of its data")
    origins: Mapping[str, Sequence[Origin]] | None = Field(
        default=None,
        description="By leaf the values that its fragments give, the winning one first",
        exclude_if=lambda it: it is None,
    )


class Entities(RootModel[Mapping[str, Entity]]):
    """Profiles by their ids."""
