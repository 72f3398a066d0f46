"""Sessions on a Spark Connect server, and ending the work of a former one.

A Connect server goes on with what a client asked when the client is gone, and commits it later. Therefore every
attempt at a job has a session id of its own, kept on its record; whoever tries again, or cleans up, calls `interrupt`
with the former attempt's id before anything else.
"""

import contextlib
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from urllib.parse import quote, urlparse

import grpc
from pyspark.errors import PySparkException
from pyspark.errors.exceptions.connect import SparkConnectGrpcException
from pyspark.sql import SparkSession
from pyspark.sql.connect.client import DefaultChannelBuilder
from pyspark.sql.connect.client.retries import DefaultPolicy
from pyspark.sql.connect.session import SparkSession as ConnectSession

from jobs.errors import EngineAway, InvalidRequest, StoreError
from jobs.session.engines import Engine, EngineKind
from jobs.session.operations import end_operations, is_gone
from jobs.session.secret import TOKEN_VARIABLE, engine_token
from jobs.session.server import ensure_running
from jobs.session.server_state import be_client, is_kept, read_state, takes_connections
from jobs.session.signals import signals_raise
from jobs.session.submit import end_submitted
from jobs.settings import Settings

logger = logging.getLogger(__name__)

# The server knows a session by user and id: one user whoever runs the process, so that any process can interrupt it.
_USER = "tessera"
_CONNECT_PORT = 15002
# In all about a minute of a server that is gone, instead of pyspark's ten.
_MOST_RETRIES = 9
_LONGEST_BACKOFF_MS = 10_000
_END_SECONDS = 60.0
# What the tables' contents depend on, and a server that is not ours may have set otherwise; reasons in
# conf/spark-defaults.conf.
_SESSION_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "false",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Whether the files of a version are there is maintenance's business: it keeps those of cuts for longer than a table
    # says, and a version that is put back may be the one of last month.
    "spark.databricks.delta.vacuum.enforceTimeTravelWithinDeletedFileRetentionDuration": "false",
}
# A Connect server gives each session a class loader of its own, for jars that a client may add, and so compiles the
# code of every query anew for each job. Jobs add none: they share one, and what is compiled and optimized. The server's
# main program sets both over any configuration, and a session keeps what its first call finds; only a copy of a session
# looks again.
_SHARING = {
    "spark.sql.artifact.isolation.enabled": "false",
    "spark.sql.artifact.isolation.alwaysApplyClassloader": "false",
}


def new_session_id() -> str:
    """Make the session id of one attempt."""
    return str(uuid.uuid4())


def recorded_as(settings: Settings, engine: Engine) -> str:
    """Name an engine for an attempt's record: the own server of this TESSERA_HOME by kind, since its port may change.

    By an address of former days nobody could tell it from a server elsewhere that is away.
    """
    return str(EngineKind.EMBEDDED if _is_own(settings, engine) else engine)


@contextmanager
def open_session(settings: Settings, engine: Engine, session_id: str) -> Iterator[SparkSession]:
    """Open a session for one attempt, and end it with everything it still runs.

    The embedded server is started when none runs. In the main thread SIGTERM and SIGINT end the block by an
    exception. When the block ends by any exception, its running operations are interrupted and over before the
    exception goes on.

    Args:
        settings: of this installation.
        engine: embedded or a Connect server.
        session_id: from `new_session_id`, used once.

    Raises:
        EngineAway: no server answers at the address within `engine.connect_timeout_seconds`, or it refuses the token.
        StoreError: it went away later, or ended the session.
        InvalidRequest: the engine is one for spark-submit.
    """
    with _as_client(settings, engine):
        address = _address(settings, engine)
        session = _connect(settings, address, session_id)
        try:
            _begin(settings, address, session)
            with signals_raise():
                try:
                    yield cast(SparkSession, session)
                except BaseException as ended:
                    # Released here and still at work, an operation could not be found by the next attempt.
                    session.release_session_on_close = _end_quietly(settings, address, session_id)
                    _explain(ended, address)
                    raise
        finally:
            session.stop()


def interrupt(settings: Settings, engine: Engine, session_id: str, timeout_seconds: float) -> None:
    """End every operation of a former session, from any process; afterwards no commit of that session can appear.

    A session that the server does not know, and an embedded server that does not run, have nothing to end.

    Raises:
        StoreError: no server answers, or an operation still runs after the timeout.
    """
    if engine.kind is EngineKind.SUBMIT:
        end_submitted(settings, session_id)
        return
    # Sessions live in the JVM: one that is gone took its operations along.
    if _is_own(settings, engine):
        state = read_state(settings.home)
        if state is None or state.jvm() is None:
            return
    with _as_client(settings, engine):
        _end(settings, _address(settings, engine), session_id, timeout_seconds)
        logger.info("session %s has nothing at work any more", session_id)


@contextmanager
def _as_client(settings: Settings, engine: Engine) -> Iterator[None]:
    with be_client(settings.home) if engine.kind is EngineKind.EMBEDDED else contextlib.nullcontext():
        yield


