"""Ending the operations of a session so that none of them can commit any more.

The server runs each operation in a thread of its own. Interrupting cancels the Spark jobs and interrupts the thread,
but what is past its last job goes on: a Delta commit under way is finished. GetStatus does not tell when that is
over: an operation counts as cancelled as soon as the server has dropped it (its client released it, or stayed away
for five minutes), however long its thread goes on; and an operation that was dropped and interrupted at the same
moment counts as running for ever (2 of 6 clients that were interrupted from the keyboard).

So the criterion is the thread: the server names it by the operation's id, and the SQL function `reflect` lists the
threads of the driver, where a query over literals is evaluated. An operation that was interrupted and has no thread
will never do anything more: it has ended, or it was interrupted before it began and then never begins. Once none is
left, the session is released, after which the server accepts nothing more under its id: an attempt that was only to
begin cannot make its session any more.
"""

import logging
import re
import time
from collections.abc import Iterable

from pyspark.errors import PySparkException
from pyspark.sql.connect.proto import GetStatusResponse
from pyspark.sql.connect.session import SparkSession as ConnectSession

from jobs.errors import StoreError

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_Status = GetStatusResponse.OperationStatus
_GONE = (
    "INVALID_HANDLE.SESSION_NOT_FOUND",
    "INVALID_HANDLE.SESSION_CLOSED",
    "INVALID_HANDLE.SESSION_CHANGED",
    # For a session that is only to begin: somebody ended it, or is ending it; or the server made it, and its answer was
    # lost.
    "INVALID_CLONE_SESSION_REQUEST.TARGET_SESSION_ID_ALREADY_CLOSED",
    "INVALID_CLONE_SESSION_REQUEST.TARGET_SESSION_ID_ALREADY_EXISTS",
)
_THREADS = "SELECT reflect('java.lang.Thread', 'getAllStackTraces') AS threads FROM VALUES (1)"
_THREAD = re.compile(r"SparkConnectExecuteThread_opId=([0-9a-f-]{36})")


def end_operations(former: ConnectSession, observer: ConnectSession, timeout_seconds: float) -> None:
    """Interrupt every operation of a session, wait until none can do anything more, and release the session.

    Args:
        former: a client of the session to end; another process may have another.
        observer: a session of its own on the same server, to look at its threads with.
        timeout_seconds: how long to wait; an interrupted operation usually ends within a second.

    Raises:
        StoreError: an operation is still at work after the timeout.
    """
    deadline = time.monotonic() + timeout_seconds
    interrupted: set[str] = set()
    try:
        while True:
            former.interruptAll()
            # There is no public name for the GetStatus call yet.
            statuses = former.client._get_operation_statuses().operation_statuses
            working = _working(statuses, interrupted, operation_threads(observer))
            if not working:
                break
            if time.monotonic() > deadline:
                raise StoreError(
                    f"Spark operations {', '.join(sorted(working))} still run {timeout_seconds:g} s after they were "
                    "interrupted: wait for them, or restart the Spark server"
                )
            interrupted = {status.operation_id for status in statuses}
            time.sleep(_LOOK_SECONDS)
        former.client.release_session()
    except PySparkException as refused:
        if not is_gone(refused):
            raise


def is_gone(error: PySparkException) -> bool:
    """Say whether an error means that the session is not, or no longer, its client's to use."""
    return error.getCondition() in _GONE


def _working(statuses: Iterable[_Status], interrupted: set[str], threads: set[str] | None) -> set[str]:
    running = {status.operation_id for status in statuses if status.state == _Status.OPERATION_STATE_RUNNING}
    if threads is None:
        return running
    return ({status.operation_id for status in statuses} & threads) | (running - interrupted)


def operation_threads(observer: ConnectSession) -> set[str] | None:
    """List the operations, of every session, that have a thread; None where the server does not let it be seen.

    The one that asks is among them.
    """
    try:
        rows = observer.sql(_THREADS).collect()
    except PySparkException as refused:
        if is_gone(refused):
            raise
        logger.warning("this Spark server does not list its threads (%s): its word is taken", refused.getCondition())
        return None
    return set(_THREAD.findall(rows[0].threads))
