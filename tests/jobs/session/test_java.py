import json
import os
from pathlib import Path

import pytest

from jobs.errors import StoreError
from jobs.session.java import find_java


@pytest.fixture(autouse=True)
def _no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", os.devnull)


@pytest.mark.parametrize("version", ["17.0.9", "21.0.1", "25"])
def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_java(tmp_path / "given", version)))
    _note(tmp_path, _java(tmp_path / "noted", "17.0.9"))
    assert find_java(tmp_path) == tmp_path / "given"


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.2", "nonsense"])
def test_a_java_that_spark_does_not_run_on_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_java(tmp_path / "given", version)))
    _note(tmp_path, _java(tmp_path / "noted", "17.0.9"))
    assert find_java(tmp_path) == tmp_path / "noted"


def test_java_on_the_path_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{_java(tmp_path / 'installed', '21.0.1') / 'bin'}:/usr/bin:/bin")
    assert find_java(tmp_path) is None


def test_no_java_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^no Java 17, 21 or 25 was found[^\n]*`./run doctor`[^\n]*$"):
        find_java(tmp_path)


def _java(home: Path, version: str) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2023-10-17' >&2\n")
    program.chmod(0o755)
    return home


def _note(home: Path, java_home: Path) -> None:
    (home / "machine.json").write_text(json.dumps({"java_home": str(java_home)}))
