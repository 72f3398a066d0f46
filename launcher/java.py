"""Finding a Java that Spark runs on, or getting one."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.command import output_of
from launcher.files import read_json, write_json
from launcher.machine import Machine
from launcher.packages import apt_install, apt_update
from launcher.refusal import Refusal
from launcher.steps import step, warn

VERSIONS = (17, 21, 25)
_DEBIAN_PACKAGES = tuple(f"{name}-jre-headless" for name in ("openjdk-21", "openjdk-17", "openjdk-25", "default"))
_BREWS = ("/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew")
USUAL_FOLDERS = (
    *(f"{root}/opt/openjdk{at}" for root in _BREWS for at in ("@21", "@17", "@25", "")),
    "/usr/lib/jvm/*",
)
"""Patterns of Java homes, the most wanted first."""
_OTHER_SYSTEMS = {
    "brew": "brew install openjdk@21",
    "dnf": "sudo dnf install -y java-21-openjdk-headless",
    "zypper": "sudo zypper install -y java-21-openjdk-headless",
    "pacman": "sudo pacman -S jre21-openjdk-headless",
    "apk": "sudo apk add openjdk21-jre-headless",
}
_OTHERWISE = "install OpenJDK 21 and set JAVA_HOME to its folder"


@dataclass(frozen=True)
class Java:
    """A Java that was run."""

    home: Path
    version: int


def ensure_java(machine: Machine) -> Java:
    """Return the Java of this machine, installing Debian's when that is possible, and record it in machine.json.

    Raises:
        Refusal: there is none and it cannot be installed here; the message has the command that would.
    """
    record = machine.home / "machine.json"
    java = _recorded(record)
    if java is None:
        with step("Java"):
            java = find_java() or _install_java(machine)
        warn(f"    Java {java.version} at {java.home}")
        asked = os.environ.get("JAVA_HOME", "")
        write_json(record, {"java_home": str(java.home), "java_version": java.version, "asked_java_home": asked})
    return java


def find_java() -> Java | None:
    """Return the first Java that runs and is 17, 21 or 25; says so when JAVA_HOME names another one."""
    asked = os.environ.get("JAVA_HOME")
    for home in _candidates():
        java = probe(home)
        if java and java.version in VERSIONS:
            return java
        if asked and home == Path(asked):
            found = f"is Java {java.version}" if java else "holds no Java that runs"
            warn(f"    JAVA_HOME={asked} {found}: passed over, Spark needs 17, 21 or 25")
    return None


def probe(home: Path) -> Java | None:
    """Run the Java of a folder and ask for its version and its own opinion of its home."""
    said = output_of([home / "bin" / "java", "-XshowSettings:properties", "-version"])
    version = re.search(r'version "(\d+)(?:\.(\d+))?', said or "")
    if said is None or version is None:
        return None
    # Up to 8 the versions were called 1.x.
    major = int(version[2] or 0) if version[1] == "1" else int(version[1])
    # A stub such as macOS's /usr/bin/java stands for a Java elsewhere.
    own = re.search(r"^\s*java\.home = (.+)$", said, re.MULTILINE)
    own_home = Path(own[1].strip()) if own else home
    return Java(own_home if (own_home / "bin" / "java").exists() else home, major)


def how_to_install() -> str:
    """Return the one command that installs Java on this system."""
    if shutil.which("apt-get"):
        return f"sudo apt-get install -y {_debian_package() or _DEBIAN_PACKAGES[0]}"
    for program, command in _OTHER_SYSTEMS.items():
        if shutil.which(program):
            return command
    return "brew install openjdk@21 (see brew.sh)" if sys.platform == "darwin" else _OTHERWISE


def _recorded(record: Path) -> Java | None:
    known = read_json(record)
    home = Path(str(known.get("java_home")))
    if known.get("asked_java_home") != os.environ.get("JAVA_HOME", "") or not (home / "bin" / "java").exists():
        return None
    return Java(home, int(known["java_version"]))


def _candidates() -> Iterator[Path]:
    """Homes to look at, the most wanted first; a folder may not exist."""
    if asked := os.environ.get("JAVA_HOME"):
        yield Path(asked)
    if on_path := shutil.which("java"):
        yield Path(on_path).resolve().parent.parent
        yield Path(on_path).parent.parent
    if Path("/usr/libexec/java_home").exists():
        for version in ("21", "17", "25"):
            if said := output_of(["/usr/libexec/java_home", "-v", version]):
                yield Path(said.strip().splitlines()[-1])
    for pattern in USUAL_FOLDERS:
        yield from sorted(Path("/").glob(pattern.removeprefix("/")))


def _install_java(machine: Machine) -> Java:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        apt_update(machine)
        if package := _debian_package():
            apt_install(machine, package)
            if java := find_java():
                return java
    raise Refusal(f"no Java 17, 21 or 25 was found, and Spark needs one. Install it and run again: {how_to_install()}")


def _debian_package() -> str | None:
    """Return the first of the packages that this release of Debian or Ubuntu has."""
    for package in _DEBIAN_PACKAGES:
        policy = output_of(["apt-cache", "policy", package]) or ""
        if re.search(r"Candidate: (?!\(none\))\S", policy):
            return package
    return None
