"""The rows of the reports.

Every number has one definition: the description of its field here. It is the comment of the column in `reports/*`, and
what the command line prints beside the number. "Profile" means everywhere: one under the default merge policy, in the
cut that the report was made from, whether it has attributes or events only.
"""

from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

# Days without a new event, and ages of events.
IDLE_DAYS = (7, 30, 60, 90, 120)
AGE_DAYS = (7, 14, 30, 60, 90, 120, 365)
# Key of an overlap row: of profiles none of whose fragments takes part, or that have no namespace.
NONE = "(none)"
ALL = "(all)"
# Of the guide's standard namespaces.
_NAMESPACE_IDS = {"ecid": "4", "email": "6", "phone": "7", "aaid": "10"}


class ReportRow(BaseModel):
    """A row of a report: of its table by the names of the fields, on the wire by their aliases."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)

    table: ClassVar[str]
    about: ClassVar[str]


class StatusRow(ReportRow):
    """The sample as a whole."""

    table = "status"
    about = "What each report was made from, and the totals. Grain: one row per report."

    total_rows: int = Field(description="Profiles: one person is one, with attributes or with events only")
    num_rows_to_read: int = Field(description="Profiles that the report was counted over")
    sampling_ratio: float = Field(description="num_rows_to_read / total_rows; 1.0 means that every number is exact")
    standard_error: float = Field(
        description="Of a share estimated from the sample, at most (a share of one half); 0 when exact"
    )
    total_fragment_count: int = Field(description="Fragments that take part in the profiles")
    doc_count: int = Field(description="Records and events in the Profile store that take part")
    total_events: int = Field(description="Events of all profiles")
    known_profiles: int = Field(
        description="Profiles with data and an identity of a namespace that is neither of type Cookie nor Device"
    )
    pseudonymous_profiles: int = Field(
        description="Profiles with data whose identities are all in namespaces of type Cookie or Device"
    )
    empty_profiles: int = Field(description="Profiles without a record or event that the merge policy lets take part")
    over_identities: int = Field(
        description="Profiles with more identities than graph.max_identities: left out of exports"
    )
    oversized_rows: int = Field(
        description="Rows of the Profile store's ACTIVE batches that were refused as too large (row_too_large)"
    )
    rows_without_identity: int = Field(
        description="Rows of the Profile store's ACTIVE batches that were refused for want of a primary identity "
        "(missing_identity)"
    )
    refused_links: int = Field(
        description="Rows of the Profile store's ACTIVE batches that were refused for an identity which cannot be "
        "linked (bad_identity, unknown_namespace)"
    )
    merge_strategy: str = Field(description="How the default merge policy merges attributes")
    policy: str = Field(description="Id of the default merge policy")
    cut: int | None = Field(description="Number of the cut that was counted; null before the first refresh")
    last_batch_id: str | None = Field(description="Last batch that became ACTIVE in the Profile store; null when none")
    last_successful_batch_timestamp: AwareDatetime | None = Field(description="Ingestion instant of that batch")
    status: str = Field(default="TASK_FINISHED", description="Status of the last sample")


class DatasetRow(ReportRow):
    """Distribution by dataset."""

    table = "dataset"
    about = (
        "Profiles by dataset; one with two datasets is counted in both rows. Grain: one row per report and dataset "
        "with profiles."
    )

    value: str = Field(description="Id of the dataset")
    name: str = Field(description="Name of the dataset")
    description: str = Field(default="", description="What the dataset is")
    created_user: str = Field(default="", description="Who declared the dataset first")
    sample_count: int = Field(description="Profiles of the sample that have a fragment of the dataset")
    sample_percentage: float = Field(description="sample_count / num_rows_to_read, as a fraction of 6 decimals")
    profiles: int = Field(alias="fullIDsCount", description="Profiles that have a fragment of the dataset")
    share: float = Field(alias="fullIDsPercentage", description="profiles / total_rows, as a fraction of 6 decimals")


class NamespaceRow(ReportRow):
    """Distribution by namespace."""

    table = "namespace"
    about = (
        "Profiles by namespace; one with two namespaces is counted in both rows, one with two identities of a "
        "namespace once. Grain: one row per report and namespace with profiles."
    )

    code: str = Field(description="Code of the namespace")
    value: str = Field(
        default="", description="Id of the namespace: the guide's number of a standard namespace, else its code"
    )
    name: str = Field(default="", description="Name of the namespace for people")
    sample_count: int = Field(description="Profiles of the sample that have an identity of the namespace")
    sample_percentage: float = Field(description="sample_count / num_rows_to_read, as a fraction of 6 decimals")
    profiles: int = Field(alias="fullIDsCount", description="Profiles that have an identity of the namespace")
    share: float = Field(alias="fullIDsPercentage", description="profiles / total_rows, as a fraction of 6 decimals")
    fragments: int = Field(
        alias="fullIDsFragmentCount", description="Fragments that carry at least one identity of the namespace"
    )


def namespace_id(code: str) -> str:
    """Return what the guide's reports call the id of a namespace: for its standard ones a number, else the code."""
    return _NAMESPACE_IDS.get(code.lower(), code)


