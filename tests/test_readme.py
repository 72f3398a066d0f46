"""The README says what the code does."""

import re
from pathlib import Path

import pytest
import typer.main

from jobs.cli import app
from jobs.ingest.transforms.rules import RULES
from jobs.settings import Settings
from launcher.__main__ import USAGE

CHECKOUT = Path(__file__).resolve().parents[1]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_of_ingestion_stands_in_the_readme_word_for_word(rule: object) -> None:
    assert f"| `{rule.id}` | {rule.meaning}{' †' if rule.lands else ''} | {rule.message} |" in README  # type: ignore[attr-defined]


def test_the_readme_names_no_rule_that_is_not_one() -> None:
    table = README.partition("| rule | what it asks")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [rule.id for rule in RULES]


@pytest.mark.parametrize("command", sorted(typer.main.get_command(app).commands))  # type: ignore[attr-defined]
def test_a_command_stands_in_the_readme(command: str) -> None:
    assert re.search(rf"^\| `{command}[ `]", README, re.MULTILINE), f"no row for `tessera {command}`"


def test_every_command_of_run_stands_in_the_readme() -> None:
    internal = {"setup", "lock"}
    for command in set(re.findall(r"^  (\w+)  ", USAGE, re.MULTILINE)) - internal:
        assert re.search(rf"`(\./run )?{command}\b", README), command


def test_every_dag_stands_in_the_readme() -> None:
    for dag in (CHECKOUT / "dags").glob("*.py"):
        if dag.stem not in ("profile_tasks", "profile_alerts", "profile_approvals"):
            assert re.search(rf"^\| `{dag.stem}` \|", README, re.MULTILINE), dag.stem


def test_every_folder_stands_in_the_map() -> None:
    folders = {
        p.name for p in CHECKOUT.iterdir() if p.is_dir() and not p.name.startswith(".") and any(p.glob("**/*.*"))
    }
    named = set(re.findall(r"^\| `(\w+)/` \|", README, re.MULTILINE))
    assert folders - named - {"tessera.egg-info", "build"} == set()


def test_every_file_that_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (CHECKOUT / target).exists(), target


def test_every_setting_has_a_comment_in_the_file_of_settings() -> None:
    lines = (CHECKOUT / "conf" / "tessera.toml").read_text(encoding="utf-8").splitlines()
    for section, field in Settings.model_fields.items():
        if section == "home":
            continue
        start = lines.index(f"[{section}]")
        for key in field.annotation.model_fields:  # type: ignore[union-attr]
            at = next(i for i in range(start, len(lines)) if lines[i].startswith(f"{key} = "))
            # Two keys may share a comment.
            above = next(line for line in reversed(lines[:at]) if not re.match(r"\w+ = ", line))
            assert above.startswith("#"), f"{section}.{key} has no comment"
