"""A site on a disk that fills up just before a commit."""

import re
from pathlib import Path

from jobs.faults import Fault
from tests.crash.points import assert_like_clean
from tests.crash.site import Site
from tests.crash.story import Step, Story
from tests.disks import full, mounted

# In ours, and in SQLite's.
FULL = ("disk is full", "have space")
# What a refusal names: the catalog, the staging, or one of the tables of the story.
_PLACE = re.compile(
    r"\bthe catalog\b|\bstaging\b|\b(lake|quarantine|fragments|events|links)/(crm|web): |\b(identities|merged_ids): "
    r"|\bprofiles/(default|alone): |\breports/\w+: |\bexports/people(_identities)?: "
)
# The steps that are played on a disk that is full just before their commits.
FILLED = {
    "apply": (Fault.APPLY_DEFINITIONS,),
    "records": (
        Fault.CREATE_BATCH,
        Fault.BEGIN_ATTEMPT,
        Fault.CREATE_TABLE,
        Fault.QUARANTINE,
        Fault.LAKE,
        Fault.FRAGMENTS,
        Fault.LINKS,
        Fault.FINISH_BATCH,
    ),
    "events": (Fault.EVENTS,),
    "refresh-that-joins": (Fault.IDENTITIES, Fault.MERGED_IDS, Fault.PROFILES, Fault.PUBLISH_REFRESH),
    "preview": (Fault.CREATE_PREVIEW, Fault.REPORT, Fault.FINISH_PREVIEW),
    "export": (Fault.EXPORT_IDENTITIES, Fault.EXPORT, Fault.FINISH_EXPORT),
    "records-of-more-columns": (Fault.ALTER_TABLE,),
    "fold": (Fault.FOLD,),
    "maintain": (
        Fault.CREATE_MAINTENANCE,
        Fault.COMPACT_EVENTS,
        Fault.MERGE_FILES,
        Fault.DROP_UNKNOWN,
        Fault.SET_RETENTION,
        Fault.FINISH_MAINTENANCE,
    ),
    "switch": (Fault.SWITCH_GENERATION,),
    "clear": (Fault.CLEAR,),
    "delete": (Fault.APPLY_SYSTEM_JOB, Fault.TAKE_OUT, Fault.FOLD),
}


def fill_at(story: Story, step: Step, faults: tuple[Fault, ...], home: Path) -> str:
    """Fill the disk just before each of a step's commits, one attempt after the other, and run the step again."""
    with mounted(home):
        site = story.site_before(step, home)
        for fault in faults:
            _fails_at(site, step, fault)
        assert_like_clean(story, step, site)
    return "refused; as a clean run when there is room"


def _fails_at(site: Site, step: Step, fault: Fault) -> None:
    readable = site.snapshot_of_tables()
    program = site.start(*step.arguments, **step.environment, TESSERA_PAUSE=f"{fault}:before:1")
    assert program.wait_until_stopped(), f"{step.name} never comes to {fault}: {program.wait()}"
    with full(site.home):
        program.go_on()
        ended = program.wait()
        assert ended.code == 1, ended.output
        last = ended.output.rpartition("error: ")[2]
        assert any(sign in last for sign in FULL), ended.output
        assert _PLACE.search(last), last
        # All that could be read before can be read now; what was committed meanwhile is of no batch that counts.
        assert readable.keys() <= site.snapshot_of_tables().keys()
