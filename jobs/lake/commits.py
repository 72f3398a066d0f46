"""Who makes a commit, and what it did: records that can be read without Spark."""

import uuid

from pydantic import BaseModel, ConfigDict


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CommitInfo(_Model):
    """Who makes a commit; found again in the table's history as `userMetadata`."""

    job: str
    batch: str = ""
    attempt: str = ""
    run: str = ""

    def user_metadata(self) -> str:
        """Return the JSON text of one write; each call makes another one, so that a write finds its own commit."""
        return CommitText(**self.model_dump(), write=uuid.uuid4().hex).model_dump_json()


class CommitText(CommitInfo):
    """The JSON document in a table's history."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    write: str


class Written(_Model):
    """What a commit did: rows, files and bytes added, and the table's version that it made."""

    rows: int
    files: int
    bytes: int
    version: int
