"""Real PostgreSQL, Valkey and S3 for tests: started once, emptied for each test that uses them."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import redis
from sqlalchemy import text

import db.session
from config import queues
from config.settings import settings
from db import keys
from db.migrate import upgrade
from db.models import Base
from tests.support.api import ApiProcess
from tests.support.workers import FAST_SETTINGS, ROOT, WorkerProcess
from worker.app import app
from worker.artifacts.storage import storage
from worker.machine.embedded.servers import NAMES, EmbeddedServers
from worker.queue import sweep
from worker.queue.request import MAX_PRIORITY


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    """Running servers; the environment of this process and its children points to them."""
    data_dir: Path = tmp_path_factory.mktemp("tryon")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TRYON_")]:
            patch.delenv(name)
        patch.setenv("TRYON_DATA_DIR", str(data_dir))
        # The astronaut wears a space suit: no picture of her can be shown.
        patch.setenv("TRYON_MINIMUM_SCORE", "0")
        settings.cache_clear()
        with EmbeddedServers(data_dir, only=NAMES) as running:
            for name, value in running.environment().items():
                patch.setenv(name, value)
            settings.cache_clear()
            yield running
            db.session.dispose()
    settings.cache_clear()


@pytest.fixture(scope="session")
def _migrated(servers: EmbeddedServers) -> None:
    upgrade()


@pytest.fixture
def database(servers: EmbeddedServers, _migrated: None) -> str:
    """The URL of a migrated database without jobs. Running workers stay in its table."""
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables if table.name != "workers")
    with db.session.engine().begin() as connection:
        connection.execute(text(f"TRUNCATE {tables} CASCADE"))
    # A message of an earlier test would write its job again.
    redis.Redis.from_url(servers.endpoints["broker_url"]).delete(*_message_lists())
    return servers.endpoints["database_url"]


def _message_lists() -> list[str]:
    """Return the keys of the broker's lists of waiting messages: one for each queue and priority."""
    suffixes = ("", *(f"\x06\x16{priority}" for priority in range(1, MAX_PRIORITY + 1)))
    return [f"{queue}{suffix}" for queue in queues.ALL for suffix in suffixes]


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The folder of the model files, which `make setup` fetches."""
    folder = ROOT / ".tryon" / "models"
    if not folder.is_dir():
        pytest.fail(f"{folder} does not exist: run `make setup`, or `tryon weights fetch`")
    return folder


@pytest.fixture(scope="module")
def quick_worker(
    servers: EmbeddedServers, _migrated: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    """A worker on both queues that runs the stub stages."""
    storage().ensure_buckets()
    worker = WorkerProcess(tmp_path_factory.mktemp("logs") / "worker.log")
    yield worker
    worker.stop()


@pytest.fixture(scope="session")
def api_server(
    servers: EmbeddedServers, _migrated: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiProcess]:
    """A server of the HTTP interface that refuses slow bodies soon."""
    storage().ensure_buckets()
    server = ApiProcess(tmp_path_factory.mktemp("api") / "api.log", TRYON_API_BODY_TIMEOUT_S="2")
    yield server
    server.stop()


@pytest.fixture
def api_client(api_server: ApiProcess, database: str) -> Iterator[httpx.Client]:
    """A client of the server, without a key, while no job exists."""
    with api_server.client() as client:
        yield client


@pytest.fixture
def shop(api_server: ApiProcess, database: str) -> Iterator[Callable[..., httpx.Client]]:
    """A function that returns a client with a new key of a tenant; its `key_id` is the key's id."""
    with ExitStack() as clients:

        def make(tenant: str = "shop", **options: str) -> httpx.Client:
            key_id, key = keys.add_key(tenant, **options)
            client = clients.enter_context(api_server.client(key))
            client.headers["X-Key-Id"] = key_id  # for the test; the server ignores it
            return client

        yield make


@pytest.fixture
def sweeping(monkeypatch: pytest.MonkeyPatch, database: str) -> Iterator[None]:
    """A sweep that runs during the test."""
    for name, value in FAST_SETTINGS.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    stop = threading.Event()
    thread = threading.Thread(target=sweep.run, args=(app, stop))
    thread.start()
    yield
    stop.set()
    thread.join()
    settings.cache_clear()
