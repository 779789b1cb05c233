"""TLS to Postgres, the broker and the object store, as docs/operations.md sets it up."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy import text

import db.session
from config.errors import StorageError
from config.settings import settings
from tests.support.tls_proxy import tls_proxy
from worker.artifacts.storage import reset, storage
from worker.machine.embedded.certificates import write_authority
from worker.machine.embedded.servers import EmbeddedServers


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with `ca.crt` and a certificate `server.crt` for 127.0.0.1."""
    write_authority(tmp_path, ("server",))
    return tmp_path


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment of one test, in which settings and connections are made anew."""
    yield monkeypatch
    monkeypatch.undo()
    db.session.dispose()
    settings.cache_clear()
    reset()


def use(environment: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        environment.setenv(name, value)
    db.session.dispose()
    settings.cache_clear()
    reset()


@pytest.mark.usefixtures("database")
def test_postgres(servers: EmbeddedServers, authority: Path, fresh: pytest.MonkeyPatch) -> None:
    parts = urlsplit(servers.endpoints["database_url"])
    with tls_proxy(parts.port or 0, authority / "server.crt", postgres=True) as port:
        url = (
            f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}?sslmode=verify-full"
        )
        use(fresh, TRYON_DATABASE_URL=f"{url}&sslrootcert={authority / 'ca.crt'}")
        with db.session.engine().connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM jobs")).scalar() == 0
            raw = connection.connection.dbapi_connection
            assert isinstance(raw, psycopg.Connection)
            assert raw.pgconn.ssl_in_use
        (authority / "other").mkdir()
        write_authority(authority / "other", ())
        with pytest.raises(psycopg.OperationalError, match="SSL error"):
            psycopg.connect(f"{url}&sslrootcert={authority / 'other' / 'ca.crt'}")


def test_the_broker(servers: EmbeddedServers, authority: Path) -> None:
    parts = urlsplit(servers.endpoints["broker_url"])
    with tls_proxy(parts.port or 0, authority / "server.crt") as port:
        url = f"rediss://:{parts.password}@127.0.0.1:{port}/0?ssl_cert_reqs=required"
        trusting = Celery(broker=f"{url}&ssl_ca_certs={authority / 'ca.crt'}", set_as_current=False)
        trusting.send_task("a", queue="encrypted", retry=False)
        with trusting.connection_for_read() as connection:
            assert connection.SimpleQueue("encrypted").get(timeout=10).headers["task"] == "a"
        doubting = Celery(broker=url, set_as_current=False)
        with (
            doubting.connection_for_write() as connection,
            pytest.raises(OperationalError, match="certificate verify failed"),
        ):
            connection.default_channel  # noqa: B018 - it connects
        trusting.close()
        doubting.close()


def test_the_object_store(servers: EmbeddedServers, authority: Path, fresh: pytest.MonkeyPatch) -> None:
    with tls_proxy(servers.s3.port, authority / "server.crt") as port:
        keys = {
            "TRYON_S3_ENDPOINT_URL": f"https://127.0.0.1:{port}",
            "TRYON_S3_ACCESS_KEY_ID": servers.endpoints["s3_access_key_id"],
            "TRYON_S3_SECRET_ACCESS_KEY": servers.endpoints["s3_secret_access_key"],
        }
        use(fresh, **keys, AWS_CA_BUNDLE=str(authority / "ca.crt"))
        store = storage()
        store.put_input("encrypted", b"a photograph", "text/plain")
        assert store.get_input("encrypted", max_bytes=100) == b"a photograph"
        fresh.delenv("AWS_CA_BUNDLE")
        use(fresh)
        with pytest.raises(StorageError, match="SSL validation failed"):
            storage().get_input("encrypted", max_bytes=100)
