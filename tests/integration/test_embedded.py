"""The embedded servers start, keep their data, stop, and leave no process behind, even after a kill."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import psutil
import psycopg
import pytest
import redis

from worker.machine.embedded import launch
from worker.machine.embedded.process import ServerError
from worker.machine.embedded.servers import NAMES, EmbeddedServers, missing_servers
from worker.machine.embedded.state import DataFolder

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TIMEOUT_S = 60

# Starts the servers, prints their process ids and endpoints, and blocks until it is killed.
PARENT = """
import json, sys
from pathlib import Path
from worker.machine.embedded.servers import NAMES, EmbeddedServers
servers = EmbeddedServers(Path(sys.argv[1]), only=NAMES)
servers.start()
pids = {name: server.process.pid for name, server in servers.servers.items()}
print(json.dumps({"pids": pids, "endpoints": servers.endpoints}), flush=True)
sys.stdin.read()
"""


def with_descendants(pids: list[int]) -> list[psutil.Process]:
    processes = [psutil.Process(pid) for pid in pids]
    return processes + [child for process in processes for child in process.children(recursive=True)]


def write(endpoints: dict[str, str], value: str) -> None:
    with psycopg.connect(endpoints["database_url"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS entries (value text)")
        connection.execute("INSERT INTO entries VALUES (%s)", [value])
    with redis.Redis.from_url(endpoints["broker_url"]) as client:
        client.rpush("entries", value)
    s3(endpoints).put_object(Bucket="tryon-input", Key=f"entries/{value}", Body=value.encode())


def read(endpoints: dict[str, str]) -> dict[str, list[str]]:
    with psycopg.connect(endpoints["database_url"]) as connection:
        rows = [row[0] for row in connection.execute("SELECT value FROM entries ORDER BY value")]
    with redis.Redis.from_url(endpoints["broker_url"], decode_responses=True) as client:
        items = sorted(client.lrange("entries", 0, -1))
    objects = s3(endpoints).list_objects_v2(Bucket="tryon-input", Prefix="entries/").get("Contents", [])
    contents = [
        s3(endpoints).get_object(Bucket="tryon-input", Key=item["Key"])["Body"].read().decode()
        for item in objects
    ]
    return {"postgres": rows, "valkey": items, "s3": sorted(contents)}


def s3(endpoints: dict[str, str]) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=endpoints["s3_endpoint_url"],
        region_name="us-east-1",
        aws_access_key_id=endpoints["s3_access_key_id"],
        aws_secret_access_key=endpoints["s3_secret_access_key"],
    )


def in_all_servers(*values: str) -> dict[str, list[str]]:
    return {name: list(values) for name in NAMES}


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs servers in `tmp_path / "data"`."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def read_report(parent: subprocess.Popen[str]) -> dict[str, dict[str, str]]:
    """Return what the parent printed: the process ids and the endpoints of its servers."""
    assert parent.stdout is not None
    line = parent.stdout.readline()
    assert line, "the parent ended before its servers were up"
    report: dict[str, dict[str, str]] = json.loads(line)
    return report


def test_a_stop_keeps_the_data_and_leaves_no_process(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, only=NAMES) as servers:
        write(servers.endpoints, "one")
        processes = with_descendants([server.process.pid for server in servers.servers.values()])
        before = servers.endpoints
        assert stat.S_IMODE(servers.file.stat().st_mode) == 0o600
        assert json.loads(servers.file.read_text()) == before
    assert not servers.file.exists()
    assert [process for process in processes if process.is_running()] == []
    with EmbeddedServers(tmp_path, only=NAMES) as restarted:
        assert restarted.endpoints == before, "free ports and passwords stay the same"
        assert read(restarted.endpoints) == in_all_servers("one")


def test_servers_listen_on_the_loopback_only_and_require_passwords(servers: EmbeddedServers) -> None:
    for server in servers.servers.values():
        addresses = [
            connection.laddr.ip
            for connection in psutil.Process(server.process.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert addresses
        assert set(addresses) == {"127.0.0.1"}
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://tryon:wrong@127.0.0.1:{servers.postgres.port}/tryon")
    with redis.Redis(port=servers.valkey.port) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    client_with_wrong_key = s3(servers.endpoints | {"s3_secret_access_key": "wrong"})
    with pytest.raises(client_with_wrong_key.exceptions.ClientError, match="SignatureDoesNotMatch"):
        client_with_wrong_key.list_buckets()


def test_the_broker_persists_commands_and_evicts_nothing(servers: EmbeddedServers) -> None:
    with redis.Redis.from_url(servers.endpoints["broker_url"], decode_responses=True) as client:
        assert client.config_get("appendonly", "maxmemory-policy") == {
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
        }


def test_the_database_role_is_no_superuser(servers: EmbeddedServers) -> None:
    with psycopg.connect(servers.endpoints["database_url"]) as connection:
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    assert row == (False,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another user")
def test_root_runs_postgres_as_another_user(servers: EmbeddedServers) -> None:
    assert 0 not in psutil.Process(servers.postgres.process.pid).uids()


def test_a_second_start_in_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, only={"valkey"}) as first:
        second = EmbeddedServers(tmp_path, only={"valkey"})
        with pytest.raises(ServerError, match=f"already run in .*process {os.getpid()}"):
            second.start()
        second.stop()
        with redis.Redis.from_url(first.endpoints["broker_url"]) as client:
            assert client.ping()
        assert first.file.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has a parent death signal")
def test_servers_end_with_a_killed_parent_and_the_next_start_recovers(
    tmp_path: Path, parent: subprocess.Popen[str]
) -> None:
    report = read_report(parent)
    write(report["endpoints"], "one")
    processes = with_descendants([int(pid) for pid in report["pids"].values()])
    parent.kill()
    _, alive = psutil.wait_procs(processes, timeout=TIMEOUT_S)
    assert alive == []
    assert (tmp_path / "data" / "embedded.json").exists(), "a killed process cannot remove the file"
    with EmbeddedServers(tmp_path / "data", only=NAMES) as servers:
        assert read(servers.endpoints) == in_all_servers("one")


def test_a_killed_database_server_is_recovered(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, only={"postgres"}) as servers:
        with psycopg.connect(servers.endpoints["database_url"]) as connection:
            connection.execute("CREATE TABLE entries AS SELECT 'one' AS value")
        servers.postgres.process.signal(signal.SIGKILL)
        servers.postgres.process.wait_or_kill(TIMEOUT_S)
        assert servers.dead() == ["postgres"]
        servers.restart("postgres")
        with psycopg.connect(servers.endpoints["database_url"]) as connection:
            assert connection.execute("SELECT value FROM entries").fetchone() == ("one",)


def test_stale_state_does_not_disturb_a_start(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, only={"postgres"}) as servers:
        old_port = servers.postgres.port
    # A crash may leave old files, the id of a process that is now another one, and a port that is in use.
    (tmp_path / "embedded.json").write_text("{")
    (tmp_path / "postgres" / "data" / "postmaster.pid").write_text(f"{os.getppid()}\n")
    state = json.loads((tmp_path / "servers.json").read_text())
    state["processes"] = {"postgres": [os.getpid(), 1.0], "s3": [2**22 + 1, 1.0]}
    (tmp_path / "servers.json").write_text(json.dumps(state))
    with (
        socket.create_server(("127.0.0.1", old_port)),
        EmbeddedServers(tmp_path, only={"postgres"}) as restarted,
    ):
        assert restarted.postgres.port != old_port
        with psycopg.connect(restarted.endpoints["database_url"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_leftover_server_of_an_earlier_run_is_stopped(tmp_path: Path) -> None:
    orphan = subprocess.Popen(["sleep", "3600"])
    try:
        folder = DataFolder(tmp_path)
        folder.acquire()
        folder.record_process("valkey", orphan.pid)
        folder.release()
        with EmbeddedServers(tmp_path, only={"valkey"}):
            assert orphan.poll() is not None
    finally:
        orphan.kill()
        orphan.wait()


def test_a_failed_start_reports_the_reason_and_leaves_no_server_running(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, only={"postgres", "valkey"}):
        pass
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    servers = EmbeddedServers(tmp_path, only={"postgres", "valkey"})
    with pytest.raises(ServerError, match=r"(?s)PostgreSQL ended.*postgres\.log.*version 9"):
        servers.start()
    assert servers.dead() == ["postgres", "valkey"]
    assert not servers.file.exists()


def test_restart_keeps_the_port_and_the_data(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, only=NAMES) as servers:
        write(servers.endpoints, "one")
        before, pids = servers.endpoints, {server.process.pid for server in servers.servers.values()}
        for name in NAMES:
            servers.restart(name)
        assert servers.endpoints == before
        assert pids.isdisjoint(server.process.pid for server in servers.servers.values())
        assert read(servers.endpoints) == in_all_servers("one")


def test_a_setting_replaces_a_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from config.settings import Settings

    monkeypatch.setenv("TRYON_DATABASE_URL", "postgresql://other/x")
    monkeypatch.setenv("TRYON_S3_ENDPOINT_URL", "aws")
    monkeypatch.delenv("TRYON_BROKER_URL", raising=False)
    assert missing_servers(Settings()) == {"valkey"}


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_an_ordinary_user_can_run_the_servers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    # With the capability to read, because the interpreter and the temporary folder may be closed to others.
    with subprocess.Popen(
        [
            *(sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(int(signal.SIGKILL))),
            *("65534:65534:1", sys.executable, "-c", PARENT, str(data)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        umask=0o022,
    ) as process:
        try:
            report = read_report(process)
            processes = with_descendants([int(pid) for pid in report["pids"].values()])
            assert {user for owned in processes for user in owned.uids()} == {65534}
            write(report["endpoints"], "one")
            assert read(report["endpoints"]) == in_all_servers("one")
        finally:
            process.kill()
    _, alive = psutil.wait_procs(processes, timeout=TIMEOUT_S)
    assert alive == []
