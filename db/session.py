"""Connections to Postgres: one engine per process, transactions that outlive a database restart."""

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

_engines: dict[int, Engine] = {}
_patience_s: float | None = None


class DatabaseUnavailableError(Exception):
    """Postgres does not answer; the message says where it was looked for."""


def engine() -> Engine:
    """Return the process's engine; a forked child gets its own, since sockets cannot be shared."""
    pid = os.getpid()
    if pid not in _engines:
        for inherited in _engines.values():
            inherited.dispose(close=False)  # the parent still uses these sockets
        _engines.clear()
        _engines[pid] = create_engine(
            database_url(),
            pool_pre_ping=True,
            connect_args={"connect_timeout": 5, "application_name": f"tryon-{pid}"},
        )
    return _engines[pid]


def dispose() -> None:
    """Close the process's connections and forget the engine."""
    for kept in _engines.values():
        kept.dispose()
    _engines.clear()


def be_brief(seconds: float) -> None:
    """Wait this long at most for a database that is away: for a person at a terminal, not for a worker."""
    global _patience_s
    _patience_s = seconds


def transition(function: Callable[Concatenate[Session, P], T]) -> Callable[P, T]:
    """Make a state transition of a function that takes a session: one transaction, committed at its end.

    A connection that breaks (the database restarts, a network fails) is tried again with backoff for
    `outage_patience_s`. Every transition is a compare-and-set, so that doing one again after a commit
    whose answer was lost changes nothing.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        patience_s = settings().outage_patience_s if _patience_s is None else _patience_s
        deadline = time.monotonic() + patience_s
        pause = 0.05
        while True:
            try:
                with Session(engine()) as session, session.begin():
                    return function(session, *args, **kwargs)
            except DBAPIError as error:
                if not _passing(error):
                    raise
                if time.monotonic() + pause > deadline:
                    where = engine().url.render_as_string(hide_password=True)
                    raise DatabaseUnavailableError(
                        f"Postgres at {where} does not answer ({error.orig}). Start it, or mend "
                        "TRYON_DATABASE_URL."
                    ) from error
                log.warning("Postgres is away (%s); trying again in %.2f s", error.orig, pause)
                time.sleep(pause)
                pause = min(pause * 2, 2.0)

    return run


def _passing(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed later: no connection, a restart, a deadlock."""
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return isinstance(error, OperationalError)  # no connection could be made
    # 08 connection, 40 deadlock or serialisation, 53 too many connections, 57P shutdown or starting up
    return state[:2] in {"08", "40", "53"} or state.startswith("57P")
