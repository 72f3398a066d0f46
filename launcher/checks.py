"""The checks and tests, as continuous integration runs them."""

import os
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from launcher.environment import child_environment
from launcher.machine import CHECKOUT, VENV, VENV_PYTHON
from launcher.setup import Ready
from launcher.steps import say

_CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports",),
    ("shellcheck", "run", ".ci/run"),
)
_PARTS = ("waits", "not waits")


def lint() -> int:
    """Run every check, also after one has failed; returns 0 when all passed."""
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)])
    env = {**os.environ, "PATH": path, "PYTHONUTF8": "1"}
    failed = [check for check in _CHECKS if not _passes(check, env)]
    return 1 if failed else 0


def test(ready: Ready, arguments: Sequence[str]) -> int:
    """Run the checks, then pytest with these arguments; returns the exit code of the first that failed.

    Without arguments that choose tests, two processes share them: those that often wait for a process to begin or end
    leave the machine to the others meanwhile.
    """
    if code := lint():
        return code
    env = child_environment(ready.machine, ready.java, ready.secrets)
    if any(not argument.startswith("--") for argument in arguments):
        return subprocess.run([VENV_PYTHON, "-m", "pytest", *arguments], cwd=CHECKOUT, env=env, check=False).returncode
    with ThreadPoolExecutor(len(_PARTS)) as pool:
        codes = list(pool.map(lambda number: _test_part(number, arguments, env), range(len(_PARTS))))
    return next(filter(None, codes), 0)


def _test_part(number: int, arguments: Sequence[str], env: dict[str, str]) -> int:
    """Run the tests of one part, and print each line when it is whole."""
    with subprocess.Popen(
        [str(VENV_PYTHON), "-m", "pytest", "-m", _PARTS[number], *arguments],
        cwd=CHECKOUT,
        env={**env, "TESSERA_TEST_PART": str(number), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            say(f"{number + 1}| {line.rstrip()}")
    return process.returncode


def _passes(check: Sequence[str], env: dict[str, str]) -> bool:
    started = time.monotonic()
    program = VENV / "bin" / check[0]
    done = subprocess.run(
        [program, *check[1:]], cwd=CHECKOUT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    verdict = "passed" if done.returncode == 0 else "FAILED"
    say(f"  {' '.join(check):<28} {verdict} in {time.monotonic() - started:.1f} s")
    if done.returncode:
        say(done.stdout.decode("utf-8", "replace"))
    return done.returncode == 0
