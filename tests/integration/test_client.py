"""The Python client, the one that waits and the one that is awaited, against a real server."""

import asyncio
import os
import shutil
import subprocess
import sys

import httpx
import pytest
from tryon_client import AsyncClient, Client, TryonError

from db import jobs
from tests.support.api import png
from tests.support.workers import ROOT


@pytest.fixture
def client(api_server, database):
    with Client(api_server.url) as running:
        yield running


def test_jobs_are_submitted_in_a_batch_canceled_retried_and_deleted(client):
    batch = client.batch(["people/a"], ["cloths/a", "cloths/b"], seed=1)
    assert [job["cloth_key"] for job in batch] == ["cloths/a", "cloths/b"]
    first = batch[0]["id"]
    client.cancel(first)
    assert client.status(first)["status"] in ("canceled", "failed")
    assert client.retry(first)["id"] == first
    client.forget(first)
    with pytest.raises(TryonError) as raised:
        client.status(first)
    assert (raised.value.name, raised.value.status, raised.value.retryable) == ("UnknownJobError", 404, False)


def test_a_submission_whose_answer_is_lost_is_sent_again_and_gives_one_job(client, monkeypatch):
    send, lost = client._http.request, []

    def lose_the_first(*arguments, **options):
        response = send(*arguments, **options)
        if not lost:
            lost.append(response.json()["id"])
            raise httpx.ReadError("the connection was lost")
        return response

    monkeypatch.setattr(client._http, "request", lose_the_first)
    assert client.submit("people/a", "cloths/b")["id"] == lost[0]
    assert len(jobs.recent()) == 1


def test_the_client_needs_nothing_of_the_server():
    program = (
        "import sys; sys.path.insert(0, 'clients/python'); import tryon_client; "
        "print([name for name in ('tasks', 'db', 'config', 'worker') if name in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-I", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == "[]"


# The tests below run a worker until the end of the module; those above need jobs that stay queued.


def test_files_become_a_picture(client, quick_worker, tmp_path):
    person, garment = tmp_path / "person.png", png("garment of the client")
    person.write_bytes(png("person of the client"))
    job = client.wait(client.submit(person, garment, seed=4, output_format="png")["id"])
    assert (job["status"], job["options"]["seed"]) == ("succeeded", 4)
    client.save(job["id"], tmp_path / "result.png")
    assert (tmp_path / "result.png").read_bytes().startswith(b"\x89PNG")
    assert job["id"] in [listed["id"] for listed in client.list()["tryons"]]


def test_an_awaited_client_follows_a_job(api_server, database, quick_worker):
    async def run():
        async with AsyncClient(api_server.url) as client:
            keys = [
                await client.upload(png(f"{name} of the awaited client")) for name in ("person", "garment")
            ]
            job = await client.submit(*keys)
            seen = [record["status"] async for record in client.events(job["id"])]
            return seen, await client.wait(job["id"]), await client.result(job["id"])

    seen, job, picture = asyncio.run(run())
    assert seen[-1] == job["status"] == "succeeded"
    assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("program", "example"), [("node", "clients/node/example.mjs"), ("php", "clients/php/example.php")]
)
def test_the_examples_in_other_languages(api_server, shop, quick_worker, tmp_path, program, example):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: apt-get install nodejs php-cli php-curl")
    owner = shop(program)
    key = owner.headers["authorization"].removeprefix("Bearer ")
    for name in ("person", "garment"):
        (tmp_path / name).write_bytes(png(f"{name} of {program}"))
    arguments = [str(tmp_path / name) for name in ("person", "garment", "result")]
    done = subprocess.run(
        [program, ROOT / example, *arguments, api_server.url.rstrip("/")],
        env=os.environ | {"TRYON_KEY": key},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "result").read_bytes().startswith(b"\x89PNG")
    assert [job["status"] for job in owner.get("/v1/tryons").json()["tryons"]] == ["succeeded"]
