"""What a look into the landing folders is asked, and what it found."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from jobs.catalog.definitions import DatasetId
from jobs.catalog.records import Batch
from jobs.ingest.models import IngestParams
from jobs.settings import Sandbox

_NAMED = 5
_KEPT = 500
_SHOWN_CHARACTERS = 80


class ScanParams(BaseModel):
    """Where to look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sandbox: Sandbox | None = Field(
        default=None, description="Look into the folder of this sandbox only. Empty: into those of all sandboxes."
    )
    dataset: DatasetId | None = Field(
        default=None, description="Look into the folders of this dataset only. Empty: into those of all datasets."
    )


class Outcome(StrEnum):
    """What became of a file, or of a folder whose files are one batch."""

    TAKEN = "taken"
    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "failed"
    DUPLICATE = "duplicate"
    WAITING = "waiting"
    IGNORED = "ignored"
    STUCK = "stuck"


class Found(BaseModel):
    """One file, or one folder whose files are one batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    place: str = Field(description="<sandbox>/<dataset>/<name>, as far as it has one")
    outcome: Outcome
    batch: str = Field(default="", description="Batch that holds its rows; empty when there is none")
    reason: str = ""

    def told(self) -> str:
        """Say it in one line; nothing in a name breaks the line, or is half a character."""
        return shown(self.place) + (f" ({shown(self.reason, 500)})" if self.reason else "")


class ScanResult(BaseModel):
    """What one look into the landing folders found and did."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str
    found: tuple[Found, ...] = ()

    def of(self, outcome: Outcome) -> list[Found]:
        """List what had one outcome."""
        return [found for found in self.found if found.outcome is outcome]

    @property
    def counts(self) -> dict[str, int]:
        """Number of files and folders by outcome; only those that occur."""
        return {outcome.value: len(of) for outcome in Outcome if (of := self.of(outcome))}

    @property
    def summary(self) -> str:
        """Say it in one line."""
        counted = ", ".join(f"{number} {outcome}" for outcome, number in self.counts.items())
        return counted or f"nothing in {shown(self.folder, 200)}"

    @property
    def note(self) -> str:
        """Say it beside the run: the counts, and what a person may have to mend."""
        troubling = (Outcome.STUCK, Outcome.FAILED, Outcome.IGNORED, Outcome.DUPLICATE)
        return "\n".join([self.summary, *(f"{of}: {_names(self.of(of), 3)}" for of in troubling if self.of(of))])

    def document(self, most: int = _KEPT) -> dict[str, Any]:
        """Return the JSON document that is kept with the run; of very many files it names the first ones."""
        return {
            "folder": shown(self.folder, 400),
            "counts": self.counts,
            "found": [found.model_dump(mode="json") for found in self.found[:most]],
        }

    def lines(self, most: int = _NAMED) -> list[str]:
        """Say it for a person: one line an outcome, with the names of the first ones."""
        return [f"{outcome}: {_names(self.of(outcome), most)}" for outcome in Outcome if self.of(outcome)]


class RunState(BaseModel):
    """How the run that was asked for fares."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    is_over: bool = False
    note: str = Field(default="", description="What it says about its end")


Ask = Callable[[IngestParams, Batch, str], RunState]
"""Ask for the run of a batch, by the run's id. Asking again for the same one starts nothing and tells its state."""


def shown(name: str | Path, most: int = _SHOWN_CHARACTERS) -> str:
    """Show a name in one line of a log: what is no printable letter is escaped, the middle of a long one left out."""
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(name))
    return text if len(text) <= most else f"{text[: most - 21]}…{text[-20:]}"


def _names(found: list[Found], most: int) -> str:
    rest = f" and {len(found) - most} more" if len(found) > most else ""
    return f"{len(found)}: {'; '.join(one.told() for one in found[:most])}{rest}"
