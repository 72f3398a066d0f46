"""Two programs at one store at once: exactly one outcome, nothing lost or doubled.

Each race plays one round on a new site and says how it came out; the round's number varies who is when. What is wrong
is an AssertionError.
"""

import json
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from jobs.catalog.system_jobs import SystemJobStatus
from jobs.errors import StoreError
from jobs.faults import Fault
from jobs.profiles.models import EVENTS, IDENTITIES
from jobs.session.store_lock import hold_store
from jobs.system_jobs.models import Plan, SystemJobResult
from tests.crash.processes import Ended
from tests.crash.site import SHORT_LEASE, Site, Snapshot, assert_same
from tests.crash.story import Story, ingest
from tests.crash.upkeep import OVERTAKEN

Race = Callable[[Story, Path, int], str]
# Where a worker is when its heart stops.
_STOPS = tuple(
    f"{fault}:{moment}:1"
    for fault in (Fault.LAKE, Fault.FRAGMENTS, Fault.LINKS, Fault.FINISH_BATCH, Fault.BEGIN_ATTEMPT)
    for moment in ("before", "after")
    # Stopped inside a transaction it would keep everybody waiting: no other outcome.
    if (fault, moment) not in {(Fault.FINISH_BATCH, "before"), (Fault.BEGIN_ATTEMPT, "before")}
)


def a_worker_taken_for_dead_and_its_retry(story: Story, home: Path, number: int) -> str:
    """A worker stops, another one does its batch, and the first wakes up: meanwhile, or when all is done."""
    step = story.step("records")
    site = story.site_before(step, home)
    zombie = site.start(*step.arguments, **SHORT_LEASE, TESSERA_PAUSE=_STOPS[number % len(_STOPS)])
    assert zombie.wait_until_stopped(), zombie.output
    # Stopped while it renews its lease it would keep everybody waiting: no other outcome.
    while _is_locked(site):
        zombie.go_on()
        time.sleep(0.02)
        zombie.stop()
    retry = site.start(*step.arguments)
    if wakes_early := number % 3 == 1:
        retry.wait_until(lambda: "writing the lake" in retry.output)
        zombie.go_on()
    ended = retry.wait()
    if not wakes_early:
        zombie.go_on()
    late = zombie.wait()
    assert ended.code == 0, ended.output
    assert late.code in (0, 1, 4), late.output
    assert_same(site.snapshot(), story.before(step).after)
    return "the retry's, and the late worker " + ("takes it for its own" if late.code == 0 else "gives up")


def two_attempts_at_one_batch(story: Story, home: Path, number: int) -> str:
    """The same command twice at one instant."""
    step = story.step("records")
    site = story.site_before(step, home)
    first, second = _together(site, step.arguments, step.arguments)
    assert 0 in (first.code, second.code), (first, second)
    assert_same(site.snapshot(), story.before(step).after)
    return "both end well" if first.code == second.code else "one ends well, the other is told"


def two_processes_at_one_store(story: Story, home: Path, number: int) -> str:
    """Two programs make a new store's catalog, then its tables; one Spark may have the store."""
    site = Site(story.server, home)
    shutil.rmtree(home, ignore_errors=True)
    step = story.step("apply")
    apply, records, events = (story.step(name).arguments for name in ("apply", "records", "events"))
    for commands in ((apply, apply), (records, events)):
        ended = _together(site, *commands)
        assert [program.code for program in ended] == [0, 0], ended
    assert_same(site.snapshot(), story.clean(step, apply, records, events))
    assert _holders(str(home / "store")) == 1
    return "both batches; one holds the store"


def two_batches_of_one_dataset(story: Story, home: Path, number: int) -> str:
    """Two batches of one dataset and one instant: one after the other, whichever comes first."""
    step = story.step("events")
    commands = [ingest(story.folder, "web", name, day=1) for name in (1, 2)]
    site = story.site_before(step, home)
    ended = _together(site, *(commands if number % 2 else commands[::-1]))
    assert [program.code for program in ended] == [0, 0], ended
    with site.catalog as catalog:
        order = [batch_id for batch_id, _ in catalog.active_batches("web")]
    assert_same(site.snapshot(), story.clean(step, *(commands if order[0] == "web-1" else commands[::-1])))
    return f"{order[0]} first"


