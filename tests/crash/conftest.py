import pytest

from jobs.session.engines import Engine
from jobs.settings import Settings
from tests.crash.site import Server
from tests.crash.story import Story


@pytest.fixture(scope="session")
def server(engine_settings: Settings, engine: Engine) -> Server:
    return Server(engine_settings, engine)


@pytest.fixture(scope="session")
def story(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(server, tmp_path_factory.mktemp("crash 충돌"))
