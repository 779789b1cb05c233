"""Another user of the same machine cannot read, list or change anything of the embedded servers."""

import http.server
import json
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import psutil
import psycopg
import pytest
import redis

from worker.machine.embedded.servers import NAMES, EmbeddedServers

USER = "tryon-intruder"
TIMEOUT_S = 5
GRPC_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
REQUEST = "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
PATHS = (
    *(
        "/",
        "/status",
        "/healthz",
        "/metrics",
        "/ui/index.html",
        "/debug/pprof/",
        "/submit",
        "/login",
        "/admin",
    ),
    *("/dir/assign", "/dir/lookup?volumeId=1&fileId=1,01&read=yes", "/dir/status", "/cluster/status"),
    *("/vol/status", "/vol/grow?count=1", "/col/delete?collection=x", "/stats/disk", "/stats/counter"),
    *("/buckets/", "/buckets/tryon-input/secret", "/tryon-input/secret", "/tryon-input?list-type=2", "/1,01"),
    *("/etc/iam/identity.json", "/api/config", "/api/s3/buckets", "/?Action=ListUsers&Version=2010-05-08"),
)
HARMLESS = {"/status", "/healthz"}
"""Paths at which the S3 port answers without a signature: with an empty body."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can create another user")


@pytest.fixture(scope="module")
def intruder() -> Iterator[int]:
    """The id of another user, which exists during the tests."""
    if shutil.which("useradd") is None:
        pytest.skip("useradd is not installed (Debian: apt install passwd)")
    subprocess.run(["useradd", "--system", "--no-create-home", USER], check=True)
    try:
        yield pwd.getpwnam(USER).pw_uid
    finally:
        subprocess.run(["userdel", USER], check=True)


@pytest.fixture(scope="module")
def open_servers() -> Iterator[EmbeddedServers]:
    """Servers with an object, in a data folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="tryon-open-"))
    folder.chmod(0o755)
    try:
        with EmbeddedServers(folder, only=NAMES) as servers:
            ends = servers.endpoints
            client = boto3.client(
                "s3",
                endpoint_url=ends["s3_endpoint_url"],
                region_name="us-east-1",
                aws_access_key_id=ends["s3_access_key_id"],
                aws_secret_access_key=ends["s3_secret_access_key"],
            )
            client.put_object(Bucket="tryon-input", Key="secret", Body=b"a photograph")
            yield servers
            assert client.get_object(Bucket="tryon-input", Key="secret")["Body"].read() == b"a photograph"
            client.close()
    finally:
        shutil.rmtree(folder)


