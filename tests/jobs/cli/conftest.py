import os
from pathlib import Path

import pytest

from tests.jobs.cli.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """The program in a fresh TESSERA_HOME, with no other setting of the environment."""
    for name in [name for name in os.environ if name.startswith("TESSERA_") and name != "TESSERA_TEST_SPARK"]:
        monkeypatch.delenv(name)
    home = tmp_path / "home 집"
    monkeypatch.setenv("TESSERA_HOME", str(home))
    return Terminal(home, monkeypatch, capsys)
