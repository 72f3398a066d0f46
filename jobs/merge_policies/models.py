"""What a merge policy is, how policies are asked for, and the union of the fields that they merge.

`MergePolicy` and `UnionSchema` live in the catalog, which checks definition files by them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jobs.catalog.policies import (
    MAX_POLICIES as MAX_POLICIES,
    PROFILE_CLASS as PROFILE_CLASS,
    ClassName,
    GraphType as GraphType,
    MergePolicy as MergePolicy,
    MergeType as MergeType,
    PolicyBody as PolicyBody,
    PolicyId,
    SavedPolicy as SavedPolicy,
)
from jobs.catalog.union_schema import (
    IDENTITY_MAP as IDENTITY_MAP,
    UnionLeaf as UnionLeaf,
    UnionSchema as UnionSchema,
)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class PolicyQuery(_Document):
    """Which policies are asked for, in the names of the query."""

    default: bool | None = None
    is_active_on_edge: bool | None = Field(default=None, alias="isActiveOnEdge")
    schema_name: ClassName | None = Field(default=None, alias="schema.name")
    graph_type: GraphType | None = Field(default=None, alias="identityGraph.type")
    merge_type: MergeType | None = Field(default=None, alias="attributeMerge.type")
    version: int | None = Field(default=None, ge=1, description="As they were in this version; those that had it")
    # A plus that was not quoted arrives as a space.
    order_by: Literal["name", "+name", " name", "-name"] | None = Field(default=None, alias="orderBy")
    start: int = Field(default=0, ge=0, description="How many to pass over")
    limit: int = Field(default=20, ge=1, le=100)


class PolicyPage(_Document):
    """One page of a list of policies."""

    page: Mapping[str, int] = Field(alias="_page")
    children: Sequence[MergePolicy]
    links: Mapping[str, Mapping[str, str]] = Field(alias="_links")


class PolicyRef(_Document):
    """One policy by its id."""

    id: str


class BulkGet(_Document):
    """Several policies by their ids."""

    ids: tuple[PolicyRef, ...] = Field(min_length=1, max_length=100)


class BulkPolicies(_Document):
    """The policies that exist of those asked for, by id."""

    results: Mapping[PolicyId, MergePolicy]


class PolicyPatch(_Document):
    """One change of one value."""

    op: Literal["add", "replace"]
    path: Literal[
        "/name",
        "/identityGraph.type",
        "/attributeMerge.type",
        "/schema.name",
        "/version",
        "/default",
        "/isActiveOnEdge",
    ]
    value: Any  # text, number or boolean: checked by the policy's own model
