"""Fixtures of the launcher's tests: a machine with a home of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.machine import Machine
from tests.homes import free_port

FakeJava = Callable[[str, str], Path]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    home = tmp_path / "home"
    home.mkdir()
    return Machine(home=home, host="127.0.0.1", port=free_port(), spark="embedded", caller_dir=tmp_path)


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
