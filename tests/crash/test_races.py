from pathlib import Path

import pytest

from tests.crash.races import RACES, Race
from tests.crash.story import Story


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_two_at_once_have_one_outcome(story: Story, tmp_path: Path, race: Race) -> None:
    assert race(story, tmp_path / "home", 0)