def a_fold_beside_a_write(story: Story, home: Path, number: int) -> str:
    """A fold and an ingest; and once more a fold, after which all is in the base."""
    step = story.step("fold")
    fold, write = step.arguments, ingest(story.folder, "crm", 3)
    site = story.site_before(step, home)
    folding, writing = _delayed(site, number, fold, write)
    assert folding.code in (0, OVERTAKEN), folding
    assert writing.code == 0, writing
    # Once more takes what came meanwhile; when there was nothing it changes nothing.
    site.done(*fold)
    assert_same(_folded(site.snapshot()), _folded(story.clean(step, fold, write, fold)))
    return "both" if folding.code == 0 else "the write; the fold gives up until next time"


def a_generation_switch_beside_an_ingest(story: Story, home: Path, number: int) -> str:
    """A dataset is emptied while a batch comes in: the batch is of the old generation, or of the new one."""
    step = story.step("fold")
    switch, write = ("upkeep", "switch", "crm", "1", "2"), ingest(story.folder, "crm", 3)
    site = story.site_before(step, home)
    ended = _delayed(site, number, write, switch)
    assert [program.code for program in ended] == [0, 0], ended
    with site.catalog as catalog:
        generation = catalog.batch("crm-3").generation
    clean = story.clean(step, switch, write) if generation == 2 else story.clean(step, write, switch)
    assert_same(site.snapshot(), clean)
    return f"of generation {generation}"


def a_deletion_beside_an_ingest(story: Story, home: Path, number: int) -> str:
    """A batch of events is deleted while another one comes in that has an event of it, too.

    Whichever is first, readers find the events of the other one, and what went is what the plan said that was approved
    last.
    """
    step = story.step("delete")
    site = story.site_before(step, home)
    ended = _delayed(site, number, step.arguments, ingest(story.folder, "web", 3))
    assert [program.code for program in ended] == [0, 0], ended
    site.done("tessera", "refresh")
    profiles = [json.loads(row) for row in site.snapshot()["profiles/default (published)"]]
    # One cookie is everybody's, so e1 and e6 are events of one profile.
    assert [one[EVENTS] for one in profiles if "CRMID:c6" in one[IDENTITIES]] == [2]
    assert sum(one[EVENTS] or 0 for one in profiles) == 2
    with site.catalog as catalog:
        [job] = [job for job in catalog.system_jobs().jobs if job.batch_id == "web-1"]
    assert job.status is SystemJobStatus.SUCCESS
    removed = SystemJobResult.model_validate(job.result).removed
    assert Plan.model_validate(job.plan).removed == removed
    first = "the ingest first" if removed.applied_again else "the deletion first"
    return f"{first}, and its job asks again" if job.plan_number > 1 else first


RACES: tuple[Race, ...] = (
    a_worker_taken_for_dead_and_its_retry,
    two_attempts_at_one_batch,
    two_processes_at_one_store,
    two_batches_of_one_dataset,
    a_fold_beside_a_write,
    a_generation_switch_beside_an_ingest,
    a_deletion_beside_an_ingest,
)


def _is_locked(site: Site) -> bool:
    """Say whether somebody is in the middle of a transaction."""
    with closing(sqlite3.connect(site.home / "catalog.db", timeout=0, isolation_level=None)) as catalog:
        try:
            catalog.execute("BEGIN IMMEDIATE")
            catalog.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
    return False


def _together(site: Site, *commands: tuple[str, ...]) -> list[Ended]:
    return [program.wait() for program in [site.start(*command) for command in commands]]


def _delayed(site: Site, number: int, first: tuple[str, ...], second: tuple[str, ...]) -> list[Ended]:
    """Start the second command when the first has come a way that depends on the round's number."""
    begun = site.start(*first)
    begun.wait_until(lambda: begun.seconds > number % 10 * 0.4)
    return [program.wait() for program in [begun, site.start(*second)]]


def _holders(root: str) -> int:
    """Count those of two threads that get a store for a Spark of their own."""
    gate = threading.Barrier(2)

    def hold() -> int:
        gate.wait()
        try:
            with hold_store(root, "a race"):
                gate.wait(10)
                return 1
        except StoreError:
            gate.wait(10)
            return 0

    with ThreadPoolExecutor(2) as pool:
        return sum(future.result() for future in [pool.submit(hold) for _ in range(2)])


def _folded(snapshot: Snapshot) -> Snapshot:
    """Leave out how many folds it took."""
    return {name: sorted(re.sub(r'"_part": "\d+-\d+"', "", row) for row in rows) for name, rows in snapshot.items()}
