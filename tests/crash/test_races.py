from pathlib import Path

import pytest

from tests.crash.races import (
    RACES,
    Race,
    a_deletion_beside_an_ingest,
    a_generation_switch_beside_an_ingest,
    two_batches_of_one_dataset,
)
from tests.crash.story import Story

LONG = (two_batches_of_one_dataset, a_generation_switch_beside_an_ingest, a_deletion_beside_an_ingest)


@pytest.mark.parametrize(
    "race",
    [pytest.param(race, id=race.__name__, marks=pytest.mark.thorough if race in LONG else ()) for race in RACES],
)
def test_two_at_once_have_one_outcome(story: Story, tmp_path: Path, race: Race) -> None:
    assert race(story, tmp_path / "home", 0)
