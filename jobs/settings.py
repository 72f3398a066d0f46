"""Settings, read once at the door and passed on as values.

Order, later wins: conf/tessera.toml, <TESSERA_HOME>/tessera.toml, environment. conf/tessera.toml holds every key with
its comment and unit; the classes here only give types.
"""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from jobs.errors import InvalidRequest

SANDBOX_PATTERN = r"^[a-z][a-z0-9_]{0,30}$"
# In a checkout a link to the folder conf/ at its top; an installed package holds the files themselves.
CONF = Path(__file__).resolve().parent / "conf"
_DEFAULTS = CONF / "tessera.toml"
# Names that people type; each stands for one key of a section.
SHORT_NAMES = {
    "TESSERA_SANDBOX": ("store", "sandbox"),
    "TESSERA_HOST": ("network", "host"),
    "TESSERA_PORT": ("network", "port"),
    "TESSERA_CATALOG_URL": ("catalog", "url"),
    "TESSERA_SPARK": ("engine", "spark"),
}

# Beginnings of the names of Spark's settings that are no user's: those of the command line, and what a job's answers
# depend on.
_SET_BY_TESSERA = (
    "spark.app.name",
    "spark.connect.",
    "spark.driver.extraJavaOptions",
    "spark.driver.memory",
    "spark.jars",
    "spark.master",
    "spark.sql.ansi.",
    "spark.sql.caseSensitive",
    "spark.sql.catalog",
    "spark.sql.extensions",
    "spark.sql.legacy.javaCharsets",
    "spark.sql.parquet.outputTimestampType",
    "spark.sql.session.timeZone",
    "spark.sql.warehouse.dir",
    "spark.submit.",
)

