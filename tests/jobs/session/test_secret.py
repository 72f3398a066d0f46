import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.session.secret import TOKEN_VARIABLE, engine_token


@pytest.fixture(autouse=True)
def _no_token_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


def test_processes_that_ask_at_once_agree_on_one_token(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from jobs.session.secret import engine_token\n"
        "print(engine_token(Path(sys.argv[1])))"
    )
    home = tmp_path / "home"
    asking = [
        subprocess.Popen([sys.executable, "-c", program, home], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    told = {process.communicate()[0].strip() for process in asking}
    assert told == {engine_token(home)}


def test_the_file_is_for_its_owner_only_and_keeps_what_else_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"password": "other"}))
    token = engine_token(tmp_path)
    assert json.loads(path.read_text()) == {"password": "other", "engine_token": token}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "given")
    assert engine_token(tmp_path) == "given"
    assert not (tmp_path / "secrets.json").exists()
