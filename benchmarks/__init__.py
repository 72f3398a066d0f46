"""Benchmarks: one module a case, each with `run() -> list[Result]`, all peers of a case measured in one run."""
