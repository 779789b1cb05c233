"""The two first commands of a new user: `tryon demo`, and `tryon up` with jobs from another terminal."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.support.waiting import wait_for
from tests.support.workers import ROOT
from worker.artifacts.bundle import encode_png
from worker.lab.demo import garments, people

TRYON = (sys.executable, "-c", "from tasks.cli import main; main()")


@pytest.fixture
def environment(tmp_path, models_dir):
    """An environment that sets an empty data folder and nothing else, with the checkout's models."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "models").symlink_to(models_dir)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("TRYON_")}
    return bare | {"TRYON_DATA_DIR": str(data_dir), "TRYON_MINIMUM_SCORE": "0"}


def running_processes(data_dir):
    """Return the processes that use a data folder."""
    return [
        process
        for process in psutil.process_iter(["environ", "cmdline"])
        if str(data_dir) in (process.info["environ"] or {}).get("TRYON_DATA_DIR", "")
        or str(data_dir) in " ".join(process.info["cmdline"] or [])
    ]


def test_the_demo_writes_pictures_and_stops_every_process(environment, tmp_path):
    demo = subprocess.run(
        [*TRYON, "demo"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    lines = [line.split() for line in demo.stdout.splitlines()]
    for stage in ("pose", "cloth", "parse", "generate"):
        assert any(words[:2] == [stage, "succeeded,"] and words[3] == "ms" for words in lines)
    folder = tmp_path / "data" / "demo"
    for name in ("result.png", "sheet.png"):
        assert str(folder / name) in demo.stdout
        assert (folder / name).read_bytes()[1:4] == b"PNG"
    assert running_processes(tmp_path / "data") == []


def test_up_runs_jobs_until_it_is_interrupted(environment, tmp_path):
    person, cloth, log = tmp_path / "person.png", tmp_path / "cloth.png", tmp_path / "up.log"
    person.write_bytes(people.astronaut())
    cloth.write_bytes(encode_png(garments.draw(garments.NAMES[0])))
    with log.open("w") as output:
        up = subprocess.Popen(
            [*TRYON, "up", "--flower-port", "0", "--page-port", "0"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(
            lambda: "Everything runs" in log.read_text() or up.poll() is not None, "everything to run", 200
        )
        assert up.poll() is None, log.read_text()
        submitted = subprocess.run(
            [*TRYON, "submit", str(person), str(cloth), "--wait", "--json"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert submitted.returncode == 0, submitted.stderr
        assert json.loads(submitted.stdout)["status"] == "succeeded"
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)
    assert up.returncode == 0
    assert running_processes(tmp_path / "data") == []
