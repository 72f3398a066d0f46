"""Delta's jars: what is there and right is left alone, what is wrong is never used."""

import hashlib
from pathlib import Path

import pytest

from launcher import jars as fetching
from launcher.jars import Jar, accept, ensure_jars, is_right, wanted_jars
from launcher.java import Java
from launcher.machine import CHECKOUT, Machine
from launcher.refusal import Refusal

CONTENT = b"a jar"
JAR = Jar("io.delta", "delta", "1.0", hashlib.sha256(CONTENT).hexdigest())


def test_a_fetched_jar_with_another_checksum_is_refused_and_not_put_into_place(tmp_path: Path) -> None:
    fetched, target = tmp_path / "fetched.jar", tmp_path / "jars" / JAR.file_name
    fetched.write_bytes(b"another jar")
    found = hashlib.sha256(b"another jar").hexdigest()
    with pytest.raises(
        Refusal, match=f"delta-1.0.jar as fetched has sha-256 {found}, conf/jars.toml says {JAR.sha256}"
    ):
        accept(fetched, JAR, target)
    assert not target.exists()


def test_a_fetched_jar_with_the_right_checksum_is_put_into_place(tmp_path: Path) -> None:
    fetched, target = tmp_path / "fetched.jar", tmp_path / "jars" / JAR.file_name
    fetched.write_bytes(CONTENT)
    accept(fetched, JAR, target)
    assert is_right(target, JAR)


def test_jars_that_are_there_are_not_fetched(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "wanted_jars", lambda: [JAR])
    machine.jars.mkdir()
    (machine.jars / JAR.file_name).write_bytes(CONTENT)
    ensure_jars(machine, Java(tmp_path / "no-java-here", 17))
    assert [path.name for path in machine.home.iterdir()] == ["jars"]


def test_a_named_ivy_settings_file_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TESSERA_IVY_SETTINGS", str(tmp_path / "mirror.xml"))
    with pytest.raises(Refusal, match=r"TESSERA_IVY_SETTINGS names .*mirror.xml, which is no file"):
        fetching.ivy_settings()


def test_the_jars_have_the_version_of_the_wheel() -> None:
    requirements = (CHECKOUT / "requirements.txt").read_text()
    for jar in wanted_jars():
        assert f"delta-spark=={jar.version}" in requirements
