"""What `./run up` keeps running."""

from dataclasses import dataclass

from launcher.machine import VENV_PYTHON, Machine

ENGINE = "engine"
API_SERVER = "api-server"
SCHEDULER = "scheduler"


@dataclass(frozen=True)
class Component:
    """One long-running process, with its children."""

    name: str
    arguments: tuple[str, ...]
    stop_order: int
    """Components stop by rising number: tasks first, while the servers they report to still answer."""

    @property
    def is_airflow(self) -> bool:
        """Whether it needs Airflow's database."""
        return self.name != ENGINE


def components(machine: Machine) -> list[Component]:
    """Return the components of a platform; the embedded engine only where the settings ask for it."""
    airflow = (str(VENV_PYTHON), "-m", "airflow")
    # Logs are read from the disk; the log servers would listen on every address of the machine.
    found = [
        Component(API_SERVER, (*airflow, "api-server"), 2),
        Component(SCHEDULER, (*airflow, "scheduler", "--skip-serve-logs"), 1),
        Component("dag-processor", (*airflow, "dag-processor"), 1),
        Component("triggerer", (*airflow, "triggerer", "--skip-serve-logs"), 1),
    ]
    if machine.has_embedded_engine:
        found.insert(0, Component(ENGINE, (str(VENV_PYTHON), "-m", "jobs.session.server", "--watch"), 2))
    return found


def migration_arguments() -> tuple[str, ...]:
    """Return the command that makes Airflow's database or brings it up to date."""
    return (str(VENV_PYTHON), "-m", "airflow", "db", "migrate")
