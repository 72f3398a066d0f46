"""`./run bench [CASE] [--json]`."""

import importlib
import json
import os
import platform
import sys
from pathlib import Path

import psutil

CASES = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_") and p.stem != "results")


def main(arguments: list[str]) -> int:
    """Run one case, or all, and print a table or one JSON document; 1 when a goal was missed."""
    as_json = "--json" in arguments
    named = [argument for argument in arguments if argument != "--json"]
    if unknown := [name for name in named if name not in CASES]:
        sys.stderr.write(f"bench: no case {unknown[0]!r}; known: {', '.join(CASES)}\n")
        return 2
    documents = []
    for case in named or CASES:
        results = importlib.import_module(f"benchmarks.{case}").run()
        documents.append({"case": case, "machine": machine(), "results": [r.document() for r in results]})
        if not as_json:
            sys.stdout.write(f"{case} on {machine()}\n" + "".join(f"  {result}\n" for result in results))
    if as_json:
        sys.stdout.write(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2) + "\n")
    return 1 if any(r["met"] is False for d in documents for r in d["results"]) else 0


def machine() -> str:
    """Say what was measured on: processors and memory."""
    memory = psutil.virtual_memory().total / 2**30
    kind = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {kind}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
