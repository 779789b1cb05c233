"""Connections to Postgres: one engine per process, and transactions that survive a database restart."""

import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from config.endpoints import database_url
from config.settings import ConfigurationError, settings

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_TIMEOUT_S = 5
"""Time limit for a new connection, seconds: longer than a busy server needs, shorter than a lease."""

LEAST_CONNECT_TIMEOUT_S = 2
"""Shortest time limit for a new connection that libpq keeps, seconds."""

LEAST_ANSWER_S = 0.1
"""Time that a statement gets even after the deadline, seconds: a quick answer is not thrown away."""

POOL_TIMEOUT_S = 5
"""Longest wait for one of the process's connections while all are in use, seconds; then it is tried again."""

FIRST_RETRY_DELAY_S = 0.05
"""Delay before the first retry of a transaction, seconds. Doubles with every retry: a deadlock is resolved at
once."""

MAX_RETRY_DELAY_S = 2.0
"""Largest delay between two retries, seconds: a database that is back is noticed this soon."""

MAX_OVERFLOW = 10
"""Connections beyond the pool's size that a process may open for a moment, as SQLAlchemy's default."""

_engines: dict[int, Engine] = {}
"""Process id -> its engine."""

_first_use = threading.Lock()

_last_contact_lost = time.monotonic()
"""When a transaction of this process last failed because the database was away, or when the process began."""

_outage_timeout_s: float | None = None

_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))
"""When the caller gives up, seconds of the monotonic clock."""

_answer_limit_s: ContextVar[float] = ContextVar("answer_limit_s", default=float("inf"))
"""Time limit of a statement, seconds: that of the transitions. A migration or a bench has none."""

_outages = 0


_READ_ONLY = "25006"
"""SQLSTATE of a write to a server or transaction that only reads."""

_REFUSALS = (
    *("authentication failed", "no pg_hba.conf entry", "does not exist"),
    *("no such database", "no such user"),  # PgBouncer's
)
"""In the message of a server that answers and refuses the connection: psycopg has no SQLSTATE then."""

_SCHEMA_STATES = frozenset({"42P01", "42703", "42P10", "42883", "3F000"})
"""SQLSTATEs of tables that are not as the code expects: no table, column, unique key, function or schema."""

_NOT_PREPARED = frozenset({"26000", "42P05"})
"""SQLSTATEs of a prepared statement that the server's connection does not know, or knows already."""

_FORBIDDEN = "42501"
"""SQLSTATE of a role that lacks a right."""


class DatabaseUnavailableError(Exception):
    """Postgres does not answer or refuses the connection; the message names the address."""


class SchemaError(Exception):
    """The tables are not those of this version.

    Attributes:
        fix: the command or the setting that helps; the message names it, too.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem} {fix}" if fix.startswith("tryon ") else problem)
        self.fix = fix


def engine() -> Engine:
    """Return the process's engine. A forked child gets its own, because sockets cannot be shared."""
    pid = os.getpid()
    with _first_use:
        if pid not in _engines:
            _forget_inherited(pid)
            _engines[pid] = _new_engine(f"tryon-{pid}")
        return _engines[pid]


def _new_engine(application_name: str) -> Engine:
    new = create_engine(
        database_url(),
        pool_pre_ping=True,
        pool_size=settings().database_pool_size,
        max_overflow=MAX_OVERFLOW,
        pool_timeout=POOL_TIMEOUT_S,
        connect_args=connect_arguments(application_name),
    )

    @event.listens_for(new, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, options: dict[str, Any]) -> psycopg.Connection:
        remaining_s = min(CONNECT_TIMEOUT_S, _deadline.get() - time.monotonic())
        options["connect_timeout"] = max(LEAST_CONNECT_TIMEOUT_S, int(remaining_s))
        return BoundedConnection.connect(*arguments, **options)

    return new


def connect_arguments(application_name: str) -> dict[str, Any]:
    """Return psycopg's arguments for a connection besides the URL."""
    arguments: dict[str, Any] = {"application_name": application_name}
    if not settings().database_prepared_statements:
        arguments["prepare_threshold"] = None
    return arguments


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which a server that stops answering is noticed: psycopg itself would wait for ever."""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for an answer, at most for the time limit and little longer than the caller's deadline."""
        remaining_s = max(LEAST_ANSWER_S, _deadline.get() - time.monotonic())
        limit_s = min(_answer_limit_s.get(), remaining_s)
        if timeout is not None or limit_s == float("inf"):
            return super().wait(gen, interval=interval, timeout=timeout)
        try:
            return super().wait(gen, interval=interval, timeout=limit_s)
        except _WaitTimeout:
            self.pgconn.finish()  # an answer that comes later would belong to another statement
            raise psycopg.OperationalError(f"no answer within {limit_s:.3g} s") from None


