"""What a merge policy is: whose fragments make a profile, and whose value wins where they differ.

The names on the wire are those of the profile guide, `attributeMerge` and the like; definition files use them, too.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from jobs.catalog.dataset_fields import DatasetId, Definition

PROFILE_CLASS = "_xdm.context.profile"
MAX_POLICIES = 5  # in a sandbox: each costs a view, and a pass of every evaluation and export
MAX_ORDERED = 50  # datasets that a policy may put in order
DEFAULT_ID = "default"

PolicyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)]
ClassName = Annotated[str, StringConstraints(pattern=r"^_xdm\.context\.[a-z]+$")]


class GraphType(StrEnum):
    """Whose fragments make one profile."""

    NONE = "none"  # those of one primary identity
    PRIVATE = "pdg"  # those of every identity that the private graph joins


class MergeType(StrEnum):
    """Whose value of an attribute wins."""

    TIMESTAMP_ORDERED = "timestampOrdered"  # the fragment's that was ingested last
    DATASET_PRECEDENCE = "dataSetPrecedence"  # the dataset's that stands first in `order`; others take no part


class _Wire(Definition):
    model_config = ConfigDict(alias_generator=to_camel, serialize_by_alias=True)


class IdentityGraph(_Wire):
    """How identities are stitched."""

    type: GraphType = GraphType.PRIVATE


class AttributeMerge(_Wire):
    """How attributes are merged. An `order` is kept, unused, by a policy that goes by time."""

    type: MergeType = MergeType.TIMESTAMP_ORDERED
    order: tuple[DatasetId, ...] = Field(default=(), max_length=MAX_ORDERED)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.type is MergeType.DATASET_PRECEDENCE and not self.order:
            raise ValueError(
                f"type {self.type} needs `order`: the ids of record datasets, the most trusted first; "
                f"or use type {MergeType.TIMESTAMP_ORDERED}"
            )
        if twice := sorted({one for one in self.order if self.order.count(one) > 1}):
            raise ValueError(f"order names {twice[0]!r} twice; name each dataset once")
        return self

    @property
    def same_as(self) -> tuple[str, ...]:
        """What makes two merges the same."""
        return (self.type, *(self.order if self.type is MergeType.DATASET_PRECEDENCE else ()))


class SchemaRef(_Wire):
    """The class of the profiles that a policy is for."""

    name: ClassName = PROFILE_CLASS


class PolicyBody(_Wire):
    """What a caller says of a policy: the body of a POST or a PUT, and an entry of a definition file.

    `default` makes it the one that is used where none is named; the former default then is none any more.
    """

    name: Name
    schema_: SchemaRef = Field(default=SchemaRef(), alias="schema")
    identity_graph: IdentityGraph = IdentityGraph()
    attribute_merge: AttributeMerge = AttributeMerge()
    default: bool = False
    is_active_on_edge: bool = False

    def does_the_same_as(self, other: "PolicyBody") -> bool:
        """Tell whether two policies make the same profiles."""
        return (self.schema_, self.identity_graph, self.attribute_merge.same_as) == (
            other.schema_,
            other.identity_graph,
            other.attribute_merge.same_as,
        )


class SandboxRef(_Wire):
    """Where a policy is."""

    sandbox_name: str


class MergePolicy(PolicyBody):
    """A merge policy as it is recorded; frozen, as it was when it was read."""

    id: PolicyId
    sandbox: SandboxRef
    version: int = Field(ge=1, description="Grows by one with every change")
    update_epoch: int = Field(description="Instant of the last change, in seconds")

    @classmethod
    def of(cls, body: PolicyBody, policy_id: str, sandbox: str, version: int, at: datetime) -> Self:
        """Make the record of what a caller said."""
        said = body.model_dump(include=set(PolicyBody.model_fields))
        record = {"id": policy_id, "sandbox": {"sandboxName": sandbox}, "version": version}
        return cls.model_validate({**said, **record, "updateEpoch": int(at.timestamp())})

    @property
    def makes_profiles(self) -> bool:
        """Whether it is for profiles of people, and so has a view."""
        return self.schema_.name == PROFILE_CLASS

    @property
    def body(self) -> PolicyBody:
        """What a caller said of it."""
        return PolicyBody.model_validate(self.model_dump(include=set(PolicyBody.model_fields)))


class SavedPolicy(_Wire):
    """A policy that was written, and what is worth knowing about it."""

    policy: MergePolicy
    warnings: tuple[str, ...] = ()


# Private graph and last ingested wins: what a sandbox begins with.
SHIPPED = PolicyBody(name="Default", default=True)


def duplicates_of(body: PolicyBody, others: Sequence[MergePolicy]) -> list[str]:
    """Return the ids of the policies that make the same profiles."""
    return [other.id for other in others if body.does_the_same_as(other)]
