"""What the product imports is what it asks for: a package that another one brings may be gone with the next version."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from launcher.machine import CHECKOUT


def imported() -> set[str]:
    """The packages that the product imports, those of Python and its own left out."""
    found: set[str] = set()
    for source in (CHECKOUT / "jobs").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    return {name.partition(".")[0] for name in found} - {"jobs", *sys.stdlib_module_names}


def test_the_product_asks_for_every_package_that_it_imports() -> None:
    asked = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = {canonicalize_name(Requirement(one).name) for one in asked}
    brought_by = packages_distributions()
    assert [name for name in sorted(imported()) if not names & set(map(canonicalize_name, brought_by[name]))] == []
