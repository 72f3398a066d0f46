"""Where things are on this machine, and where the platform listens.

The launcher runs before pydantic is installed, so it reads the few settings it needs by itself, in the order that
`jobs.settings` uses: conf/tessera.toml, <TESSERA_HOME>/tessera.toml, TESSERA_<SECTION>__<KEY>, short names. What it
found is given to every process it starts, so that all of them agree.
"""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from launcher.refusal import BAD_REQUEST, Refusal

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
CALLER_DIR = "TESSERA_CALLER_DIR"
"""The variable by which the script `run` tells the folder it was called from."""
IN_VENV = "TESSERA_IN_VENV"
"""The variable that says that a command goes on in the virtual environment already."""
_SHORT_NAMES = {
    ("network", "host"): "TESSERA_HOST",
    ("network", "port"): "TESSERA_PORT",
    ("engine", "spark"): "TESSERA_SPARK",
}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EVERY_ADDRESS = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Machine:
    """What one platform on this machine is made of; two homes are two platforms."""

    home: Path
    host: str
    port: int
    spark: str
    caller_dir: Path

    @property
    def engine_port(self) -> int:
        """Port of the embedded Spark Connect server."""
        return self.port + 1

    @property
    def local_host(self) -> str:
        """Address under which this machine itself reaches the pages."""
        return "127.0.0.1" if self.host in _EVERY_ADDRESS else self.host

    @property
    def url(self) -> str:
        """Address of the pages."""
        host = f"[{self.local_host}]" if ":" in self.local_host else self.local_host
        return f"http://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the pages."""
        return self.host in _LOOPBACK

    @property
    def has_embedded_engine(self) -> bool:
        """Whether the platform starts a Spark of its own."""
        return self.spark == "embedded"

    @property
    def jars(self) -> Path:
        """Folder of Delta's jars."""
        return self.home / "jars"

    @property
    def logs(self) -> Path:
        """Folder of the logs of everything `up` starts."""
        return self.home / "logs"

    @property
    def airflow_home(self) -> Path:
        """Airflow's home."""
        return self.home / "airflow"


def this_machine() -> Machine:
    """Read where this platform is and where it listens.

    Raises:
        Refusal: a settings file is no TOML, or the port is no port.
    """
    caller_dir = Path(os.environ.get(CALLER_DIR) or Path.cwd())
    given = os.environ.get("TESSERA_HOME")
    home = ((caller_dir / Path(given).expanduser()) if given else CHECKOUT / ".tessera").resolve()
    layers = [_toml(CHECKOUT / "conf" / "tessera.toml"), _toml(home / "tessera.toml")]
    return Machine(
        home=home,
        host=_setting(layers, "network", "host"),
        port=_port(_setting(layers, "network", "port")),
        spark=_setting(layers, "engine", "spark"),
        caller_dir=caller_dir,
    )


def _setting(layers: list[dict[str, dict[str, object]]], section: str, key: str) -> str:
    value = ""
    for layer in layers:
        value = str(layer.get(section, {}).get(key, value))
    value = os.environ.get(f"TESSERA_{section}__{key}".upper()) or value
    return os.environ.get(_SHORT_NAMES[section, key]) or value


def _toml(path: Path) -> dict[str, dict[str, object]]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise Refusal(f"{path} is not TOML: {wrong}", BAD_REQUEST) from None


def _port(text: str) -> int:
    if not text.isdecimal() or not 1024 <= int(text) <= 65000:
        raise Refusal(
            f"TESSERA_PORT (network.port) is {text!r}: it must be a number from 1024 to 65000, e.g. TESSERA_PORT=18080",
            BAD_REQUEST,
        )
    return int(text)
