"""The embedded servers start, keep their data, stop, and leave nothing behind, however they end."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import psycopg
import pytest
import redis

from worker.machine.embedded import launch
from worker.machine.embedded.process import ServerError
from worker.machine.embedded.servers import NAMES, EmbeddedServers, missing
from worker.machine.embedded.state import DataFolder

PATIENCE_S = 60

# Starts the servers, writes a row and an object, tells the pids and blocks until it is killed.
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


def family(pids: list[int]) -> list[psutil.Process]:
    processes = [psutil.Process(pid) for pid in pids]
    return processes + [child for process in processes for child in process.children(recursive=True)]


def write(endpoints: dict[str, str], value: str) -> None:
    with psycopg.connect(endpoints["database_url"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])
    with redis.Redis.from_url(endpoints["broker_url"]) as client:
        client.rpush("kept", value)
    s3(endpoints).put_object(Bucket="tryon-input", Key=f"kept/{value}", Body=value.encode())


def kept(endpoints: dict[str, str]) -> dict[str, list[str]]:
    with psycopg.connect(endpoints["database_url"]) as connection:
        rows = [row[0] for row in connection.execute("SELECT value FROM kept ORDER BY value")]
    with redis.Redis.from_url(endpoints["broker_url"], decode_responses=True) as client:
        items = sorted(client.lrange("kept", 0, -1))
    listed = s3(endpoints).list_objects_v2(Bucket="tryon-input", Prefix="kept/").get("Contents", [])
    objects = [
        s3(endpoints).get_object(Bucket="tryon-input", Key=item["Key"])["Body"].read().decode()
        for item in listed
    ]
    return {"postgres": rows, "valkey": items, "s3": sorted(objects)}


def s3(endpoints: dict[str, str]):
    return boto3.client(
        "s3",
        endpoint_url=endpoints["s3_endpoint_url"],
        region_name="us-east-1",
        aws_access_key_id=endpoints["s3_access_key_id"],
        aws_secret_access_key=endpoints["s3_secret_access_key"],
    )


def everywhere(*values: str) -> dict[str, list[str]]:
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


def told(parent: subprocess.Popen[str]) -> dict[str, dict[str, str]]:
    assert parent.stdout is not None
    line = parent.stdout.readline()
    assert line, "the parent ended before its servers were up"
    return json.loads(line)


def test_data_outlives_a_stop_and_no_process_does(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, only=NAMES) as servers:
        write(servers.endpoints, "one")
        processes = family([server.process.pid for server in servers.servers.values()])
        before = servers.endpoints
        assert stat.S_IMODE(servers.file.stat().st_mode) == 0o600
        assert json.loads(servers.file.read_text()) == before
    assert not servers.file.exists()
    assert [process for process in processes if process.is_running()] == []
    with EmbeddedServers(tmp_path, only=NAMES) as again:
        assert again.endpoints == before, "ports and passwords stay the same while nobody takes the ports"
        assert kept(again.endpoints) == everywhere("one")


def test_only_the_loopback_is_listened_on_and_strangers_are_refused(servers: EmbeddedServers) -> None:
    for server in servers.servers.values():
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(server.process.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening
        assert set(listening) == {"127.0.0.1"}
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://tryon:wrong@127.0.0.1:{servers.postgres.port}/tryon")
    with redis.Redis(port=servers.valkey.port) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    stranger = s3(servers.endpoints | {"s3_secret_access_key": "wrong"})
    with pytest.raises(stranger.exceptions.ClientError, match="SignatureDoesNotMatch"):
        stranger.list_buckets()


def test_the_broker_keeps_commands_and_evicts_nothing(servers: EmbeddedServers) -> None:
    with redis.Redis.from_url(servers.endpoints["broker_url"], decode_responses=True) as client:
        assert client.config_get("appendonly", "maxmemory-policy") == {
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
        }


def test_the_workers_role_is_no_superuser(servers: EmbeddedServers) -> None:
    with psycopg.connect(servers.endpoints["database_url"]) as connection:
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    assert row == (False,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL changes its user")
def test_root_runs_postgres_as_someone_else(servers: EmbeddedServers) -> None:
    assert 0 not in psutil.Process(servers.postgres.process.pid).uids()


def test_a_second_start_on_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, only={"valkey"}) as first:
        second = EmbeddedServers(tmp_path, only={"valkey"})
        with pytest.raises(ServerError, match=f"already run in .*process {os.getpid()}"):
            second.start()
        second.stop()
        with redis.Redis.from_url(first.endpoints["broker_url"]) as client:
            assert client.ping()
        assert first.file.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's death signal is Linux's own")
def test_servers_end_with_a_parent_that_is_killed_and_the_next_start_recovers(
    tmp_path: Path, parent: subprocess.Popen[str]
) -> None:
    said = told(parent)
    write(said["endpoints"], "one")
    processes = family([int(pid) for pid in said["pids"].values()])
    parent.kill()
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert alive == []
    assert (tmp_path / "data" / "embedded.json").exists(), "nobody was left to remove it"
    with EmbeddedServers(tmp_path / "data", only=NAMES) as servers:
        assert kept(servers.endpoints) == everywhere("one")


def test_a_killed_database_server_is_recovered(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, only={"postgres"}) as servers:
        with psycopg.connect(servers.endpoints["database_url"]) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'one' AS value")
        servers.postgres.process.signal(signal.SIGKILL)
        servers.postgres.process.wait_or_kill(PATIENCE_S)
        assert servers.dead() == ["postgres"]
        servers.restart("postgres")
        with psycopg.connect(servers.endpoints["database_url"]) as connection:
            assert connection.execute("SELECT value FROM kept").fetchone() == ("one",)


def test_stale_state_misleads_nobody(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, only={"postgres"}) as servers:
        old_port = servers.postgres.port
    # What a crash may leave: old files, a process id that is another process's now, a port that is taken.
    (tmp_path / "embedded.json").write_text("{")
    (tmp_path / "postgres" / "data" / "postmaster.pid").write_text(f"{os.getppid()}\n")
    state = json.loads((tmp_path / "servers.json").read_text())
    state["processes"] = {"postgres": [os.getpid(), 1.0], "s3": [2**22 + 1, 1.0]}
    (tmp_path / "servers.json").write_text(json.dumps(state))
    with socket.create_server(("127.0.0.1", old_port)), EmbeddedServers(tmp_path, only={"postgres"}) as again:
        assert again.postgres.port != old_port
        with psycopg.connect(again.endpoints["database_url"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_left_by_an_earlier_run_is_ended(tmp_path: Path) -> None:
    orphan = subprocess.Popen(["sleep", "3600"])
    try:
        folder = DataFolder(tmp_path)
        folder.open()
        folder.remember("valkey", orphan.pid)
        folder.close()
        with EmbeddedServers(tmp_path, only={"valkey"}):
            assert orphan.poll() is not None
    finally:
        orphan.kill()
        orphan.wait()


def test_a_server_that_does_not_start_says_why_and_leaves_none_running(tmp_path: Path) -> None:
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
        assert kept(servers.endpoints) == everywhere("one")


def test_a_setting_takes_a_servers_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from config.settings import Settings

    monkeypatch.setenv("TRYON_DATABASE_URL", "postgresql://elsewhere/x")
    monkeypatch.setenv("TRYON_S3_ENDPOINT_URL", "aws")
    monkeypatch.delenv("TRYON_BROKER_URL", raising=False)
    assert missing(Settings()) == {"valkey"}


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_an_ordinary_user_can_run_them(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    # With the capability to read, since the interpreter and the temporary folder may be closed to others.
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
            said = told(process)
            processes = family([int(pid) for pid in said["pids"].values()])
            assert {user for one in processes for user in one.uids()} == {65534}
            write(said["endpoints"], "one")
            assert kept(said["endpoints"]) == everywhere("one")
        finally:
            process.kill()
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert alive == []
