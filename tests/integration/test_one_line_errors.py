"""What an operator reads when a server is not as it should be: one line, and the next command."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

import db.session
from config.endpoints import s3_endpoint
from config.settings import settings
from db import migrate
from tasks.cli import main
from tests.support.workers import ROOT
from worker.app import app
from worker.artifacts import storage


@dataclass(frozen=True)
class Printed:
    code: int
    out: str
    err: str


@contextmanager
def surroundings(monkeypatch, environment):
    """This process with other settings, as if it had just started."""
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv("TRYON_DATA_DIR", str(ROOT / ".tryon"))
        patch.setattr(db.session, "_outage_timeout_s", None)
        _forget_connections()
        patch.setitem(app.conf, "broker_url", settings().broker_url)
        yield patch
    _forget_connections()


def _forget_connections():
    db.session.dispose()
    settings.cache_clear()
    storage.reset()


@pytest.fixture
def tryon(monkeypatch, capsys):
    def run(environment, *arguments):
        with surroundings(monkeypatch, environment) as patch:
            patch.setattr(sys, "argv", ["tryon", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        printed = capsys.readouterr()
        return Printed(ended.value.code or 0, printed.out, printed.err)

    return run


@pytest.fixture(scope="module")
def admin(servers):
    password = servers.folder.password("postgres-admin")
    url = f"postgresql://postgres:{password}@127.0.0.1:{servers.postgres.port}"
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        yield connection


def _in(url, database):
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


@pytest.fixture(scope="module")
def databases(servers, admin):
    """Databases that tryon cannot use, by name -> URL."""
    url = servers.endpoints["database_url"]
    names = ("empty", "older", "newer", "foreign_tables", "foreign_alembic", "forbidden")
    for name in names:
        admin.execute(f"CREATE DATABASE {name} OWNER tryon")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("older", "newer"):
            with surroundings(patch, {"TRYON_DATABASE_URL": _in(url, name)}):
                migrate.upgrade()
                if name == "older":
                    migrate.downgrade("0002")
    change = {
        "newer": "UPDATE alembic_version SET version_num = '9999'",
        "foreign_tables": "CREATE TABLE jobs (title text)",
        "foreign_alembic": "CREATE TABLE alembic_version AS SELECT 'a1b2c3d4e5f6' AS version_num",
    }
    for name, statement in change.items():
        with psycopg.connect(_in(url, name)) as connection:
            connection.execute(statement)
    yield {name: _in(url, name) for name in names}
    db.session.dispose()
    for name in names:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def environment(servers, databases, database, request):
    """The environment of a scenario."""
    url = servers.endpoints["database_url"]
    storage.storage().ensure_buckets()
    broker = servers.endpoints["broker_url"]
    made = {
        "wrong database password": {
            "TRYON_DATABASE_URL": url.replace(urlsplit(url).password, "wrong-secret"),
        },
        "no such database": {"TRYON_DATABASE_URL": _in(url, "nowhere")},
        "database away": {"TRYON_DATABASE_URL": "postgresql://u:wrong-secret@127.0.0.1:9/x"},
        "wrong broker password": {
            "TRYON_BROKER_URL": broker.replace(urlsplit(broker).password, "wrong-secret"),
        },
        "broker away": {"TRYON_BROKER_URL": "redis://:wrong-secret@127.0.0.1:9/0"},
        "missing buckets": {"TRYON_INPUT_BUCKET": "no-such-bucket"},
        "wrong store password": {"TRYON_S3_SECRET_ACCESS_KEY": "wrong-secret"},
        "store away": {"TRYON_S3_ENDPOINT_URL": "http://127.0.0.1:9"},
        "no sweep": {},
    } | {name.replace("_", " "): {"TRYON_DATABASE_URL": other} for name, other in databases.items()}
    return made[request.param]


TABLES = [
    ("empty", "SchemaError", "no tables yet", "tryon db upgrade"),
    ("older", "SchemaError", "revision 0002, older than this version", "tryon db upgrade"),
    ("newer", "SchemaError", "revision 9999, newer than this version", "tryon db downgrade"),
    ("foreign tables", "SchemaError", "table jobs that tryon did not make", "TRYON_DATABASE_URL"),
    ("foreign alembic", "SchemaError", "belongs to another application", "TRYON_DATABASE_URL"),
    ("wrong database password", "DatabaseUnavailableError", "authentication failed", "TRYON_DATABASE_URL"),
    ("no such database", "DatabaseUnavailableError", "does not exist", "TRYON_DATABASE_URL"),
    ("database away", "DatabaseUnavailableError", "does not answer", "tryon up"),
]


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "status some-id",
        "submit a b",
        "cancel x",
        "retry x",
        "webhooks send",
        "serve",
        "sweep",
    ],
)
@pytest.mark.parametrize(("environment", "name", "problem", "remedy"), TABLES, indirect=["environment"])
def test_commands_that_need_the_tables(environment, name, problem, remedy, command, tryon):
    printed = tryon(environment | {"TRYON_OUTAGE_PATIENCE_S": "0"}, *command.split())
    assert (printed.code, printed.out) == (4, "")
    assert_one_line(printed.err, name, problem, remedy)


def assert_one_line(text, *parts):
    assert len(text.splitlines()) == 1, text
    assert all(part in text for part in parts), text
    assert "wrong-secret" not in text


@pytest.mark.parametrize(("environment", "name", "problem", "remedy"), TABLES[2:3], indirect=["environment"])
def test_a_worker_does_not_start(environment, name, problem, remedy):
    worker = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-Q", "no-stage"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert worker.returncode == os.EX_CONFIG
    (line,) = [line for line in worker.stderr.splitlines() if "CRITICAL" in line]
    assert_one_line(line, "This worker cannot start", problem, remedy)


@pytest.mark.parametrize(
    ("environment", "name", "problem", "remedy"),
    [row for row in TABLES if row[0] not in ("empty", "older")],
    indirect=["environment"],
)
@pytest.mark.parametrize("command", ["upgrade", "current", "downgrade 0001 --yes"])
def test_commands_that_change_the_tables(environment, name, problem, remedy, command, tryon):
    printed = tryon(environment | {"TRYON_OUTAGE_PATIENCE_S": "0"}, "db", *command.split())
    assert printed.code == 4
    assert_one_line(printed.err, name, problem, remedy)


@pytest.mark.parametrize(
    ("environment", "check", "problem", "fix"),
    [(state, "database", problem, remedy) for state, _, problem, remedy in TABLES]
    + [
        ("wrong broker password", "broker", "invalid username-password pair", "TRYON_BROKER_URL"),
        ("broker away", "broker", "refused", "TRYON_BROKER_URL"),
        ("missing buckets", "object store", "no bucket 'no-such-bucket'", "tryon create-buckets"),
        ("wrong store password", "object store", "TRYON_S3_SECRET_ACCESS_KEY", "TRYON_S3"),
        ("store away", "object store", "does not answer", "TRYON_S3_ENDPOINT_URL"),
        ("no sweep", "sweep", "No sweep runs (none has ever run)", "tryon sweep"),
    ],
    indirect=["environment"],
)
def test_the_doctor(environment, check, problem, fix, tryon):
    printed = tryon(environment | {"TRYON_OUTAGE_PATIENCE_S": "0"}, "doctor", "--json")
    assert (printed.code, printed.err) == (4, "")
    (finding,) = [found for found in json.loads(printed.out)["checks"] if found["check"] == check]
    assert not finding["ok"]
    assert_one_line(finding["finding"], problem)
    assert fix in finding["fix"]


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "person.jpg"
    path.write_bytes(b"a photograph")
    return str(path)


@pytest.mark.parametrize(
    ("environment", "problem", "remedy"),
    [
        ("wrong store password", "SignatureDoesNotMatch", "TRYON_S3_SECRET_ACCESS_KEY"),
        ("store away", "does not answer", "TRYON_S3_ENDPOINT_URL"),
    ],
    indirect=["environment"],
)
def test_the_upload_of_a_submission(environment, problem, remedy, tryon, picture):
    printed = tryon(environment, "submit", picture, picture)
    assert (printed.code, printed.out) == (4, "")
    assert_one_line(printed.err, "StorageError", problem, remedy)


@pytest.mark.parametrize("environment", ["wrong broker password", "broker away"], indirect=True)
def test_a_submission_without_a_broker_is_accepted(environment):
    printed = subprocess.run(
        [sys.executable, "-c", "from tasks.cli import main; main()", "submit", "a", "b", "--json"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(printed.stdout)["status"] == "queued"
    accepted, no_sweep = printed.stderr.splitlines()
    assert_one_line(accepted, "is accepted, the sweep starts it")
    assert_one_line(no_sweep, "No sweep runs", "tryon sweep")


def test_the_buckets_are_created(servers, tryon):
    buckets = {"TRYON_INPUT_BUCKET": "new-input", "TRYON_OUTPUT_BUCKET": "new-output"}
    assert tryon(buckets, "create-buckets").out == "The buckets new-input and new-output exist\n"
    created = storage.Storage(s3_endpoint(), "new-input", "new-output")
    created.check()
    created.close()


def test_the_tables_go_down_and_up_again(databases, tryon):
    empty = {"TRYON_DATABASE_URL": databases["empty"]}
    assert tryon(empty, "db", "current").code == 4
    newest = migrate.newest()
    assert tryon(empty, "db", "upgrade").out == f"The tables are at revision {newest}\n"
    assert tryon(empty, "db", "downgrade", "0001", "--yes").out == "The tables are at revision 0001\n"
    older = tryon(empty, "db", "current", "--json")
    assert (older.code, json.loads(older.out)) == (4, {"current": "0001", "newest": newest})
    assert_one_line(older.err, "older than this version", "tryon db upgrade")
    wrong = tryon(empty, "db", "downgrade", newest, "--yes")
    assert wrong.code == 4
    assert_one_line(wrong.err, "The tables are at revision 0001: name one of 0001")
    assert tryon(empty, "db", "upgrade").out == f"The tables are at revision {newest}\n"
    assert tryon(empty, "db", "current").code == 0
