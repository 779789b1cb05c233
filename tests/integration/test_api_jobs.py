"""Jobs of the HTTP interface that run: a real server, real database, broker and object store, stub stages."""

import json
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image

from config.errors import InputValidationError
from db import jobs
from tasks import tryon
from tests.support import quick
from tests.support.api import png
from tests.support.inputs import put


def test_a_batch_of_a_python_producer_is_written_whole_or_not_at_all(database):
    requests = [{"person_key": "people/a", "cloth_key": f"cloths/{number}"} for number in range(3)]
    handles = tryon.batch(requests, seed=4, priority=1)
    records = [jobs.status(handle.id) for handle in handles]
    assert [record["cloth_key"] for record in records] == ["cloths/0", "cloths/1", "cloths/2"]
    assert {(record["options"]["seed"], record["options"]["priority"]) for record in records} == {(4, 1)}
    wrong = [{"person_key": "people/b", "cloth_key": "cloths/0"}, {"person_key": "people/b", "cloth_key": ""}]
    with pytest.raises(InputValidationError, match=r"Request 1 of the batch, from 0: .*cloth_key"):
        tryon.batch(wrong)
    with pytest.raises(InputValidationError, match="1 to 1000 requests, not 0"):
        tryon.batch([])
    assert len(jobs.recent()) == 3


# The tests below run a worker until the end of the module; those above need jobs that stay queued.


def test_pictures_become_a_result(api_client, quick_worker, request):
    files = {"person": png(request.node.name), "garment": png("garment")}
    response = api_client.post(
        "/v1/tryons", files=files, data={"seed": "7", "output_format": "png"}, headers={"Prefer": "wait=30"}
    )
    assert response.status_code == 200, response.text
    record = response.json()
    assert (record["status"], record["options"]["seed"]) == ("succeeded", 7)
    assert response.headers["Preference-Applied"] == "wait=30"
    result = api_client.get(f"/v1/tryons/{record['id']}/result")
    assert result.status_code == 302
    picture = np.asarray(Image.open(BytesIO(httpx.get(result.headers["location"]).content)))
    assert (picture == quick.expected_result(files["person"], files["garment"])).all()


def test_events_end_with_the_job(api_client, quick_worker, request):
    (person_key, cloth_key), _ = put(request, person="hold http-events")
    job_id = api_client.post("/v1/tryons", json={"person_key": person_key, "cloth_key": cloth_key}).json()[
        "id"
    ]
    quick.await_hold("http-events")
    seen = []
    with api_client.stream("GET", f"/v1/tryons/{job_id}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
                quick.release("http-events")  # after the first event
    assert [record["id"] for record in seen] == [job_id] * len(seen)
    assert (seen[0]["status"], seen[-1]["status"]) == ("running", "succeeded")
