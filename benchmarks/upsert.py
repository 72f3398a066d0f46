"""Batches of changes to 1 % of a record dataset: the keyed table beside other ways to upsert the same prepared rows.

The contestants apply the same batches, one after the other, and take turns at being first. After the first batch and
after the last one each reads every value of the current view; the sums must agree, or the benchmark ends without a
figure. The keyed table folds when it says that a fold is due, and the fold counts.
"""

import os
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from pyspark.sql import SparkSession

from benchmarks import ingest
from benchmarks._engine import PeakMemory, own_engine
from benchmarks._upsert_peers import DeltaMerge, DeltaRs, DuckDb, OurTable, Peer
from benchmarks._upsert_rows import Prepared, prepare
from benchmarks.results import Result
from jobs.session.client import new_session_id, open_session
from jobs.session.engines import Engine

ROWS = 5_000_000
BATCHES = 20
_AT_EACH_END = 5


def run(rows: int = ROWS, batches: int = BATCHES, lines: int = ingest.LINES) -> list[Result]:
    """Compare on a table of `rows` rows, and measure the ingestion of raw JSON lines on the same engine."""
    with (
        own_engine() as settings,
        PeakMemory(settings) as memory,
        TemporaryDirectory(prefix="tessera-bench-") as folder,
    ):
        with open_session(settings, Engine.parse("embedded"), new_session_id()) as spark:
            ours, peers = _compared(spark, prepare(Path(folder), rows, batches), Path(folder))
        figures = _figures(ours, peers, rows)
        for figure in figures:
            _say(str(figure))
        figures += ingest.measured(settings, lines, batch_rows=rows // 100)
    return [
        *figures,
        Result("Spark driver, largest resident memory of everything above", memory.bytes / 1e9, "GB", 4, True),
    ]


def _compared(spark: SparkSession, prepared: Prepared, folder: Path) -> tuple[OurTable, list[Peer]]:
    def place(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    ours = OurTable(place("ours"), spark)
    peers: list[Peer] = [
        ours,
        DeltaMerge(place("merge"), spark, deletion_vectors=False),
        DeltaMerge(place("vectors"), spark, deletion_vectors=True),
        DeltaRs(place("delta-rs")),
        DuckDb(place("duckdb")),
    ]
    for peer in peers:
        peer.load(prepared)
        _say(f"{peer.name}: loaded")
    _require_equal(peers)
    last = len(prepared.batches)
    for number, batch in enumerate(prepared.batches, start=1):
        turn = number % len(peers)
        for peer in peers[turn:] + peers[:turn]:
            peer.write(number, batch)
        _say(f"batch {number}: " + ", ".join(f"{peer.name} {peer.writes[-1]:.1f} s" for peer in peers))
        if number in (1, last):
            _require_equal(peers)
    return ours, peers


def _require_equal(peers: list[Peer]) -> None:
    sums = {peer.name: peer.read() for peer in peers}
    if len(set(sums.values())) > 1:
        raise RuntimeError(f"the results differ, so no time counts: {sums}")


def _figures(ours: OurTable, peers: list[Peer], rows: int) -> list[Result]:
    found = [Result("rows of the table", rows, "rows"), Result("rows of a batch", rows // 100, "rows")]
    for peer in peers:
        found += [
            Result.median(f"{peer.name}: one batch written", peer.writes, "s"),
            Result.median(f"{peer.name}: full read of the current view", peer.reads[1:], "s"),
            Result(f"{peer.name}: {len(peer.writes)} batches, what falls due, one full read", peer.total, "s"),
            Result(f"{peer.name}: written for them", sum(peer.bytes_written) / 1e6, "MB"),
        ]
        if peer.peak_bytes:
            found.append(Result(f"{peer.name}: largest resident memory", peer.peak_bytes / 1e6, "MB"))
    folds = [seconds for after, seconds in enumerate(ours.later) if after in ours.folded_after]
    found.append(Result("KeyedTable: folds, of the total above", sum(folds), "s"))
    merge, vectors, delta_rs, duckdb = peers[1:]
    for peer, goal in ((merge, 10), (vectors, None), (delta_rs, 2), (duckdb, None)):
        ratios = [theirs / mine for theirs, mine in zip(peer.writes, ours.writes, strict=True)]
        found.append(Result.median(f"one batch written, times faster than {peer.name}", ratios, "x", goal))
    for peer, goal in ((merge, 3), (vectors, None), (delta_rs, None), (duckdb, None)):
        name = f"{len(ours.writes)} batches, folds, one full read, times faster than {peer.name}"
        found.append(Result(name, peer.total / ours.total, "x", goal))
    plain = [seconds for after, seconds in enumerate(ours.writes) if after not in ours.folded_after]
    growth = statistics.median(plain[-_AT_EACH_END:]) / statistics.median(plain[:_AT_EACH_END])
    found.append(Result("last five batches to the first five, without folds, medians", growth, "x", 1.3, True))
    return found


def _say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line} (load {os.getloadavg()[0]:.1f})\n")
