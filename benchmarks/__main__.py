"""`./run bench [CASE] [--json | --markdown] [--rows N] [--batches N] [--lines N]`."""

import argparse
import importlib
import inspect
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil

CASES = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_") and p.stem != "results")


def main(arguments: list[str]) -> int:
    """Run one case, or all, and print a table or one JSON document; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("case", nargs="*", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--markdown", action="store_true", help="a table for a page")
    parser.add_argument("--rows", type=int, help="rows of the table that is upserted")
    parser.add_argument("--batches", type=int, help="batches that are upserted")
    parser.add_argument("--lines", type=int, help="JSON lines of the file that is ingested")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.case if name not in CASES]:
        parser.error(f"no case {unknown[0]!r}; known: {', '.join(CASES)}")
    documents = []
    for case in asked.case or CASES:
        run = importlib.import_module(f"benchmarks.{case}").run
        sizes = {
            name: getattr(asked, name) for name in ("rows", "batches", "lines") if getattr(asked, name) is not None
        }
        results = run(**{name: size for name, size in sizes.items() if name in inspect.signature(run).parameters})
        documents.append({"case": case, "machine": machine(), "results": [r.document() for r in results]})
        if asked.markdown:
            sys.stdout.write(
                f"{machine()}, {datetime.now(UTC):%Y-%m-%d}\n\n| figure | median | spread | goal |\n|---|---|---|---|\n"
            )
            sys.stdout.write("".join(f"{result.markdown()}\n" for result in results))
        elif not asked.json:
            sys.stdout.write(f"{case} on {machine()}\n" + "".join(f"  {result}\n" for result in results))
    if asked.json:
        sys.stdout.write(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2) + "\n")
    return 1 if any(r["met"] is False for d in documents for r in d["results"]) else 0


def machine() -> str:
    """Say what was measured on: processors and memory."""
    memory = psutil.virtual_memory().total / 2**30
    kind = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {kind}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
