"""Servers of Debian's packages, as operators have them: each with a folder of its own, on the loopback.

A test of a server that is not installed skips, and says how to install it. The packages' own services are not
used and need not run.
"""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from tests.support.waiting import wait_for

STOP_TIMEOUT_S = 20
START_TIMEOUT_S = 120  # Erlang's virtual machine needs several seconds of processor time


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        port: its port on 127.0.0.1.
        process: its main process.
        url: how a client reaches it.
        folder: its data.
    """

    port: int
    process: psutil.Process
    url: str
    folder: Path


def require(package: str, *patterns: str) -> Path:
    """Return the first path that fits; skip the test where the package is not installed."""
    for pattern in patterns:
        found = sorted(Path("/").glob(pattern.removeprefix("/")))
        if found:
            return found[-1]
    pytest.skip(f"install Debian's package `{package}` (apt-get install {package})")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def folder(user: str | None = None) -> Iterator[Path]:
    """A new folder that belongs to the user."""
    path = Path(tempfile.mkdtemp(prefix="tryon-test-"))
    if user is not None and os.geteuid() == 0:
        shutil.chown(path, user)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _as_user(user: str | None) -> list[str]:
    if user is None or os.geteuid() != 0:
        return []
    return [
        "setpriv",
        f"--reuid={pwd.getpwnam(user).pw_uid}",
        f"--regid={pwd.getpwnam(user).pw_gid}",
        "--clear-groups",
    ]


@contextmanager
def running(
    command: Sequence[object], port: int, log: Path, user: str | None = None, **environment: str
) -> Iterator[psutil.Process]:
    """Run a server until the end of the block; it has answered on its port."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            [*_as_user(user), *map(str, command)],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"} | environment,
            cwd=log.parent,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:

        def ready() -> bool:
            assert child.poll() is None, f"it ended: {log.read_text()[-3000:]}"
            return _answers(port)

        wait_for(ready, f"{command[0]} to answer; see {log}", START_TIMEOUT_S)
        yield psutil.Process(child.pid)
    finally:
        children = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
        child.terminate()
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
        _, left = psutil.wait_procs(children, timeout=STOP_TIMEOUT_S)
        for process in left:
            process.kill()
        child.wait()


@contextmanager
def redis_server() -> Iterator[Server]:
    """Debian's Redis, which keeps nothing on the disk."""
    binary = require("redis-server", "/usr/bin/redis-server")
    port, password = free_port(), secrets.token_hex(8)
    with folder() as path:
        command = [binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--requirepass", password]
        with running([*command, "--dir", path], port, path / "log") as process:
            url = f"redis://:{password}@127.0.0.1:{port}/0"
            with redis.Redis.from_url(url) as client:
                assert client.ping()
            yield Server(port, process, url, path)


@contextmanager
def rabbitmq() -> Iterator[Server]:
    """Debian's RabbitMQ, with its own port mapper, which would otherwise stay."""
    binary = require("rabbitmq-server", "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")
    mapper = require("erlang-base", "/usr/bin/epmd", "/usr/lib/erlang/erts-*/bin/epmd")
    port, mapper_port, inner_port = free_port(), free_port(), free_port()
    with folder() as path, ExitStack() as stack:
        stack.enter_context(
            running([mapper, "-port", mapper_port, "-address", "127.0.0.1"], mapper_port, path / "epmd.log")
        )
        (path / "rabbitmq.conf").write_text(f"listeners.tcp.local = 127.0.0.1:{port}\n")
        (path / "plugins").write_text("[].\n")
        environment = {
            "HOME": str(path),
            "ERL_EPMD_PORT": str(mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(inner_port),
            "RABBITMQ_NODENAME": f"tryon-{port}@localhost",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(path / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(path / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(path / "data"),
            "RABBITMQ_LOG_BASE": str(path / "logs"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }
        process = stack.enter_context(running([binary], port, path / "rabbitmq.log", **environment))
        yield Server(port, process, f"amqp://guest:guest@127.0.0.1:{port}//", path)


@contextmanager
def pgbouncer(database_url: str) -> Iterator[Server]:
    """Debian's PgBouncer in transaction mode before a database."""
    binary = require("pgbouncer", "/usr/sbin/pgbouncer")
    user = "postgres" if os.geteuid() == 0 else None
    port = free_port()
    target = psycopg.conninfo.make_conninfo("", **psycopg.conninfo.conninfo_to_dict(database_url))
    with folder(user) as path:
        (path / "pgbouncer.ini").write_text(
            f"[databases]\ntryon = {target}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 100\n"
        )
        with running([binary, path / "pgbouncer.ini"], port, path / "log", user) as process:
            yield Server(port, process, f"postgresql://anybody@127.0.0.1:{port}/tryon", path)


@contextmanager
def postgres(*, standby_of: Server | None = None) -> Iterator[Server]:
    """Debian's PostgreSQL: a server of its own, or a read-only copy of another one."""
    binaries = require("postgresql", "/usr/lib/postgresql/*/bin")
    user = "postgres" if os.geteuid() == 0 else None
    port = free_port()
    with folder(user) as path:
        data = path / "data"
        if standby_of is None:
            make = [
                binaries / "initdb",
                "-D",
                data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-sync",
            ]
        else:
            source = ["-h", "127.0.0.1", "-p", standby_of.port, "-U", "postgres"]
            make = [binaries / "pg_basebackup", *source, "-D", data, "-R", "-c", "fast", "--no-sync"]
        subprocess.run([*_as_user(user), *map(str, make)], check=True, capture_output=True, cwd=path)
        command = [binaries / "postgres", "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1"]
        command += ["-c", "unix_socket_directories=", "-c", "fsync=off"]
        with running(command, port, path / "log", user) as process:
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            wait_for(lambda: _accepts(url), "PostgreSQL to accept connections", START_TIMEOUT_S)
            yield Server(port, process, url, path)


def _accepts(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True
