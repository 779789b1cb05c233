"""The dashboard shows every stage as a task of its own name, with its run time."""

import base64
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tasks import tryon
from tests.support.inputs import put
from tests.support.waiting import wait_for
from tests.support.workers import BRISK, ROOT, WorkerProcess, ended
from worker.artifacts.storage import storage

AUTH = "shop:secret"


@pytest.fixture
def flower(database, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "flower.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "-A", "worker.app", "flower", "--address=127.0.0.1"),
                *(f"--port={port}", f"--basic-auth={AUTH}"),
            ],
            cwd=ROOT,
            env=os.environ | BRISK,
            stdout=output,
            stderr=output,
        )
    yield f"http://127.0.0.1:{port}", log
    process.terminate()
    process.wait(20)


def ask(url, *, auth=AUTH):
    request = urllib.request.Request(url)
    if auth:
        request.add_header("Authorization", "Basic " + base64.b64encode(auth.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


def test_every_stage_is_shown_with_its_run_time(request, flower, sweeping, tmp_path):
    url, log = flower
    wait_for(lambda: isinstance(ask(f"{url}/api/tasks"), dict), f"Flower to answer; see {log}")
    assert ask(f"{url}/api/tasks", auth=None) == 401
    storage().ensure_buckets()
    worker = WorkerProcess(tmp_path / "worker.log")
    try:
        keys, _ = put(request)
        assert ended(tryon.delay(*keys).id)["status"] == "succeeded"
        wanted = {f"tasks.{name}" for name in ("tryon", "pose", "cloth", "parse", "generate")}

        def shown():
            tasks = ask(f"{url}/api/tasks").values()
            return {task["name"] for task in tasks if task["state"] == "SUCCESS" and task["runtime"] > 0}

        wait_for(lambda: shown() >= wanted, "every stage to be shown with its run time")
    finally:
        worker.stop()
