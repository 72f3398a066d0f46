"""What the trigger forms offer: datasets, their fields, and merge policies by name, in small files beside the catalog.

DAG files read them every time they are parsed, so this module imports the standard library only and opens no database.
A form shows what was applied last; whoever starts a run asks the catalog again.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, Protocol


class _Names(Protocol):
    def datasets_of_all_sandboxes(self) -> dict[str, list[dict[str, Any]]]: ...
    def policies_of_all_sandboxes(self) -> dict[str, list[str]]: ...


def write_forms(home: Path, catalog: _Names) -> None:
    """Write down the datasets and merge policies of all sandboxes; called after definitions were applied.

    Two processes may do this at once: each reads the catalog while nobody else writes the files, so the last one to
    write has seen what both applied.
    """
    folder = home / "forms"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _replace(forms_file(home), catalog.datasets_of_all_sandboxes())
        _replace(policies_file(home), catalog.policies_of_all_sandboxes())


def _replace(target: Path, names: Mapping[str, Any]) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, suffix=".tmp", delete=False) as written:
        json.dump(names, written, ensure_ascii=False, indent=1)
        written.flush()
        os.fsync(written.fileno())
    Path(written.name).replace(target)


# Datasets that files are ingested into; those of the kind `profiles` are written by export jobs.
INGESTED = ("record", "events")
_MOST_FIELDS = 500


def forms_file(home: Path) -> Path:
    """Return where the datasets are: {sandbox: [{id, name, kind, fields}, ...]}."""
    return home / "forms" / "datasets.json"


def policies_file(home: Path) -> Path:
    """Return where the merge policies that make profiles are: {sandbox: [id, ...]}."""
    return home / "forms" / "policies.json"


def known_datasets(home: Path, sandbox: str | None = None, kinds: Container[str] | None = None) -> list[str]:
    """List the ids of the datasets of one sandbox, or of all, in order; none before anything was applied.

    Args:
        home: TESSERA_HOME.
        sandbox: the one whose datasets are meant; None: all.
        kinds: of the datasets, such as `profiles`; None: all.

    A file that cannot be read gives none too: a form then takes any name, and a DAG never fails to parse for it.
    """
    try:
        by_sandbox = _by_sandbox(forms_file(home))
        chosen = by_sandbox.values() if sandbox is None else [by_sandbox.get(sandbox, [])]
        of_all = [entry for entries in chosen for entry in entries]
        return sorted({entry["id"] for entry in of_all if kinds is None or entry["kind"] in kinds})
    except (TypeError, KeyError):
        return []


def known_fields(home: Path, kind: str) -> list[str]:
    """List the paths of the fields of all datasets of a kind, in order; none where `known_datasets` gives none.

    A form takes any other path, too, so of very many only the first are offered.
    """
    try:
        by_sandbox = _by_sandbox(forms_file(home))
        entries = (entry for of_sandbox in by_sandbox.values() for entry in of_sandbox if entry["kind"] == kind)
        return sorted({path for entry in entries for path in entry.get("fields", ())})[:_MOST_FIELDS]
    except (TypeError, KeyError, AttributeError):
        return []


def known_sandboxes(home: Path) -> list[str]:
    """List the sandboxes that have a dataset, in order; none where `known_datasets` gives none."""
    return sorted(sandbox for sandbox, entries in _by_sandbox(forms_file(home)).items() if entries)


def known_policies(home: Path) -> list[str]:
    """List the ids of the merge policies that make profiles, in order; none where `known_datasets` gives none."""
    try:
        named = (policy for policies in _by_sandbox(policies_file(home)).values() for policy in policies)
        return sorted({policy for policy in named if isinstance(policy, str)})
    except TypeError:
        return []


def _by_sandbox(file: Path) -> dict[str, list[Any]]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
