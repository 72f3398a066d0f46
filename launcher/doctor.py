"""What is missing on this machine, and what mends it. Runs on a bare Python, before any set-up."""

import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from launcher.containers import memory_bytes
from launcher.jars import is_right, wanted_jars
from launcher.java import find_java, how_to_install
from launcher.machine import Machine
from launcher.packages import are_packages_ready, site_packages
from launcher.record import is_supervised
from launcher.steps import say

WANTED_MEMORY_GB = 6
WANTED_DISK_GB = 5
_GB = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    is_well: bool
    found: str
    mend: str
    """What to do; empty when all is well."""


def doctor(machine: Machine, *, as_json: bool) -> int:
    """Look at everything and show it.

    Returns:
        0 when nothing is missing, else 1.
    """
    findings = list(examine(machine))
    if as_json:
        say(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            say(f"  {'ok' if finding.is_well else 'NO':<3} {finding.what:<22} {finding.found}")
            if not finding.is_well:
                say(f"      {'':<22} -> {finding.mend}")
    return 0 if all(finding.is_well for finding in findings) else 1


def examine(machine: Machine) -> Iterator[Finding]:
    """Look at Python, Java, packages, jars, ports, room and the home, in the order in which they are needed."""
    yield _python()
    yield _packages()
    yield _spark_versions()
    yield _java()
    yield from _jars(machine)
    yield _home(machine)
    yield from _ports(machine)
    yield _room(
        "memory",
        memory_bytes(),
        WANTED_MEMORY_GB,
        "close programs or give the container more; engine.memory bounds Spark",
    )
    place = next(folder for folder in (machine.home, *machine.home.parents) if folder.exists())
    yield _room("disk", shutil.disk_usage(place).free, WANTED_DISK_GB, f"make room on the disk of {place}")


def _finding(what: str, is_well: bool, found: str, mend: str) -> Finding:
    return Finding(what, is_well, found, "" if is_well else mend)


def _python() -> Finding:
    has_venv = importlib.util.find_spec("ensurepip") is not None or are_packages_ready()
    version = f"{platform.python_version()} at {sys.executable}" + ("" if has_venv else ", without ensurepip")
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    return _finding("Python", has_venv, version, f"sudo apt-get install -y {package}")


def _packages() -> Finding:
    is_ready = are_packages_ready()
    return _finding(
        "packages (.venv)", is_ready, "as requirements.txt says" if is_ready else "not installed", "./run setup"
    )


def _spark_versions() -> Finding:
    what = "pyspark, its client"
    if not are_packages_ready():
        return Finding(what, is_well=False, found="not installed", mend="./run setup")
    found = {
        name: [path.name.split("-")[1].removesuffix(".dist") for path in site_packages().glob(f"{name}-*.dist-info")]
        for name in ("pyspark", "pyspark_client")
    }
    versions = [".".join(version.split(".")[:3]) for names in found.values() for version in names]
    is_well = len(versions) == 2 and len(set(versions)) == 1
    mend = "both own the same files and must have one version: remove .venv, then ./run setup"
    return _finding(what, is_well, " and ".join(versions) or "not installed", mend)


def _java() -> Finding:
    java = find_java()
    if java is None:
        return Finding("Java 17, 21 or 25", is_well=False, found="none", mend=how_to_install())
    return Finding("Java 17, 21 or 25", is_well=True, found=f"{java.version} at {java.home}", mend="")


def _jars(machine: Machine) -> Iterator[Finding]:
    for jar in wanted_jars():
        path = machine.jars / jar.file_name
        found = "sha-256 as in conf/jars.toml" if is_right(path, jar) else "damaged" if path.exists() else "not fetched"
        yield _finding(
            jar.name, is_right(path, jar), found, f"./run setup fetches it, or put {jar.file_name} into {path.parent}"
        )


def _home(machine: Machine) -> Finding:
    place = next(folder for folder in (machine.home, *machine.home.parents) if folder.exists())
    can_write = os.access(place, os.W_OK | os.X_OK) and place.is_dir()
    mend = f"make {place} writable for this user, or set TESSERA_HOME to a folder that is"
    return _finding("home", can_write, f"{machine.home}{'' if can_write else ' cannot be written'}", mend)


def _ports(machine: Machine) -> Iterator[Finding]:
    if is_supervised(machine):
        yield Finding("ports", is_well=True, found=f"in use by this platform, which is up at {machine.url}", mend="")
        return
    from launcher.ports import has_own_engine, is_free, who_has

    wanted = [(machine.host, machine.port)]
    if machine.has_embedded_engine:
        wanted.append(("127.0.0.1", machine.engine_port))
    for host, port in wanted:
        is_well, found = True, "free"
        if not is_free(host, port):
            is_well = has_own_engine(machine.home, port)
            found = "in use by Tessera's own Spark server" if is_well else f"taken by {who_has(port)}"
        yield _finding(f"port {port}", is_well, found, f"end it, or move all ports: TESSERA_PORT={machine.port + 100}")


def _room(what: str, found_bytes: int, wanted_gb: int, mend: str) -> Finding:
    found = f"{found_bytes / _GB:.1f} GB, {wanted_gb} GB wanted"
    return _finding(what, found_bytes >= wanted_gb * _GB, found, mend)
