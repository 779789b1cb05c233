"""The command line as a person uses it: in a process of its own, against running servers and workers."""

import json
import os
import subprocess
import sys
import urllib.request

import pytest

from tests.support.workers import BRISK, ROOT
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
        env=os.environ | BRISK | environment,
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
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == saved.read_bytes() == storage().get_result(record["result_key"])
    assert tryon("cancel", record["id"]).returncode == 3


def test_a_failed_job_has_its_exit_code_and_its_reason(files):
    files[0].write_text("raise NoPersonError")
    submitted = tryon("submit", *files, "--wait")
    assert submitted.returncode == 3
    assert "NoPersonError" in submitted.stdout
    job_id = json.loads(tryon("status", "--json").stdout)["jobs"][0]["id"]
    asked = tryon("result", job_id, "--url")
    assert (asked.returncode, asked.stdout) == (3, "")
    assert "as the test asked" in asked.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("status", "no-such-job"), "no-such-job"),
        (("submit", "a", "b", "--engine", "magic"), "engine"),
        (("submit", "a"), "cloth"),
        (("run", "nowhere.jpg", "nowhere.png"), "nowhere.jpg"),
    ],
)
def test_a_wrong_call_has_its_exit_code(arguments, says):
    done = tryon(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"TRYON_DATABASE_URL": "postgresql://x@127.0.0.1:9/x"}, "TRYON_DATABASE_URL"),
        ({"TRYON_DATABASE_URL": "mysql://x"}, "TRYON_DATABASE_URL"),
        ({"TRYON_LEASE_S": "soon"}, "TRYON_LEASE_S"),
    ],
)
def test_a_system_out_of_reach_has_its_exit_code(environment, says):
    done = tryon("status", "any", TRYON_OUTAGE_PATIENCE_S="0", **environment)
    assert done.returncode == 4
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_finds_what_is_wrong(models_dir):
    models = {"TRYON_DATA_DIR": str(models_dir.parent)}
    healthy = tryon("doctor", "--json", **models)
    report = json.loads(healthy.stdout)
    assert [check for check in report["checks"] if not check["ok"]] == []
    assert (healthy.returncode, report["ok"]) == (0, True)
    sick = tryon("doctor", "--json", TRYON_BROKER_URL="redis://127.0.0.1:9/0", **models)
    wrong = [check for check in json.loads(sick.stdout)["checks"] if not check["ok"]]
    assert sick.returncode == 4
    assert [check["check"] for check in wrong] == ["broker"]
    assert "TRYON_BROKER_URL" in wrong[0]["mend"]


def test_a_picture_without_servers(tmp_path, models_dir):
    person, cloth, output = tmp_path / "person.png", tmp_path / "cloth.png", tmp_path / "out.jpg"
    person.write_bytes(people.astronaut())
    cloth.write_bytes(encode_png(garments.draw(garments.NAMES[0])))
    sheet = tmp_path / "sheet.png"
    done = tryon("run", person, cloth, "-o", output, "--sheet", sheet, TRYON_DATA_DIR=str(models_dir.parent))
    assert done.returncode == 0, done.stderr
    assert output.read_bytes()[:2] == b"\xff\xd8"
    assert sheet.read_bytes()[1:4] == b"PNG"
    assert [line.split()[0] for line in done.stdout.splitlines()[:4]] == [
        "pose",
        "cloth",
        "parse",
        "generate",
    ]

    cloth.write_bytes(b"nothing like a picture")
    bad = tryon("run", person, cloth, "-o", output, TRYON_DATA_DIR=str(models_dir.parent))
    assert bad.returncode == 2
    assert "ImageLoadError" in bad.stderr
    assert "cloth.png" in bad.stderr
