import pytest

from jobs.exports.body import body_of, read_body
from jobs.exports.models import ExportParams
from tests.builders import at

WHOLE = {
    "schema": {"name": "_xdm.context.profile"},
    "destination": {"dataSetId": "people", "segmentPerBatch": False},
    "fields": "identityMap, person.name",
    "mergePolicy": {"id": "default", "version": 2},
    "filter": {"fromIngestTimestamp": "2024-01-01T12:00:00Z", "emptyProfiles": True},
    "additionalFields": {
        "eventList": {
            "fields": "timestamp",
            "filter": {
                "fromIngestTimestamp": "2024-01-02T00:00:00Z",
                "toIngestTimestamp": "2024-01-03T00:00:00+00:00",
            },
        }
    },
    "evaluationInfo": {"segmentation": False},
}
ASKED = ExportParams(
    dataset="people",
    fields=("identityMap", "person.name"),
    merge_policy="default",
    merge_policy_version=2,
    updated_after=at(1, 12),
    empty_profiles=True,
    events=True,
    event_fields=("timestamp",),
    events_after=at(2),
    events_until=at(3),
)


def test_a_body_in_the_words_of_the_guide_is_the_same_request_as_the_form() -> None:
    assert read_body(WHOLE) == ASKED
    least = {"schema": WHOLE["schema"], "destination": {"datasetId": "people"}}
    assert read_body(least) == ExportParams(dataset="people")


@pytest.mark.parametrize("params", [ASKED, ExportParams(dataset="people"), ExportParams(dataset="p", events=True)])
def test_a_request_is_shown_as_a_body_that_asks_for_the_same(params: ExportParams) -> None:
    assert read_body(body_of(params)) == params
