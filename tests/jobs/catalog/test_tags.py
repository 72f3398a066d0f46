from typing import Any

import pytest
from pydantic import ValidationError

from jobs.catalog.definitions import Dataset
from tests.jobs.catalog.builders import crm


def tagged(profile: list[str] | None = None, identity: list[str] | None = None, **plain: Any) -> dict[str, Any]:
    tags = {"unifiedProfile": profile, "unifiedIdentity": identity}
    declared = crm(tags={tag: entries for tag, entries in tags.items() if entries is not None})
    del declared["enabled"]
    return declared | plain


@pytest.mark.parametrize(
    ("declared", "enabled", "upsert"),
    [
        (tagged(["enabled:true"]), True, False),
        (tagged(["enabled: true"], ["enabled: true"]), True, False),
        (tagged(["enabled:true", "isUpsert:true"]), True, True),
        (tagged(["isUpsert: true", "enabled: true"], ["enabled:true"]), True, True),
        (tagged(["isUpsert:true"]), False, True),
        (tagged(["enabled:false", "isUpsert:true"]), False, True),
        (tagged(["enabled:false"], ["enabled:false"]), False, False),
        (tagged(identity=["enabled:true"]), False, False),
        (tagged(["enabled:true", "isUpsert:false"], enabled=True, upsert=False), True, False),
        (tagged(), False, False),
    ],
)
def test_7_5_10_tags_say_whether_a_dataset_is_enabled_and_upserts(
    declared: dict[str, Any], enabled: bool, upsert: bool
) -> None:
    dataset = Dataset.model_validate(declared)
    assert (dataset.enabled, dataset.upsert) == (enabled, upsert)


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        (tagged(["enabled:true"], enabled=False), "enabled: false contradicts the tags, which say true"),
        (tagged(["enabled:true", "isUpsert:true"], upsert=False), "upsert: false contradicts the tags"),
        (tagged(["enabled:true", "enabled:false"]), "unifiedProfile says both enabled:true and enabled:false"),
        (tagged(["enabled:true"], ["enabled:false"]), "the Profile store needs both"),
        (tagged(["enabled:yes"]), "unifiedProfile has 'enabled:yes'; allowed are enabled:true, enabled:false"),
        (tagged(["enabled:true"], ["isUpsert:true"]), "unifiedIdentity has 'isUpsert:true'"),
        (crm(tags={"unifiedProfiles": []}), "unknown tag 'unifiedProfiles'"),
        (crm(tags={"unifiedProfile": "enabled:true"}), "unifiedProfile is a list of texts"),
        (crm(tags=["enabled:true"]), "tags is a map of lists"),
        (
            crm(kind="events", tags={"unifiedProfile": ["enabled:true", "isUpsert:true"]}),
            "events are never overwritten",
        ),
    ],
)
def test_tags_that_say_two_things_or_nothing_known_are_refused(declared: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Dataset.model_validate(declared)
    assert told in str(refused.value)
