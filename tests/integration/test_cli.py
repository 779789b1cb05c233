"""The command line in a process of its own, with running servers and workers."""

import importlib.metadata
import json
import os
import subprocess
import sys
import urllib.request

import pytest

from db import jobs
from tests.support.workers import FAST_SETTINGS, ROOT
from worker.artifacts.bundle import encode_png
from worker.artifacts.storage import storage
from worker.lab.demo import garments, people


@pytest.fixture(autouse=True)
def _clean(database, quick_worker):
    pass


def tryon(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", "from tasks.cli import main; main()", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | FAST_SETTINGS | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def files(tmp_path):
    paths = tmp_path / "person.jpg", tmp_path / "cloth.png"
    for path in paths:
        path.write_text(f"contents of {path}")
    return paths


def test_the_version_is_that_of_the_installed_distribution():
    printed = tryon("--version")
    assert (printed.returncode, printed.stdout.strip()) == (0, importlib.metadata.version("tryon-workers"))


def test_a_job_from_files_to_a_picture(files, tmp_path):
    submitted = tryon("submit", *files, "--wait", "--json", "--seed", 3)
    assert submitted.returncode == 0, submitted.stderr
    record = json.loads(submitted.stdout)
    assert (record["status"], record["options"]["seed"]) == ("succeeded", 3)
    assert record["person_key"].endswith(".jpg")

    status = tryon("status", record["id"], "--json")
    assert json.loads(status.stdout)["result_key"] == record["result_key"]
    assert "succeeded" in tryon("status", record["id"]).stdout
    assert json.loads(tryon("status", "--json").stdout)["counts"] == {"succeeded": 1}

    saved = tmp_path / "result.png"
    assert tryon("result", record["id"], "-o", saved).returncode == 0
    url = tryon("result", record["id"], "--url").stdout.strip()
    with urllib.request.urlopen(url) as response:  # noqa: S310 - an http address of the test's own server
        assert response.read() == saved.read_bytes() == storage().get_result(record["result_key"])
    assert tryon("cancel", record["id"]).returncode == 3


def test_a_failed_job_gives_its_exit_code_and_error(files):
    files[0].write_text("raise NoPersonError")
    submitted = tryon("submit", *files, "--wait")
    assert submitted.returncode == 3
    assert "NoPersonError" in submitted.stdout
    job_id = json.loads(tryon("status", "--json").stdout)["jobs"][0]["id"]
    result = tryon("result", job_id, "--url")
    assert (result.returncode, result.stdout) == (3, "")
    assert "as the test requested" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status", "no-such-job"), "no-such-job"),
        (("submit", "a", "b", "--engine", "magic"), "engine"),
        (("submit", "a"), "cloth"),
        (("run", "nowhere.jpg", "nowhere.png"), "nowhere.jpg"),
    ],
)
def test_an_invalid_call_gives_its_exit_code(arguments, message):
    process = tryon(*arguments)
    assert process.returncode == 2
    assert message in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TRYON_DATABASE_URL": "postgresql://x@127.0.0.1:9/x"}, "TRYON_DATABASE_URL"),
        ({"TRYON_DATABASE_URL": "mysql://x"}, "TRYON_DATABASE_URL"),
        ({"TRYON_LEASE_S": "soon"}, "TRYON_LEASE_S"),
    ],
)
def test_an_unreachable_system_gives_its_exit_code(environment, message):
    process = tryon("status", "any", TRYON_OUTAGE_PATIENCE_S="0", **environment)
    assert process.returncode == 4
    assert message in process.stderr
    assert "Traceback" not in process.stderr


def test_the_doctor_finds_problems(models_dir):
    jobs.record_sweep(leases_lost=0)
    models = {"TRYON_DATA_DIR": str(models_dir.parent)}
    healthy = tryon("doctor", "--json", **models)
    report = json.loads(healthy.stdout)
    assert [check for check in report["checks"] if not check["ok"]] == []
    assert (healthy.returncode, report["ok"]) == (0, True)
    broken = tryon("doctor", "--json", TRYON_BROKER_URL="redis://127.0.0.1:9/0", **models)
    failed = [check for check in json.loads(broken.stdout)["checks"] if not check["ok"]]
    assert broken.returncode == 4
    assert [check["check"] for check in failed] == ["broker"]
    assert "TRYON_BROKER_URL" in failed[0]["fix"]


def test_without_a_sweep_commands_say_so_and_name_the_command():
    listed = tryon("status", "--json")
    assert json.loads(listed.stdout) == {"counts": {}, "jobs": []}
    assert listed.stderr.splitlines() == [
        "No sweep runs (none has ever run): lost wake-ups are not repeated, and stages of dead workers are "
        "not retried. Start one: tryon sweep"
    ]
    jobs.record_sweep(leases_lost=0)
    assert tryon("status", "--json").stderr == ""


def test_a_picture_without_servers(tmp_path, models_dir):
    person, cloth, output = tmp_path / "person.png", tmp_path / "cloth.png", tmp_path / "out.jpg"
    person.write_bytes(people.astronaut())
    cloth.write_bytes(encode_png(garments.draw(garments.NAMES[0])))
    sheet = tmp_path / "sheet.png"
    process = tryon(
        "run", person, cloth, "-o", output, "--sheet", sheet, TRYON_DATA_DIR=str(models_dir.parent)
    )
    assert process.returncode == 0, process.stderr
    assert output.read_bytes()[:2] == b"\xff\xd8"
    assert sheet.read_bytes()[1:4] == b"PNG"
    assert [line.split()[0] for line in process.stdout.splitlines()[:4]] == [
        "pose",
        "cloth",
        "parse",
        "generate",
    ]

    cloth.write_bytes(b"not a picture")
    invalid = tryon("run", person, cloth, "-o", output, TRYON_DATA_DIR=str(models_dir.parent))
    assert invalid.returncode == 2
    assert "ImageLoadError" in invalid.stderr
    assert "cloth.png" in invalid.stderr