def ports(servers: EmbeddedServers, name: str) -> list[int]:
    """Return every port on which a server or its children listen."""
    top = psutil.Process(servers.servers[name].process.pid)
    found = {
        connection.laddr.port
        for process in (top, *top.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert found
    return sorted(found)


def as_user(uid: int, attack: Callable[[], list[str]]) -> list[str]:
    """Run the attack in a child process of the user; returns what it could do."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            result = attack()
        except BaseException:
            result = [traceback.format_exc()]
        os.write(writing, json.dumps(result[:50]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as output:
        findings: list[str] = json.loads(output.read())
    os.waitpid(child, 0)
    return findings


def connect(port: int, encrypted: bool) -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    if not encrypted:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the authorities: they take long to load
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context.wrap_socket(plain)


def answer_to(port: int, data: bytes, encrypted: bool) -> bytes:
    """Return the first bytes of the answer; none when the connection is refused or closed."""
    try:
        with connect(port, encrypted) as connection:
            connection.sendall(data)
            return connection.recv(65536)
    except OSError:  # ssl.SSLError is one
        return b""


def http_attack(ports: list[int], s3_port: int) -> list[str]:
    findings = []
    for port in ports:
        for encrypted in (False, True):
            for method in ("GET", "PUT", "POST", "DELETE"):
                for path in PATHS:
                    request = REQUEST.format(method=method, path=path).encode()
                    head, _, body = answer_to(port, request, encrypted).partition(b"\r\n\r\n")
                    status = head.split(b" ")[1] if head.startswith(b"HTTP/1") else b""
                    harmless = port == s3_port and method == "GET" and path in HARMLESS and not body
                    if status[:1] in (b"2", b"3") and not harmless:
                        findings.append(f"{method} {path} on {port}: {status!r} {body[:100]!r}")
    return findings


def grpc_attack(ports: list[int]) -> list[str]:
    """Open a gRPC connection on each port: a server that lets everybody in answers with its settings."""
    return [
        f"gRPC on {port}, encrypted={encrypted}: {answer[:50]!r}"
        for port in ports
        for encrypted in (False, True)
        if (answer := answer_to(port, GRPC_PREFACE, encrypted)) and answer[3:4] == b"\x04"
    ]


def test_every_port_of_the_object_store_is_closed_to_another_user(
    intruder: int, open_servers: EmbeddedServers
) -> None:
    found = ports(open_servers, "s3")
    s3_port = urlsplit(open_servers.endpoints["s3_endpoint_url"]).port
    assert s3_port in found
    assert as_user(intruder, lambda: http_attack(found, s3_port or 0)) == []
    assert as_user(intruder, lambda: grpc_attack(found)) == []


def test_the_attack_finds_an_open_server(intruder: int) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        assert as_user(intruder, lambda: http_attack([server.server_port], 0)) != []
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_database_and_the_broker_need_their_passwords(
    intruder: int, open_servers: EmbeddedServers
) -> None:
    ends = open_servers.endpoints

    def attack() -> list[str]:
        findings = []
        for port in ports_of_postgres:
            for user in ("postgres", "tryon"):
                for password in ("", "postgres", "tryon"):
                    try:
                        psycopg.connect(
                            host="127.0.0.1", port=port, user=user, password=password, dbname="postgres"
                        ).close()
                        findings.append(f"PostgreSQL lets {user} in with the password {password!r}")
                    except psycopg.OperationalError:
                        pass
        for port in ports_of_valkey:
            for command in ("PING", "KEYS *", "CONFIG GET requirepass", "LPUSH cpu x", "ACL LIST", "INFO"):
                answer = answer_to(port, f"{command}\r\n".encode(), encrypted=False)
                if not answer.startswith(b"-NOAUTH"):
                    findings.append(f"Valkey answers {command}: {answer[:100]!r}")
        return findings

    ports_of_postgres, ports_of_valkey = ports(open_servers, "postgres"), ports(open_servers, "valkey")
    with redis.Redis.from_url(ends["broker_url"]) as client:
        assert client.ping()  # with the password
    assert as_user(intruder, attack) == []


def open_files(folder: Path) -> list[str]:
    findings = []
    for parent, folders, files in os.walk(folder):
        findings += [
            f"{parent}/{name} can be changed" for name in folders if os.access(f"{parent}/{name}", os.W_OK)
        ]
        for name in files:
            if os.access(f"{parent}/{name}", os.R_OK) and name != "embedded.lock":  # it has a process id
                findings.append(f"{parent}/{name} can be read")
    for path in Path(tempfile.gettempdir()).glob("seaweedfs-*.sock"):
        with socket.socket(socket.AF_UNIX) as client:
            if not client.connect_ex(str(path)):
                findings.append(f"{path} can be connected")
    return findings


def told_secrets(secrets: list[str]) -> list[str]:
    """Return the command lines and environments with a secret, of the processes that the user may look at."""
    findings = []
    for path in Path("/proc").glob("[0-9]*/*"):
        if path.name in ("cmdline", "environ"):
            with suppress(OSError):
                text = path.read_bytes()
                findings += [f"{path} has a secret" for secret in secrets if secret.encode() in text]
    return findings


def test_no_file_socket_or_command_line_gives_a_secret_away(
    intruder: int, open_servers: EmbeddedServers
) -> None:
    folder = open_servers.folder.path
    secrets = [
        str(value) for value in json.loads((folder / "servers.json").read_text())["passwords"].values()
    ]
    assert len(secrets) >= 4

    assert as_user(intruder, lambda: open_files(folder)) == []
    assert as_user(intruder, lambda: told_secrets(secrets)) == []


def test_logs_can_be_read_by_their_owner_only(open_servers: EmbeddedServers) -> None:
    logs = list((open_servers.folder.path / "logs").iterdir())
    assert len(logs) == 3
    assert {oct(path.stat().st_mode & 0o777) for path in logs} == {"0o600"}
    assert oct((open_servers.folder.path / "logs").stat().st_mode & 0o777) == "0o700"