Sandbox = Annotated[str, StringConstraints(pattern=SANDBOX_PATTERN)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSettings(_Section):
    """Where the tables are."""

    root: str
    sandbox: Sandbox


class NetworkSettings(_Section):
    """Where the servers listen."""

    host: str
    port: int = Field(ge=1024, le=65000)

    @property
    def engine_port(self) -> int:
        """Port of the embedded Spark Connect server, always on loopback."""
        return self.port + 1


class AirflowSettings(_Section):
    """Whom to ask for runs of DAGs."""

    url: str
    user: str
    password: str = Field(repr=False)


class CatalogSettings(_Section):
    """Where the records are."""

    url: str


class EngineSettings(_Section):
    """Which Spark runs the jobs, and the bounds of the embedded one."""

    spark: str
    memory: Annotated[str, StringConstraints(pattern=r"^[0-9]+[mg]$")]
    threads: Annotated[str, StringConstraints(pattern=r"^(\*|[1-9][0-9]*)$")]
    spark_conf: dict[Annotated[str, StringConstraints(pattern=r"^spark\.[^\s=]+$")], str]
    idle_minutes: float = Field(gt=0)
    connect_timeout_seconds: float = Field(gt=0)
    start_timeout_seconds: float = Field(gt=0)

    @field_validator("spark_conf")
    @classmethod
    def _leave_ours(cls, given: dict[str, str]) -> dict[str, str]:
        if ours := [name for name in given if name.startswith(_SET_BY_TESSERA)]:
            raise ValueError(f"{', '.join(ours)}: set by Tessera, whose jobs depend on it")
        return given


class IngestSettings(_Section):
    """Bounds of one batch."""

    max_refused_share: float = Field(ge=0, le=1)
    lease_seconds: float = Field(gt=0)
    interrupt_timeout_seconds: float = Field(gt=0)
    wait_seconds: float = Field(ge=0)
    poll_seconds: float = Field(gt=0)
    max_record_bytes: int = Field(gt=0)
    max_event_bytes: int = Field(gt=0)
    upsert_warning_rows: int = Field(gt=0)
    max_files: int = Field(gt=0)
    max_batch_bytes: int = Field(gt=0)
    max_line_bytes: int = Field(gt=0)
    max_json_array_bytes: int = Field(gt=0)
    ecid_check: bool


class ProfileSettings(_Section):
    """How profiles are made."""

    custom_timestamps: bool
    verify_profiles: int = Field(gt=0)


class GraphSettings(_Section):
    """Bounds of the identity graph."""

    full: Literal["exclude"]
    max_identities: int = Field(ge=1)
    driver_links: int = Field(ge=1)


class PreviewSettings(_Section):
    """When the reports on the Profile store are made, and of how much of it."""

    schedule: str
    threshold_percent: float = Field(ge=0)
    sampling: bool
    sample_profiles: int = Field(ge=1)
    timeout_minutes: float = Field(gt=0)


class ExportSettings(_Section):
    """When profiles leave the store by themselves, and how long an export may take."""

    snapshot_schedule: str
    timeout_minutes: float = Field(gt=0)


class SystemJobSettings(_Section):
    """Who has to agree to a deletion, and how long it may wait and take."""

    approval: bool
    four_eyes: bool
    approval_hours: float = Field(gt=0)
    approvers: tuple[Annotated[str, StringConstraints(min_length=1)], ...]
    max_open: int = Field(ge=1)
    max_delay_days: float = Field(gt=0)
    timeout_minutes: float = Field(gt=0)


class DagSettings(_Section):
    """Bounds of the DAGs."""

    max_active_runs: int = Field(ge=1)
    ingest_timeout_minutes: float = Field(gt=0)
    refresh_timeout_minutes: float = Field(gt=0)
    lease_poll_seconds: float = Field(gt=0)


class Finished(StrEnum):
    """What says that a file in a landing folder is finished."""

    RENAME = "rename"
    MARKER = "marker"


class LandingSettings(_Section):
    """Files that arrive by themselves."""

    root: str
    schedule: str
    finished: Finished
    temporary_suffixes: tuple[Annotated[str, StringConstraints(min_length=1, to_lower=True)], ...]
    quiet_seconds: float = Field(ge=0)
    timeout_minutes: float = Field(gt=0)


class AlertSettings(_Section):
    """Who is told of what does not go well, and when."""

    freshness_hours: dict[str, Annotated[float, Field(ge=0)]]
    timeout_seconds: float = Field(gt=0, le=30)


class MaintenanceSettings(_Section):
    """What is tidied up, and after how long."""

    schedule: str
    orphan_minutes: float = Field(ge=1)
    new_hours: float = Field(gt=0)
    compact_runs: int = Field(ge=0)
    merge_files: int = Field(ge=1)
    small_file_bytes: int = Field(gt=0)
    leftover_hours: float = Field(ge=1)
    replay_days: float = Field(ge=1)
    # Below a week Delta could remove files of a write in progress, and of snapshots that are being read.
    retention_days: int = Field(ge=7)
    vacuum_parallelism: int = Field(ge=1)
    log_days: float = Field(ge=1)
    timeout_minutes: float = Field(gt=0)


class Settings(BaseSettings):
    """All settings of one process; frozen."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="TESSERA_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    home: Path = Path(".tessera")
    store: StoreSettings
    network: NetworkSettings
    airflow: AirflowSettings
    catalog: CatalogSettings
    engine: EngineSettings
    ingest: IngestSettings
    profiles: ProfileSettings
    graph: GraphSettings
    dags: DagSettings
    preview: PreviewSettings
    exports: ExportSettings
    system_jobs: SystemJobSettings
    landing: LandingSettings
    maintenance: MaintenanceSettings
    alerts: AlertSettings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment before the overlay, and the overlay before the defaults."""
        overlay = _home() / "tessera.toml"
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, overlay),
            TomlConfigSettingsSource(settings_cls, _DEFAULTS),
        )

    @property
    def store_root(self) -> str:
        """Root of the store: a path or a URL, without a trailing slash."""
        return self.store.root.rstrip("/") or str(self.home / "store")

    @property
    def landing_root(self) -> Path:
        """Folder that files arrive in."""
        return Path(self.landing.root).expanduser().absolute() if self.landing.root else self.home / "landing"

    @property
    def airflow_url(self) -> str:
        """Address of Airflow's API server."""
        return self.airflow.url or f"http://{self.network.host}:{self.network.port}"

    @property
    def catalog_url(self) -> str:
        """SQLAlchemy URL of the catalog."""
        return self.catalog.url or f"sqlite:///{self.home / 'catalog.db'}"

    def environment(self) -> dict[str, str]:
        """Give the environment variables with which another process of this installation reads these settings.

        The catalog is left out: its URL may hold a password, and no such process opens it.
        """
        values = {"TESSERA_HOME": str(self.home)}
        for section in ("store", "network", "engine"):
            for key, value in getattr(self, section).model_dump().items():
                text = value if isinstance(value, str) else json.dumps(value)
                values[f"TESSERA_{section}__{key}".upper()] = text
        return values


def _home() -> Path:
    return Path(os.environ.get("TESSERA_HOME") or ".tessera").expanduser().absolute()


def load_settings(**overrides: object) -> Settings:
    """Read the settings of this process.

    Args:
        overrides: whole sections or `home`, given by a command's options; they win over everything.

    Raises:
        InvalidRequest: a key is unknown or a value breaks its rule; the message names key, value and rule.
    """
    short = _short_names()
    try:
        return Settings(**{"home": _home(), **short, **overrides})  # type: ignore[arg-type]
    except ValidationError as refused:
        lines = (f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in refused.errors())
        raise InvalidRequest(f"settings: {'; '.join(lines)} (conf/tessera.toml describes every key)") from None


def _short_names() -> dict[str, dict[str, str]]:
    given: dict[str, dict[str, str]] = {}
    for name, (section, key) in SHORT_NAMES.items():
        if value := os.environ.get(name):
            given.setdefault(section, {})[key] = value
    return given
