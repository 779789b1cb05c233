"""Clients are made once per process, however many threads ask first; a child leaves its parent's alone."""

import os
import threading

from sqlalchemy import text

from config.settings import settings
from db import session
from worker.artifacts import storage as storage_module

THREADS = 16
TRIALS = 20


def _made_by_threads(make):
    """Return how many different objects the threads got that asked at the same moment."""
    start, made = threading.Barrier(THREADS), []

    def ask():
        start.wait()
        made.append(make())

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len({id(one) for one in made})


def test_threads_share_one_engine_and_one_client_of_the_store(database):
    for _ in range(TRIALS):
        session.dispose()
        assert _made_by_threads(session.engine) == 1
        storage_module.reset()
        assert _made_by_threads(storage_module.storage) == 1


def test_the_size_of_the_pool_is_a_setting(database, monkeypatch):
    monkeypatch.setenv("TRYON_DATABASE_POOL_SIZE", "2")
    settings.cache_clear()
    session.dispose()
    try:
        assert session.engine().pool.size() == 2
    finally:
        monkeypatch.undo()
        settings.cache_clear()
        session.dispose()


def test_a_forked_child_does_not_close_its_parents_connection(database):
    with session.engine().connect() as connection:
        before = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                session.dispose()
                with session.engine().connect() as own:
                    code = int(own.execute(text("SELECT pg_backend_pid()")).scalar() == before)
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar() == before
