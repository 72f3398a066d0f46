"""Delta's jars: fetched once, checked by their sha-256, then never asked for again."""

import hashlib
import os
import shutil
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from launcher.command import run_quietly
from launcher.java import Java
from launcher.machine import CHECKOUT, Machine
from launcher.packages import site_packages
from launcher.refusal import Refusal
from launcher.steps import step, warn


@dataclass(frozen=True)
class Jar:
    """One artifact of conf/jars.toml."""

    organisation: str
    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of its file in <TESSERA_HOME>/jars."""
        return f"{self.name}-{self.version}.jar"


def wanted_jars() -> list[Jar]:
    """Return what conf/jars.toml names."""
    content = tomllib.loads((CHECKOUT / "conf" / "jars.toml").read_text("utf-8"))
    return [Jar(**entry) for entry in content["jar"]]


def is_right(path: Path, jar: Jar) -> bool:
    """Whether a file is that jar, byte for byte."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256


def ensure_jars(machine: Machine, java: Java) -> None:
    """Make <TESSERA_HOME>/jars hold the jars of conf/jars.toml; uses no network when it does already.

    Raises:
        Refusal: a jar could not be fetched, or what came is not what conf/jars.toml names.
    """
    for jar in wanted_jars():
        target = machine.jars / jar.file_name
        if is_right(target, jar):
            continue
        if target.exists():
            warn(f"    {target} has another sha-256 than conf/jars.toml says: fetched again")
        with step(f"Jar {jar.file_name}"):
            _fetch(machine, java, jar, target)


def accept(fetched: Path, jar: Jar, target: Path) -> None:
    """Put a fetched file into its place.

    Raises:
        Refusal: it is not there or its sha-256 is another one; nothing is put into place then.
    """
    if not fetched.is_file():
        raise Refusal(f"{jar.file_name} was not found by {ivy_settings()}; or put it into {target.parent} by hand")
    found = hashlib.sha256(fetched.read_bytes()).hexdigest()
    if found != jar.sha256:
        raise Refusal(
            f"{jar.file_name} as fetched has sha-256 {found}, conf/jars.toml says {jar.sha256}: not used."
            f" The repository that {ivy_settings()} names gave another file."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(fetched, target)


def _fetch(machine: Machine, java: Java, jar: Jar, target: Path) -> None:
    machine.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=machine.home, prefix=".jars-") as folder:
        # The Ivy that pip's pyspark carries is the one downloader of Maven artifacts that is there on every machine.
        arguments: list[str | Path] = [
            "-cp",
            _ivy(),
            "org.apache.ivy.Main",
            "-settings",
            ivy_settings(),
            "-cache",
            f"{folder}/cache",
        ]
        arguments += [
            "-dependency",
            jar.organisation,
            jar.name,
            jar.version,
            "-notransitive",
            "-confs",
            "master",
            "-warn",
        ]
        arguments += ["-retrieve", f"{folder}/[artifact]-[revision].[ext]"]
        env = {**os.environ, "LC_ALL": utf8_locale()}
        log = machine.logs / "ivy.log"
        run_quietly([java.home / "bin" / "java", *arguments], f"fetching {jar.file_name}", log, env)
        accept(Path(folder) / jar.file_name, jar, target)


def utf8_locale() -> str:
    """Return a locale under which Java writes file names of every language; Java 17 cannot under POSIX."""
    return "en_US.UTF-8" if os.uname().sysname == "Darwin" else "C.UTF-8"


def _ivy() -> Path:
    found = sorted((site_packages() / "pyspark" / "jars").glob("ivy-*.jar"))
    if not found:
        raise Refusal("pyspark in .venv carries no Ivy: its installation is broken; remove .venv and run again")
    return found[-1]


def ivy_settings() -> Path:
    """Return where jars come from: the user's own settings, a mirror for example, before the project's.

    Raises:
        Refusal: TESSERA_IVY_SETTINGS names no file.
    """
    if named := os.environ.get("TESSERA_IVY_SETTINGS"):
        if not Path(named).is_file():
            raise Refusal(f"TESSERA_IVY_SETTINGS names {named}, which is no file")
        return Path(named)
    own = Path.home() / ".ivy2" / "ivysettings.xml"
    return own if own.is_file() else CHECKOUT / "conf" / "ivysettings.xml"
