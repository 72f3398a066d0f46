"""The launcher and the product read the same settings."""

from pathlib import Path

import pytest

from jobs.settings import load_settings
from launcher.machine import this_machine
from launcher.refusal import Refusal

CASES = {
    "defaults": ("", {}),
    "file": ('[network]\nport = 9001\nhost = "0.0.0.0"\n[engine]\nspark = "yarn"\n', {}),
    "variable": ("[network]\nport = 9001\n", {"TESSERA_NETWORK__PORT": "9002", "TESSERA_ENGINE__SPARK": "local[*]"}),
    "short name": ("[network]\nport = 9001\n", {"TESSERA_NETWORK__PORT": "9002", "TESSERA_PORT": "9003"}),
}


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TESSERA_HOST", "TESSERA_PORT", "TESSERA_SPARK", "TESSERA_CALLER_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("case", CASES)
def test_both_find_the_same(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, variables = CASES[case]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "tessera.toml").write_text(text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    machine, settings = this_machine(), load_settings()
    assert (machine.host, machine.port, machine.spark) == (
        settings.network.host,
        settings.network.port,
        settings.engine.spark,
    )
    assert machine.home == settings.home
    assert machine.engine_port == settings.network.engine_port


@pytest.mark.parametrize("port", ["80", "65001", "eight", "-1", "8080.5"])
def test_a_port_that_is_none_is_refused_with_value_and_rule(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_PORT", port)
    with pytest.raises(Refusal, match=f"'{port}': it must be a number from 1024 to 65000") as refused:
        this_machine()
    assert refused.value.exit_code == 2


def test_a_relative_home_is_relative_to_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", "mine")
    monkeypatch.setenv("TESSERA_CALLER_DIR", str(tmp_path))
    assert this_machine().home == tmp_path / "mine"


@pytest.mark.parametrize(
    ("host", "url"), [("0.0.0.0", "http://127.0.0.1:8080"), ("127.0.0.1", "http://127.0.0.1:8080")]
)
def test_the_pages_have_an_address_that_this_machine_reaches(
    host: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOST", host)
    assert this_machine().url == url
