import pytest

from jobs.settings import Settings
from tests.jobs.landing.harbour import Harbour


@pytest.fixture
def harbour(settings: Settings) -> Harbour:
    """Folders with the convention `rename`, whose files need not rest."""
    return Harbour.at(settings)
