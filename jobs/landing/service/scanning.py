"""One look into the landing folders."""

import fcntl
import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import DatasetKind
from jobs.catalog.records import Batch, BatchStatus, InputFile
from jobs.errors import Conflict, InvalidRequest, NotFound, StoreError
from jobs.ingest.models import IngestParams
from jobs.ingest.service.batches import IngestService
from jobs.landing.models import Ask, Found, Outcome, RunState, ScanParams, ScanResult, shown
from jobs.landing.service.arriving import Arrival, LeftAlone, arrivals
from jobs.landing.service.claims import Claim, Instants, aside, claims, file_aside, mended, named, take
from jobs.landing.service.settling import put_aside
from jobs.settings import Settings

logger = logging.getLogger(__name__)


def scan(settings: Settings, params: ScanParams, ask: Ask, run: str, actor: str, now: datetime) -> ScanResult:
    """Look into the landing folders: finished files become batches, whose runs are asked for; ended ones are put aside.

    Batches of one dataset are asked for in the order of the names that one look finds, and what one look took before
    what the next one takes. A folder that cannot be looked into, or a run that cannot be started, keeps no other
    waiting: it is STUCK, and the next look tries again.

    Args:
        settings: of this installation.
        params: where to look.
        ask: starts the run of a batch.
        run: who looks, noted with what it changes.
        actor: who opens the catalog.
        now: what the age of files is measured against.

    Raises:
        StoreError: the catalog is away, or whoever starts runs.
    """
    root = settings.landing_root
    found: list[Found] = []
    if root.is_dir():
        try:
            with _only_one(root):
                for folder in _folders(root, params.sandbox, found):
                    found += _sandbox(settings, params, folder, ask, run, actor, now)
        except OSError as refused:
            raise StoreError(f"{refused.filename or root}: cannot be looked into: {refused.strerror}") from refused
    return ScanResult(folder=str(root), found=tuple(found))


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Wait until nobody else looks: an empty claim is one that another look is about to fill."""
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("somebody else looks into %s; waiting", root)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folders(parent: Path, wanted: str | None, found: list[Found], place: str = "") -> Iterator[Path]:
    for path in sorted(parent.iterdir()):
        if path.name.startswith(".") or wanted not in (None, path.name):
            continue
        if path.is_symlink() or not path.is_dir():
            reason = (
                "a link; mount the folder here" if path.is_symlink() else "no folder; files lie in that of a dataset"
            )
            found.append(Found(place=place + path.name, outcome=Outcome.IGNORED, reason=reason))
        else:
            yield path


def _sandbox(
    settings: Settings, params: ScanParams, folder: Path, ask: Ask, run: str, actor: str, now: datetime
) -> list[Found]:
    found: list[Found] = []
    try:
        opened = Catalog.open(settings.catalog_url, folder.name, actor)
    except InvalidRequest as refused:
        return [Found(place=folder.name, outcome=Outcome.IGNORED, reason=str(refused))]
    with opened as catalog:
        for inner in _folders(folder, params.dataset, found, f"{folder.name}/"):
            look = _Look(catalog, settings, ask, run, now, inner, found)
            try:
                look.all()
            except OSError as refused:
                look.say("", Outcome.STUCK, f"{refused.strerror}: {refused.filename}")
    return found


@dataclass
class _Look:
    """A look into the folder of one dataset."""

    catalog: Catalog
    settings: Settings
    ask: Ask
    run: str
    now: datetime
    folder: Path
    found: list[Found]
    holders: dict[str, list[tuple[str, BatchStatus]]] | None = None

    def all(self) -> None:
        """Go on with what was taken before, then take what is new."""
        try:
            if self.catalog.dataset(self.folder.name).definition.kind is DatasetKind.PROFILES:
                self.say("", Outcome.IGNORED, "of kind profiles, which only export jobs write")
                return
        except NotFound as unknown:
            self.say("", Outcome.IGNORED, str(unknown))
            return
        for claim in claims(self.folder):
            try:
                if mended(claim):
                    self._go_on(claim, Outcome.UNDER_WAY if claim.batch_id else Outcome.TAKEN)
            except FileNotFoundError:
                # Its run has put it aside meanwhile.
                if claim.path.exists():
                    raise
        instants = Instants(self.folder, self.now)
        for arrival in arrivals(self.folder, self.settings.landing, self.now):
            if isinstance(arrival, LeftAlone):
                self.say(arrival.name, arrival.outcome, arrival.reason)
            elif taken := self._taken(arrival, instants):
                self._go_on(taken, Outcome.TAKEN)

    def _taken(self, arrival: Arrival, instants: Instants) -> Claim | None:
        try:
            return take(arrival, instants.next())
        except FileNotFoundError:
            # Taken back meanwhile; the next look removes what is left of the claim.
            if arrival.path.exists():
                raise
            return None

    def say(self, name: str, outcome: Outcome, reason: str = "", batch: str = "") -> None:
        """Note what became of something."""
        place = f"{self.folder.parent.name}/{self.folder.name}" + (f"/{name}" if name else "")
        self.found.append(Found(place=shown(place, 400), outcome=outcome, batch=batch, reason=reason))

    def _go_on(self, claim: Claim, outcome: Outcome) -> None:
        """Bring a claim as far as it gets now."""
        name = claim.name
        try:
            if claim.batch_id:
                self._run(claim, name, outcome)
            elif named_claim := self._named(claim, name):
                claim = named_claim
                self._run(claim, name, outcome)
        except (InvalidRequest, NotFound) as refused:
            aside(claim, "failed", str(refused))
            self.say(name, Outcome.FAILED, str(refused))
        except Conflict as refused:
            self.say(name, Outcome.STUCK, str(refused), claim.batch_id)

    def _named(self, claim: Claim, name: str) -> Claim | None:
        """Find out what a claim holds, and name it; None when it holds nothing to ingest, or not yet."""
        new = self._new(claim, name, self._examined(claim))
        return named(claim, batch_id(self.folder.name, new)) if new else None

    def _new(self, claim: Claim, name: str, files: Sequence[InputFile]) -> list[InputFile]:
        """Leave out the files whose contents were ingested already; none are left while a copy of one is under way."""
        if self.holders is None:
            # Read once a look: there may be very many batches. What the look itself records is noted there.
            self.holders = self.catalog.holders(self.folder.name)
        claimed = {other.batch_id for other in claims(self.folder) if other.batch_id}
        new: dict[str, InputFile] = {}
        copies: list[tuple[InputFile, str]] = []
        for file in files:
            held = {status: holder for holder, status in self.holders.get(file.digest, [])}
            under_way = [holder for holder, _ in self.holders.get(file.digest, []) if holder in claimed]
            if BatchStatus.ACTIVE in held or file.digest in new:
                copies.append((file, held.get(BatchStatus.ACTIVE, "")))
            elif running := held.get(BatchStatus.PROCESSING) or next(iter(under_way), ""):
                self.say(name, Outcome.WAITING, f"the same bytes are in batch {running}, which has not ended", running)
                return []
            else:
                new[file.digest] = file
        self._put_copies_aside(claim, name, list(new.values()), copies)
        return list(new.values())

    def _put_copies_aside(
        self, claim: Claim, name: str, new: Sequence[InputFile], copies: Sequence[tuple[InputFile, str]]
    ) -> None:
        of = next((holder for _, holder in copies if holder), "")
        reason = f"batch {of} has ingested the same bytes" if of else "the same bytes twice in one batch"
        if not new:
            aside(claim, "duplicates", reason, of)
        for file, holder in copies if new else ():
            file_aside(claim, Path(file.path), "duplicates", holder or batch_id(self.folder.name, new))
        if copies:
            some = f"{len(copies)} of its files: " if new else ""
            self.say(name, Outcome.DUPLICATE, some + reason, of)

    def _run(self, claim: Claim, name: str, outcome: Outcome) -> None:
        """Ask for the run of a claim's batch unless that has ended; then put the claim aside."""
        batch = self._recorded(claim)
        if batch.status is BatchStatus.ACTIVE:
            self._put_aside(claim, name, batch, Outcome.DONE, "")
            return
        if self._is_held(batch):
            self.say(name, Outcome.UNDER_WAY, batch=batch.id)
            return
        try:
            state = self.ask(self._params(claim), batch, run_id(batch, claim))
        except (InvalidRequest, NotFound, Conflict) as refused:
            self.say(name, Outcome.STUCK, f"its run cannot be started: {refused}", batch.id)
            return
        self._after(claim, name, batch, state, outcome)

    def _after(self, claim: Claim, name: str, batch: Batch, state: RunState, outcome: Outcome) -> None:
        """See what became of a batch whose run was asked for."""
        if not state.is_over:
            self.say(name, outcome, batch=batch.id)
            return
        batch = self.catalog.batch(batch.id)
        if batch.status is BatchStatus.PROCESSING:
            reason = "its run has ended and left the batch open; maintenance closes it"
            self.say(name, Outcome.UNDER_WAY, reason, batch.id)
        elif batch.status is BatchStatus.ACTIVE:
            self._put_aside(claim, name, batch, Outcome.DONE, "")
        else:
            said = batch.reason if ran_in(batch, run_id(batch, claim)) else ""
            reason = said or state.note or "its run ended before the batch began"
            self._put_aside(claim, name, batch, Outcome.FAILED, reason)

    def _put_aside(self, claim: Claim, name: str, batch: Batch, outcome: Outcome, reason: str) -> None:
        put_aside(self.catalog, claim, outcome.value, batch, reason, self.run)
        self.say(name, outcome, reason, batch.id)

    def _recorded(self, claim: Claim) -> Batch:
        """Return the record of a claim's batch; one that failed in a former claim is sent again."""
        paths = {str(path) for path in claim.files()}
        try:
            batch = self.catalog.batch(claim.batch_id)
            is_known = paths == {file.path for file in batch.files} or ran_in(batch, run_id(batch, claim))
            if is_known or batch.status in (BatchStatus.ACTIVE, BatchStatus.PROCESSING):
                return batch
        except NotFound:
            pass
        batch = self._service().create(self._params(claim), self._examined(claim), self.run)
        if self.holders is not None:
            for file in batch.files:
                self.holders.setdefault(file.digest, []).append((batch.id, batch.status))
        return batch

    def _is_held(self, batch: Batch) -> bool:
        lease = self.catalog.lease(batch.dataset_id) if batch.status is BatchStatus.PROCESSING else None
        return lease is not None and lease.batch_id == batch.id and lease.expires_at > self.now

    def _examined(self, claim: Claim) -> list[InputFile]:
        if not claim.files():
            raise InvalidRequest(f"{claim.name}: a folder without files; nothing is ingested")
        return self._service().examine(self._params(claim))

    def _service(self) -> IngestService:
        return IngestService(self.catalog, self.settings)

    def _params(self, claim: Claim) -> IngestParams:
        return IngestParams(
            dataset=self.folder.name,
            files=tuple(str(path) for path in claim.files()),
            batch_id=claim.batch_id or None,
            sandbox=self.catalog.sandbox,
        )


def batch_id(dataset: str, files: Sequence[InputFile]) -> str:
    """Derive a batch's id from what makes it the same batch: its dataset, and its files by name and content."""
    content = "\0".join([dataset, *sorted(f"{file.digest} {file.name}" for file in files)])
    return f"{dataset[:31]}-{hashlib.sha256(content.encode()).hexdigest()[:32]}"


def run_id(batch: Batch, claim: Claim) -> str:
    """Name the run of a claim. A file that failed and was dropped again is another claim, and gets another run."""
    return f"ingest-{batch.sandbox}-{batch.id}.{claim.instant}"


def ran_in(batch: Batch, run: str) -> bool:
    """Tell whether a batch's last attempt was made by a run, whatever the task and the try."""
    return batch.run.split("/")[1:2] == [run]
