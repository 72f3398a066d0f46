"""Fixtures of the launcher's tests: a machine with a home of its own."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher import environment
from launcher.environment import platform_environment
from launcher.java import Java
from launcher.machine import Machine
from launcher.secrets_file import ensure_secrets
from tests.homes import free_port

FakeJava = Callable[[str, str], Path]
Made = Callable[[], dict[str, str]]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    home = tmp_path / "home"
    home.mkdir()
    return Machine(home=home, host="127.0.0.1", port=free_port(), spark="embedded", caller_dir=tmp_path)


@pytest.fixture
def made(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Make the environment anew; of Airflow's settings it knows those that the test gives."""
    for name in environment.airflow_overrides():
        monkeypatch.delenv(name)
    monkeypatch.setattr(environment, "site_packages", lambda: Path(sys.prefix))
    return lambda: platform_environment(machine, Java(tmp_path / "java", 17), ensure_secrets(machine))


@pytest.fixture
def fake_java(tmp_path: Path) -> FakeJava:
    """Make a folder with a `java` that says a version, as the JVMs of all vendors do."""

    def make(name: str, version: str) -> Path:
        home = tmp_path / name
        (home / "bin").mkdir(parents=True)
        program = home / "bin" / "java"
        program.write_text(f"#!/bin/sh\necho '    java.home = {home}' >&2\necho 'openjdk version \"{version}\"' >&2\n")
        program.chmod(0o755)
        return home

    return make