def _address(settings: Settings, engine: Engine) -> str:
    """Give the connection string without a session id; it holds the token, so it is never shown."""
    if engine.kind is EngineKind.SUBMIT:
        raise InvalidRequest(f"engine {engine}: takes no session, its jobs are sent by spark-submit")
    if engine.kind is EngineKind.EMBEDDED:
        return f"{ensure_running(settings)}/;user_id={_USER};token={quote(engine_token(settings.home), safe='')}"
    server, _, given = engine.target.partition("/;")
    parameters = [p for p in given.split(";") if p and not p.startswith("session_id=")]
    if not any(p.startswith("user_id=") for p in parameters):
        parameters.append(f"user_id={_USER}")
    if _is_own(settings, engine):
        if is_kept(settings.home):
            # It may be starting again after it died.
            ensure_running(settings)
        # A command has not the environment of the platform, whose attempts name their server by address.
        if not any(p.startswith("token=") for p in parameters):
            parameters.append(f"token={quote(engine_token(settings.home), safe='')}")
    return f"{server.rstrip('/')}/;{';'.join(parameters)}"


def _is_own(settings: Settings, engine: Engine) -> bool:
    """Say whether an engine is the embedded server of this TESSERA_HOME, by kind or by address."""
    own = f"sc://localhost:{settings.network.engine_port}"
    return engine.kind is EngineKind.EMBEDDED or str(engine).rstrip("/") == own


def _connect(settings: Settings, address: str, session_id: str) -> ConnectSession:
    """Make a client of a session, once the server is known to answer; pyspark would wait for minutes."""
    server = _shown(address)
    remedy = "is it running? `./run up` starts the platform's (engine.connect_timeout_seconds)"
    url = urlparse(server)
    limit = settings.engine.connect_timeout_seconds
    began = time.monotonic()
    if not takes_connections(url.hostname or "", url.port or _CONNECT_PORT, limit):
        raise EngineAway(f"no Spark Connect server answers at {server}: {remedy}")
    channel = DefaultChannelBuilder(address).toChannel()
    try:
        grpc.channel_ready_future(channel).result(max(0.1, limit - (time.monotonic() - began)))
    except grpc.FutureTimeoutError:
        raise EngineAway(
            f"what listens at {server} does not answer as a Spark Connect server: {remedy}; with a token any host but "
            "'localhost' needs TLS"
        ) from None
    finally:
        channel.close()
    session = cast(ConnectSession, SparkSession.builder.remote(f"{address};session_id={session_id}").create())
    session.client.set_retry_policies([DefaultPolicy(max_retries=_MOST_RETRIES, max_backoff=_LONGEST_BACKOFF_MS)])
    return session


def _begin(settings: Settings, address: str, session: ConnectSession) -> None:
    """Make the session on the server, as a copy of one that shares what is compiled, and set what jobs rely on."""
    template = _connect(settings, address, new_session_id())
    try:
        for key, value in _SHARING.items():
            template.conf.set(key, value)
        _copy(template, session.session_id)
        for key, value in _SESSION_SETTINGS.items():
            session.conf.set(key, value)
    except SparkConnectGrpcException as refused:
        # One that does not answer would be asked for a minute to release them.
        template.release_session_on_close = session.release_session_on_close = is_gone(refused)
        _explain(refused, address)
        raise
    finally:
        template.stop()


def _copy(template: ConnectSession, session_id: str) -> None:
    try:
        template.client.clone(session_id).close()
    except grpc.RpcError as refused:
        # It leaves its errors as they come.
        template.client._handle_error(refused)


def _end(settings: Settings, address: str, session_id: str, timeout_seconds: float) -> None:
    with contextlib.ExitStack() as both:
        former = _connect(settings, address, session_id)
        former.release_session_on_close = False
        both.callback(former.stop)
        observer = _connect(settings, address, new_session_id())
        both.callback(observer.stop)
        try:
            end_operations(former, observer, timeout_seconds)
        except SparkConnectGrpcException as refused:
            _explain(refused, address)
            raise


def _end_quietly(settings: Settings, address: str, session_id: str) -> bool:
    """End the session's operations while another error is on its way; say whether that worked."""
    try:
        _end(settings, address, session_id, _END_SECONDS)
    except (StoreError, PySparkException) as refused:
        logger.warning("the operations of session %s were not ended: %s", session_id, refused)
        return False
    return True


def _explain(ended: BaseException, address: str) -> None:
    """Raise a StoreError instead, when it was the server that went away or refused; the first call is refused."""
    server = _shown(address)
    if not isinstance(ended, PySparkException):
        return
    if is_gone(ended) or ended.getCondition() == "OPERATION_CANCELED":
        raise StoreError(
            f"the session at {server} was ended from elsewhere: another attempt took over, or the server was restarted "
            "or lost an answer"
        ) from ended
    status = ended.getGrpcStatusCode() if isinstance(ended, SparkConnectGrpcException) else None
    if status is grpc.StatusCode.UNAVAILABLE:
        raise StoreError(f"the Spark server at {server} went away during the job: try again") from ended
    if status is grpc.StatusCode.UNAUTHENTICATED:
        raise EngineAway(
            f"the Spark server at {server} refuses the token: set the right one in {TOKEN_VARIABLE} or in the address "
            "(;token=); the embedded server's is in TESSERA_HOME/secrets.json"
        ) from None


def _shown(address: str) -> str:
    return address.partition("/;")[0]