@contextmanager
def giving_up_after(seconds: float) -> Iterator[None]:
    """End the transitions in the block with DatabaseUnavailableError when they take longer together."""
    token = _deadline.set(min(_deadline.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


def dispose() -> None:
    """Close the process's connections and forget the engine; a parent's connections stay open."""
    with _first_use:
        _forget_inherited(os.getpid())
        for own in _engines.values():
            own.dispose()
        _engines.clear()


def contact_s() -> float:
    """Return for how long this process has reached the database without a failure, seconds."""
    return time.monotonic() - _last_contact_lost


def outages() -> int:
    """Return how many times a transaction of this process has found the database away."""
    return _outages


def _forget_inherited(pid: int) -> None:
    """Forget the engines of parent processes without closing their sockets, which the parents still use."""
    for other in [key for key in _engines if key != pid]:
        _engines.pop(other).dispose(close=False)


def _renew_lock() -> None:
    """Give a forked child its own lock: a thread that the child does not have may hold the parent's."""
    global _first_use
    _first_use = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def set_outage_timeout(seconds: float) -> None:
    """Replace `outage_patience_s` in this process: a command line should not retry as long as a worker."""
    global _outage_timeout_s
    _outage_timeout_s = seconds


def transition(function: Callable[Concatenate[Session, P], T]) -> Callable[P, T]:
    """Make a state transition of a function that takes a session: one transaction, committed at its end.

    Transient errors (the database restarts, a network fails, a deadlock) are retried with exponential backoff
    for `outage_patience_s`; then DatabaseUnavailableError is raised. Every transition is a compare-and-set:
    to repeat one whose commit succeeded, but whose answer was lost, changes nothing.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        global _last_contact_lost, _outages
        timeout_s = settings().outage_patience_s if _outage_timeout_s is None else _outage_timeout_s
        deadline = min(time.monotonic() + timeout_s, _deadline.get())
        delay_s = FIRST_RETRY_DELAY_S
        while True:
            try:
                with _bounded_answers(), Session(engine()) as session, session.begin():
                    return function(session, *args, **kwargs)
            except (DBAPIError, PoolTimeoutError) as error:
                if not _is_transient(error):
                    if _sqlstate(error) in _SCHEMA_STATES | _NOT_PREPARED | {_FORBIDDEN}:
                        raise named_error(error) from error
                    raise
                _last_contact_lost = time.monotonic()
                _outages += 1
                if time.monotonic() + delay_s > deadline:
                    raise named_error(error) from error
                log.warning("Postgres is unreachable (%s); retrying in %.2f s", _cause(error), delay_s)
                time.sleep(delay_s)
                delay_s = min(delay_s * 2, MAX_RETRY_DELAY_S)

    return run


@contextmanager
def _bounded_answers() -> Iterator[None]:
    """Limit the time of each statement in the block to `database_timeout_s`."""
    token = _answer_limit_s.set(settings().database_timeout_s)
    try:
        yield
    finally:
        _answer_limit_s.reset(token)


def named_error(error: DBAPIError | PoolTimeoutError) -> Exception:
    """Return the error of the driver as one that says in one line what to do."""
    state = _sqlstate(error)
    cause = _cause(error)
    if state in _SCHEMA_STATES:
        from db import migrate  # it imports this module

        try:
            migrate.require_current()
        except (DatabaseUnavailableError, SchemaError) as named:
            return named
        return SchemaError(
            f"The tables are not as tryon made them ({cause}). Restore them.", "restore a backup"
        )
    if state in _NOT_PREPARED:
        return ConfigurationError(
            f"A pooler in transaction mode is between tryon and Postgres ({cause}). Set "
            "TRYON_DATABASE_PREPARED_STATEMENTS=false, and TRYON_DATABASE_DIRECT_URL for tryon db upgrade."
        )
    if state == _FORBIDDEN:
        return SchemaError(
            f"The role of TRYON_DATABASE_URL lacks a right ({cause}). Use the role that owns the tables.",
            "TRYON_DATABASE_URL",
        )
    address = engine().url.render_as_string(hide_password=True)
    if state == _READ_ONLY:
        return DatabaseUnavailableError(
            f"Postgres at {address} is read-only ({cause}). Set TRYON_DATABASE_URL to the primary server."
        )
    if any(sign in cause for sign in _REFUSALS):
        return DatabaseUnavailableError(
            f"Postgres at {address} refuses the connection ({cause}). Correct user, password and database in "
            "TRYON_DATABASE_URL."
        )
    return DatabaseUnavailableError(
        f"Postgres at {address} does not answer ({cause}). Start it (tryon up starts one of its own), or "
        "correct TRYON_DATABASE_URL."
    )


def _cause(error: DBAPIError | PoolTimeoutError) -> str:
    """Return what the driver says, on one line."""
    return " ".join(str(getattr(error, "orig", error)).split())


def _sqlstate(error: DBAPIError | PoolTimeoutError) -> str | None:
    state: str | None = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state


def _is_transient(error: DBAPIError | PoolTimeoutError) -> bool:
    """Whether the same transaction may succeed later: no connection, a restart, a failover, a deadlock."""
    if isinstance(error, PoolTimeoutError) or error.connection_invalidated:
        return True
    state = _sqlstate(error)
    if state is None:
        return isinstance(error, OperationalError)  # no connection could be made
    # 08 connection, 40 deadlock or serialisation, 53 too many connections, 57P shutdown or starting up,
    # 57014 statement_timeout; read-only: a standby during a failover
    return state[:2] in {"08", "40", "53"} or state.startswith("57P") or state in {"57014", _READ_ONLY}
