"""Finding Java: programs that answer like Java stand for the machines of the world."""

import json
from pathlib import Path

import pytest

from launcher import java as finding
from launcher.java import Java, ensure_java, find_java, probe
from launcher.machine import Machine
from launcher.refusal import Refusal
from tests.launcher.conftest import FakeJava


@pytest.fixture(autouse=True)
def _bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which no Java is installed where Java usually is."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(finding, "USUAL_FOLDERS", (str(tmp_path / "jvm" / "*"),))
    monkeypatch.setattr(finding.shutil, "which", lambda name: None)
    monkeypatch.setattr(finding.os, "geteuid", lambda: 1000)


@pytest.mark.parametrize(
    ("said", "version"), [("17.0.15", 17), ("21", 21), ("25.0.1", 25), ("1.8.0_402", 8), ("11.0.2", 11)]
)
def test_the_version_is_what_java_says(fake_java: FakeJava, said: str, version: int) -> None:
    home = fake_java("java", said)
    assert probe(home) == Java(home, version)


def test_a_java_that_does_not_run_does_not_count(fake_java: FakeJava) -> None:
    home = fake_java("java", "17")
    (home / "bin" / "java").write_text("#!/bin/sh\necho 'version \"17\"'\nexit 1\n")
    assert probe(home) is None


def test_java_home_is_taken_first(fake_java: FakeJava, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java("jvm/java-17", "17.0.1")
    wanted = fake_java("mine", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(wanted))
    assert find_java() == Java(wanted, 21)


def test_an_older_java_home_is_passed_over_and_said(
    fake_java: FakeJava, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = fake_java("jvm/java-17", "17.0.1")
    old = fake_java("old", "11.0.20")
    monkeypatch.setenv("JAVA_HOME", str(old))
    assert find_java() == Java(found, 17)
    assert f"JAVA_HOME={old} is Java 11: passed over" in capsys.readouterr().err


def test_a_version_that_spark_does_not_know_does_not_count(fake_java: FakeJava) -> None:
    fake_java("jvm/java-23", "23.0.1")
    assert find_java() is None


def test_without_java_there_is_one_sentence_with_the_command(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "dnf" else None)
    with pytest.raises(Refusal, match=r"no Java 17, 21 or 25 .* sudo dnf install -y java-21-openjdk-headless$"):
        ensure_java(machine)


def test_the_found_java_is_recorded_and_not_looked_for_again(machine: Machine, fake_java: FakeJava) -> None:
    home = fake_java("jvm/java-21", "21.0.1")
    assert ensure_java(machine) == Java(home, 21)
    assert json.loads((machine.home / "machine.json").read_text())["java_home"] == str(home)
    (home / "bin" / "java").write_text("#!/bin/sh\nexit 1\n")
    assert ensure_java(machine) == Java(home, 21)


def test_a_recorded_java_that_is_gone_is_looked_for_anew(machine: Machine, fake_java: FakeJava) -> None:
    gone = fake_java("jvm/java-21", "21.0.1")
    ensure_java(machine)
    (gone / "bin" / "java").unlink()
    other = fake_java("jvm/java-25", "25")
    assert ensure_java(machine) == Java(other, 25)
