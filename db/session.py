"""Connections to Postgres: one engine per process, and transactions that survive a database restart."""

import functools
import logging
import os
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from config.endpoints import database_url
from config.settings import settings

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_TIMEOUT_S = 5
"""Time limit for a new connection, seconds: longer than a busy server needs, shorter than a lease."""

FIRST_RETRY_DELAY_S = 0.05
"""Delay before the first retry of a transaction, seconds. Doubles with every retry: a deadlock is resolved at
once."""

MAX_RETRY_DELAY_S = 2.0
"""Largest delay between two retries, seconds: a database that is back is noticed this soon."""

_engines: dict[int, Engine] = {}
"""Process id -> its engine."""

_outage_timeout_s: float | None = None


class DatabaseUnavailableError(Exception):
    """Postgres does not answer; the message names the address."""


def engine() -> Engine:
    """Return the process's engine. A forked child gets its own, because sockets cannot be shared."""
    pid = os.getpid()
    if pid not in _engines:
        for inherited in _engines.values():
            inherited.dispose(close=False)  # the parent still uses these sockets
        _engines.clear()
        _engines[pid] = create_engine(
            database_url(),
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": f"tryon-{pid}"},
        )
    return _engines[pid]


def dispose() -> None:
    """Close the process's connections and forget the engine."""
    for process_engine in _engines.values():
        process_engine.dispose()
    _engines.clear()


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
        timeout_s = settings().outage_patience_s if _outage_timeout_s is None else _outage_timeout_s
        deadline = time.monotonic() + timeout_s
        delay_s = FIRST_RETRY_DELAY_S
        while True:
            try:
                with Session(engine()) as session, session.begin():
                    return function(session, *args, **kwargs)
            except DBAPIError as error:
                if not _is_transient(error):
                    raise
                if time.monotonic() + delay_s > deadline:
                    address = engine().url.render_as_string(hide_password=True)
                    raise DatabaseUnavailableError(
                        f"Postgres at {address} does not answer ({error.orig}). Start it, or correct "
                        "TRYON_DATABASE_URL."
                    ) from error
                log.warning("Postgres is unreachable (%s); retrying in %.2f s", error.orig, delay_s)
                time.sleep(delay_s)
                delay_s = min(delay_s * 2, MAX_RETRY_DELAY_S)

    return run


def _is_transient(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed later: no connection, a restart, a deadlock."""
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return isinstance(error, OperationalError)  # no connection could be made
    # 08 connection, 40 deadlock or serialisation, 53 too many connections, 57P shutdown or starting up
    return state[:2] in {"08", "40", "53"} or state.startswith("57P")
