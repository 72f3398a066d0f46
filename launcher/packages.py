"""The virtual environment `.venv` of the checkout, and what is installed in it.

The product itself is linked, not installed: a .pth file and a small script. An editable install would need setuptools
and would write the checkout's path in an encoding that depends on the locale; here the path is in ASCII escapes.
"""

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import sys
from pathlib import Path

from launcher.command import output_of, run_quietly
from launcher.files import read_json, write_json
from launcher.machine import CHECKOUT, VENV, VENV_PYTHON, Machine
from launcher.refusal import Refusal
from launcher.steps import step

_STAMP = VENV / "tessera.json"
_REQUIREMENTS = ("requirements.txt", "requirements.lock")


def ensure_packages(machine: Machine) -> None:
    """Make `.venv` hold exactly what requirements.txt names; does nothing when it does already.

    Raises:
        Refusal: the environment cannot be made, or pip failed.
    """
    if are_packages_ready():
        return
    stamp = read_json(_STAMP)
    if stamp.get("checkout") != str(CHECKOUT) or output_of([VENV_PYTHON, "-c", ""]) is None:
        with step(f"Virtual environment .venv with Python {platform.python_version()}"):
            _make_venv(machine)
            # It is empty, also when one that was moved here had everything.
            stamp = {}
    if stamp.get("requirements") != _digest():
        with step("Packages of requirements.txt (the first time takes a minute or two)"):
            _install(machine)
    _link_product()
    write_json(_STAMP, _wanted_stamp())


def are_packages_ready() -> bool:
    """Whether `.venv` was made here, from these requirements, and still runs."""
    return read_json(_STAMP) == _wanted_stamp() and VENV_PYTHON.exists()


def site_packages() -> Path:
    """Return where `.venv` keeps its packages.

    Raises:
        Refusal: there is no `.venv` yet.
    """
    for folder in sorted((VENV / "lib").glob("python3.*/site-packages")):
        return folder
    raise Refusal(f"{VENV} holds no packages; run ./run setup")


def _wanted_stamp() -> dict[str, str]:
    return {"checkout": str(CHECKOUT), "requirements": _digest()}


def _digest() -> str:
    return hashlib.sha256(b"\0".join((CHECKOUT / name).read_bytes() for name in _REQUIREMENTS)).hexdigest()


def _make_venv(machine: Machine) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        _install_python_venv(machine)
    shutil.rmtree(VENV, ignore_errors=True)
    run_quietly([sys.executable, "-m", "venv", VENV], "python -m venv", machine.logs / "venv.log")


def _install_python_venv(machine: Machine) -> None:
    """Debian keeps ensurepip in a package of its own."""
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        how = (
            f"sudo apt-get install -y {package}"
            if shutil.which("apt-get")
            else "the full Python package of this system"
        )
        raise Refusal(
            f"{sys.executable} has no module ensurepip, so it cannot make a virtual environment. Install: {how}"
        )
    apt_update(machine)
    apt_install(machine, package)


def apt_install(machine: Machine, package: str) -> None:
    """Install a Debian package without asking anything; one that is installed already is left as it is.

    An upgrade would take the files away from under the programs that run from them.

    Raises:
        Refusal: apt-get failed.
    """
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    log = machine.logs / "apt.log"
    run_quietly(
        ["apt-get", "install", "-y", "--no-install-recommends", package], f"apt-get install {package}", log, env
    )


def apt_update(machine: Machine) -> None:
    """Read the package lists anew; a fresh container has none.

    Raises:
        Refusal: apt-get failed.
    """
    run_quietly(["apt-get", "update"], "apt-get update", machine.logs / "apt.log")


def _install(machine: Machine) -> None:
    # The user's pip settings (mirror, certificates, proxy) hold; only --user makes no sense here.
    env = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    requirements = CHECKOUT / "requirements.txt"
    log = machine.logs / "pip.log"
    run_quietly([VENV_PYTHON, "-m", "pip", "install", "-r", requirements], "pip install -r requirements.txt", log, env)


def _link_product() -> None:
    pth = site_packages() / "tessera.pth"
    pth.write_text(f"import sys; sys.path.append({str(CHECKOUT)!a})\n", "ascii")
    program = "import sys; sys.argv[0] = 'tessera'; from jobs.cli import main; sys.exit(main())"
    script = VENV_PYTHON.with_name("tessera")
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(VENV_PYTHON))} -P -c {shlex.quote(program)} "$@"\n', "utf-8")
    script.chmod(0o755)
