"""What a verification is asked, what it is told to do, and what it found."""

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobs.catalog.definitions import Namespace
from jobs.catalog.policies import MergePolicy
from jobs.catalog.refreshes import CutTable
from jobs.catalog.union_schema import UnionSchema
from jobs.identities.models import LinkSource
from jobs.lake.store import Store
from jobs.profiles.models import FragmentSource
from jobs.settings import Sandbox


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VerifiedSource(FragmentSource):
    """Fragments of a dataset as they were when the cut was made."""

    version: int | None = Field(default=None, description="Version of the Delta table; null: the newest")


class VerifiedView(_Model):
    """A policy and its view."""

    policy: MergePolicy
    table: CutTable


class VerifyPlan(_Model):
    """Everything that a verification needs to know."""

    store_root: str
    sandbox: Sandbox
    attempt: str = Field(description="Names the place of what is written down on the way")
    cut: int = Field(description="Number of the cut that is verified")
    at: AwareDatetime
    links: tuple[LinkSource, ...] = Field(description="Every batch in the graph of the cut")
    fragments: tuple[VerifiedSource, ...]
    union: UnionSchema
    namespaces: tuple[Namespace, ...]
    identities: CutTable
    views: tuple[VerifiedView, ...]
    skipped: dict[str, str] = Field(default={}, description="Views that cannot be compared, and why, by policy")
    slices: int = Field(default=1, ge=1, description="Into how many slices the identities fall; 1: all are verified")
    slice: int = Field(default=0, ge=0, description="Which slice is verified")
    driver_links: int = Field(ge=1, description="Links that the driver joins by itself")
    shown: int = Field(default=20, ge=0, description="Differences to show")

    @property
    def store(self) -> Store:
        """The sandbox of the store that the tables are in."""
        return Store(self.store_root, self.sandbox)


class Drift(_Model):
    """One cell that is not what fragments and links say, or one row that only one side has."""

    table: str
    key: str = Field(description="Identity; of a view, the first identity of the profile")
    column: str = Field(description="(missing): the row is not stored; (extra): it should not be")
    stored: str | None
    made: str | None


class VerifyResult(_Model):
    """What a verification found."""

    sandbox: str
    cut: int
    at: AwareDatetime = Field(description="Instant of the cut")
    drift: int = Field(description="Differences; must be 0")
    differences: tuple[Drift, ...] = Field(description="The first of them")
    slices: int
    identities: int = Field(description="Identities that were compared")
    profiles: dict[str, int] = Field(description="Profiles that were compared, by policy")
    fragments: dict[str, int] = Field(description="Fragments that they are made of, by dataset")
    skipped: dict[str, str] = Field(default={}, description="Views that were not compared, and why, by policy")
    seconds: float

    @property
    def summary(self) -> str:
        """The verification in one line; no value of a profile is in it."""
        share = "" if self.slices == 1 else f" (1 of {self.slices} slices)"
        views = ", ".join(f"{count} profiles of {policy}" for policy, count in self.profiles.items()) or "no view"
        skipped = "".join(f"; {policy} skipped: {why}" for policy, why in self.skipped.items())
        fragments = sum(self.fragments.values())
        return (
            f"drift {self.drift}: {self.identities} identities and {views} compared with {fragments} fragments and "
            f"their links, as of cut {self.cut}{share}{skipped}; in {self.seconds:.0f} s"
        )