_REMAIN = "Events that an expiry of {} days would leave: younger than that at the report's instant; 0 for records"


class DatasetStatsRow(ReportRow):
    """Statistics of a dataset."""

    table = "dataset_stats"
    about = "What each dataset has in the Profile store. Grain: one row per report and dataset with records or events."

    dataset_id: str = Field(description="Id of the dataset")
    dataset_type: str = Field(description="Profiles: a dataset of records; ExperienceEvents: one of events")
    days_7: int = Field(alias="7days", description=_REMAIN.format(7))
    days_14: int = Field(alias="14days", description=_REMAIN.format(14))
    days_30: int = Field(alias="30days", description=_REMAIN.format(30))
    days_60: int = Field(alias="60days", description=_REMAIN.format(60))
    days_90: int = Field(alias="90days", description=_REMAIN.format(90))
    days_120: int = Field(alias="120days", description=_REMAIN.format(120))
    days_365: int = Field(alias="365days", description=_REMAIN.format(365))
    records: int = Field(description="Records (one per primary identity) or events of the dataset that take part")
    profile_fragments: int = Field(description="Fragments of the dataset that take part in the profiles")
    total_profiles: int = Field(description="Profiles that have a fragment of the dataset")
    percent_events: float = Field(description="Share of all events, 0 to 100")
    percent_profiles: float = Field(description="Share of all records, 0 to 100")


class DatasetOverlapRow(ReportRow):
    """Overlap of datasets."""

    table = "dataset_overlap"
    about = (
        "Profiles by the exact set of their datasets; every profile is in one row, so the rows of a report sum to "
        "total_rows. Expiring a dataset removes the profiles of the row that names it alone. Grain: one row per "
        "report and set."
    )

    key: str = Field(description=f"Ids of the datasets, sorted and joined by commas; {NONE} when none takes part")
    profiles: int = Field(description="Profiles that have fragments of exactly these datasets")


class NamespaceOverlapRow(ReportRow):
    """Overlap of namespaces."""

    table = "namespace_overlap"
    about = (
        "Profiles by the exact set of their namespaces; every profile is in one row, so the rows of a report sum to "
        "total_rows. Grain: one row per report and set."
    )

    key: str = Field(description="Codes of the namespaces in the order of ASCII, joined by commas")
    profiles: int = Field(description="Profiles that have identities of exactly these namespaces")


class UnstitchedRow(ReportRow):
    """Unstitched profiles."""

    table = "unstitched_profiles"
    about = (
        "Profiles of exactly one fragment that had no new event for a number of days; without events they count. "
        f"Grain: one row per report, number of days and namespace, and one with the namespace {ALL}."
    )

    days: int = Field(description="Days without a new event; who is idle for 30 days is so for 7, too")
    namespace: str = Field(description=f"Namespace of the primary identity of the only fragment; {ALL}: any")
    count_of_profiles: int = Field(description="Profiles of exactly one fragment without a new event for so many days")
    events_associated: int = Field(description="Events of these profiles")


class CutListRow(ReportRow):
    """What expiring a dataset would bring."""

    table = "cut_list"
    about = (
        "Datasets by what would be gone if they were expired, the most profiles first, then the most bytes. "
        "Grain: one row per report and dataset with records or events."
    )

    rank: int = Field(description="Place in the list, from 1")
    dataset_id: str = Field(description="Id of the dataset")
    profiles_gone: int = Field(description="Profiles that have fragments of this dataset alone")
    share: float = Field(description="profiles_gone / total_rows, as a fraction of 6 decimals")
    bytes_freed: int | None = Field(
        description="Bytes of the files with the dataset's fragments and events in the cut; null when unknown"
    )


class ChangeRow(ReportRow):
    """What changed since earlier reports."""

    table = "changes"
    about = (
        "Numbers of profiles against those of the previous report and of the last one of the same day a week before. "
        "What is gone since is listed with 0. Grain: one row per report and thing that is counted."
    )

    kind: str = Field(description="total, dataset or namespace")
    id: str = Field(description="Id of the dataset or code of the namespace; empty for the total")
    profiles: int = Field(description="Profiles now, as the report of its kind defines them")
    previous: int | None = Field(description="The same in the previous report; null when there is none")
    change: int | None = Field(description="profiles - previous")
    week_before: int | None = Field(
        description="The same in the last report of the same day a week before; null when there is none"
    )
    change_since_week_before: int | None = Field(description="profiles - week_before")


REPORTS: tuple[type[ReportRow], ...] = (
    StatusRow,
    DatasetRow,
    NamespaceRow,
    DatasetStatsRow,
    DatasetOverlapRow,
    NamespaceOverlapRow,
    UnstitchedRow,
    CutListRow,
    ChangeRow,
)
