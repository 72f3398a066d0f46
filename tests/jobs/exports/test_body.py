from typing import Any

import pytest
from pydantic import ValidationError

from jobs.errors import InvalidRequest
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


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"mergePolicy": {"id": "default", "version": 10**30}}, "version"),
        ({"filter": {"fromIngestTimestamp": "0001-01-01T00:00:00+14:00"}}, "updated_after"),
        ({"fields": "a" * 100_001}, "fields"),
    ],
)
def test_what_no_store_holds_is_refused_by_name(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        read_body({**WHOLE, **given})


def test_a_form_takes_as_many_characters_of_paths_as_a_body() -> None:
    with pytest.raises(ValidationError, match="at most 100000 are taken"):
        ExportParams(dataset="people", fields=("a" * 50,) * 2000)
