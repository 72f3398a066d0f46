"""Set-up: everything a command needs, each part only if it is missing."""

from dataclasses import dataclass

from launcher.jars import ensure_jars
from launcher.java import Java, ensure_java
from launcher.machine import Machine
from launcher.packages import ensure_packages
from launcher.secrets_file import Secrets, ensure_secrets


@dataclass(frozen=True)
class Ready:
    """A machine on which the platform can run."""

    machine: Machine
    java: Java
    secrets: Secrets


def set_up(machine: Machine) -> Ready:
    """Make this machine ready; silent where there is nothing to do.

    Raises:
        Refusal: something is missing that cannot be had here; the message has the command that mends it.
    """
    ensure_packages(machine)
    java = ensure_java(machine)
    ensure_jars(machine, java)
    return Ready(machine, java, ensure_secrets(machine))
