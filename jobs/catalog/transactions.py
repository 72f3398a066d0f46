"""Opening a catalog, and one transaction of it: what every part of the catalog's methods is built on."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from sqlalchemy import URL, Engine
from sqlalchemy.orm import Session

from jobs.catalog import connection
from jobs.catalog.migrating import migrate
from jobs.catalog.scope import Scope
from jobs.errors import InvalidRequest, TesseraError, shortened
from jobs.faults import Fault, reach
from jobs.settings import SANDBOX_PATTERN


def utc_now() -> datetime:
    """Return this machine's clock in UTC."""
    return datetime.now(UTC)


class Transactions:
    """Records of one sandbox. Safe to share between threads; a forked process opens its own."""

    def __init__(self, engine: Engine, url: URL, sandbox: str, actor: str, clock: Callable[[], datetime]) -> None:
        self.sandbox = sandbox
        self.actor = actor
        self._engine = engine
        self._writing_engine = connection.writing(engine)
        self._url = url
        self._clock = clock

    @classmethod
    def open(cls, url: str, sandbox: str, actor: str, clock: Callable[[], datetime] = utc_now) -> Self:
        """Open a catalog; a new one gets its tables, an old one its migrations.

        Args:
            url: SQLAlchemy URL, sqlite:///… or postgresql+psycopg://….
            sandbox: everything is read and written in it.
            actor: who changes things; noted with every change.
            clock: where the instants of changes and leases come from.

        Raises:
            InvalidRequest: the URL or the sandbox's name breaks its rule.
            StoreError: the database is away or cannot be written; the message has no password.
        """
        if not re.fullmatch(SANDBOX_PATTERN, sandbox):
            raise InvalidRequest(
                f"sandbox {shortened(sandbox)} is not allowed: 1 to 31 characters a-z 0-9 _, the first one a letter"
            )
        parsed = connection.parse_url(url)
        engine = connection.connect(parsed)
        try:
            migrate(engine, parsed)
        except TesseraError:
            engine.dispose()
            raise
        return cls(engine, parsed, sandbox, actor, clock)

    def close(self) -> None:
        """Close the connections; using the catalog again opens new ones."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _reading(self) -> Iterator[Scope]:
        with connection.refusals(self._url), Session(self._engine) as session, session.begin():
            yield self._scope(session)

    @contextmanager
    def _writing(self, fault: Fault) -> Iterator[Scope]:
        with connection.refusals(self._url), Session(self._writing_engine) as session:
            with session.begin():
                yield self._scope(session)
                reach(fault, "before")
            reach(fault, "after")

    def _scope(self, session: Session) -> Scope:
        # Begun first: the wait for another writer is over when the clock is read.
        session.connection()
        return Scope(session, self.sandbox, self.actor, self._clock())
