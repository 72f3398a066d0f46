"""Every commit in `jobs` has a fault point beside it, and every fault point is one of a commit."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.faults import Fault

JOBS = Path(__file__).resolve().parents[2] / "jobs"
SOURCES = [path for path in sorted(JOBS.rglob("*.py")) if "migrations" not in path.parts and path.name != "faults.py"]
# What writes a Delta table, beside SQL; and the words that SQL which only reads begins with.
WRITES = {"save", "saveAsTable", "insertInto", "writeTo", "write_deltalake"}
READS = {"SELECT", "SHOW", "DESCRIBE", "VACUUM"}  # a vacuum takes files that no version has, and makes none
# Its transaction commits nothing.
READING = "_reading"


def named(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def first_word(statement: ast.expr, constants: dict[str, ast.expr]) -> str:
    """The first word of a statement's text; empty when it is not written out."""
    if isinstance(statement, ast.Name):
        statement = constants.get(statement.id, statement)
    if isinstance(statement, ast.JoinedStr):
        statement = statement.values[0]
    text = statement.value if isinstance(statement, ast.Constant) else ""
    return str(text).split(maxsplit=1)[0].upper() if text else ""


def delta_commits(tree: ast.Module) -> Iterator[ast.Call]:
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (
            named(node) in WRITES or (named(node) == "sql" and first_word(node.args[0], constants) not in READS)
        ):
            yield node


def inside_around(tree: ast.Module, call: ast.Call) -> bool:
    blocks = (node for node in ast.walk(tree) if isinstance(node, ast.With))
    guarded = (
        block for block in blocks if any(ast.unparse(item.context_expr).startswith("around(") for item in block.items)
    )
    return any(call in ast.walk(block) for block in guarded)


def transactions(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, str]]:
    """The functions that begin a transaction of a database, and their text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            text = ast.unparse(node)
            if ".begin()" in text or ".commit()" in text:
                yield node, text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(JOBS)))
def test_every_commit_to_a_table_stands_inside_a_fault_point(path: Path) -> None:
    tree = ast.parse(path.read_text())
    bare = [f"{path.name}:{call.lineno}" for call in delta_commits(tree) if not inside_around(tree, call)]
    assert not bare, "go through jobs.lake.tables, or stand inside jobs.faults.around"


def test_every_transaction_of_the_catalog_that_writes_has_a_fault_point_before_and_after() -> None:
    found = {}
    for path in SOURCES:
        for function, text in transactions(ast.parse(path.read_text())):
            if function.name != READING:
                found[f"{path.name}:{function.name}"] = text
    # This one is opened for `migrate`, which has the points.
    assert "_alone(engine, url)" in (JOBS / "catalog" / "migrating.py").read_text()
    del found["migrating.py:_alone"]
    assert list(found) == ["transactions.py:_writing"], "use the catalog's `_writing`"
    assert found["transactions.py:_writing"].index("'before'") < found["transactions.py:_writing"].index("'after'")


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_point_belongs_to_a_commit(fault: Fault) -> None:
    assert any(f"Fault.{fault.name}" in path.read_text() for path in SOURCES)


@pytest.mark.parametrize(
    ("variable", "told", "reached", "sign"),
    [
        ("TESSERA_FAULT", "lake:before", "", signal.SIGKILL),
        ("TESSERA_FAULT", "lake:after", "before inside ", signal.SIGKILL),
        ("TESSERA_FAULT", "lake:before:2", "before inside after ", signal.SIGKILL),
        ("TESSERA_FAULT", "links:before", "before inside after before inside after ", None),
        ("OTHER", "lake:before", "before inside after before inside after ", None),
    ],
)
def test_a_process_dies_at_the_point_that_its_environment_names_and_nowhere_else(
    variable: str, told: str, reached: str, sign: signal.Signals | None
) -> None:
    program = (
        "from jobs.faults import Fault, around\n"
        "for _ in range(2):\n"
        "    with around(Fault.LAKE):\n"
        "        print('before inside', end=' ', flush=True)\n"
        "    print('after', end=' ', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {variable: told},
        cwd=JOBS.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == (reached, -sign if sign else 0)
