"""The dashboard shows every stage as a task with its name and run time."""

import base64
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from db import jobs
from tasks import tryon
from tests.support.inputs import put
from tests.support.waiting import wait_for
from tests.support.workers import FAST_SETTINGS, ROOT, WorkerProcess, ended
from worker.artifacts.storage import storage
from worker.queue import events

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
                *(sys.executable, "-c", "from tasks.cli import main; main()", "dashboard"),
                *("--port", str(port)),
            ],
            cwd=ROOT,
            env=os.environ | FAST_SETTINGS | {"FLOWER_BASIC_AUTH": AUTH},
            stdout=output,
            stderr=output,
        )
    yield f"http://127.0.0.1:{port}", log
    process.terminate()
    process.wait(20)


def page(url, *, auth=AUTH):
    """Return the text of a response."""
    request = urllib.request.Request(url)  # noqa: S310 - a fixed http address
    if auth:
        request.add_header("Authorization", "Basic " + base64.b64encode(auth.encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - a fixed http address
        return response.read().decode()


def get(url, *, auth=AUTH):
    """Return the JSON of a response, the status code of an error, or None when the server does not answer."""
    try:
        return json.loads(page(url, auth=auth))
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


def test_flower_shows_every_stage_with_its_run_time(request, flower, sweeping, tmp_path):
    url, log = flower
    wait_for(lambda: isinstance(get(f"{url}/api/tasks"), dict), f"Flower to answer; see {log}")
    assert get(f"{url}/api/tasks", auth=None) == 401
    storage().ensure_buckets()
    worker = WorkerProcess(tmp_path / "worker.log")
    try:
        keys, _ = put(request)
        assert ended(tryon.delay(*keys).id)["status"] == "succeeded"
        expected = {f"tasks.{name}" for name in ("tryon", "pose", "cloth", "parse", "generate")}

        def shown():
            tasks = get(f"{url}/api/tasks").values()
            return {task["name"] for task in tasks if task["state"] == "SUCCESS" and task["runtime"] > 0}

        wait_for(lambda: shown() >= expected, "every stage to be shown with its run time")
        failed = tryon.delay(keys[0], "no/such.jpg").id
        canceled = tryon.delay(*keys, seed=7).id
        jobs.cancel(canceled)
        assert ended(failed)["status"] == "failed"

        def task(uuid):
            return get(f"{url}/api/tasks").get(uuid, {"state": None})

        wait_for(lambda: task(failed)["state"] == "FAILURE", "the failed job to be shown as failed")
        assert task(failed)["name"] == "tasks.tryon"
        assert task(failed)["exception"].startswith("InputValidationError: ")
        assert task(f"{failed}.cloth")["state"] == "FAILURE"
        assert task(f"{failed}.cloth")["args"] == repr((failed,))
        wait_for(lambda: task(canceled)["state"] == "REVOKED", "the canceled job to be shown as revoked")
        for path in (f"task/{failed}", f"task/{failed}.cloth", "tasks", "workers"):
            text = page(f"{url}/{path}")
            assert "<html" in text
            assert "Traceback (most recent call last)" not in text
        assert "InputValidationError" in page(f"{url}/task/{failed}")
        assert events.SWEEP in page(f"{url}/workers")
        assert get(f"{url}/metrics") == get(f"{url}/metrics", auth=None) == 404
    finally:
        worker.stop()
