"""The HTTP interface: a real server, real database, broker and object store, stub stages."""

import json
import socket
from collections import Counter

import httpx
import pytest

from config.settings import ConfigurationError
from db import jobs, keys
from tasks.api import server
from tests.support.api import ApiProcess, png
from tests.support.inputs import put
from tests.support.waiting import wait_for


def submit_objects(client, request, headers=None, suffix="", **options):
    (person_key, cloth_key), contents = put(request, suffix=suffix)
    body = {"person_key": person_key, "cloth_key": cloth_key, **options}
    return client.post("/v1/tryons", json=body, headers=headers or {}), contents


def assert_problem(response, status, name):
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), (
        response.text
    )
    document = response.json()
    assert (document["name"], document["status"]) == (name, status)
    assert document["type"] == f"urn:tryon:problem:{name}"
    assert document["detail"]
    return document


def test_the_record_is_the_one_of_the_database(api_client, request):
    response, _ = submit_objects(api_client, request, seed=3)
    assert response.status_code == 202
    assert response.json() == jobs.status(response.json()["id"])
    again = api_client.get(response.headers["location"])
    assert (again.status_code, again.json()) == (200, response.json())
    assert again.headers["retry-after"] == "2"


def test_the_same_idempotency_key_gives_the_same_job(api_client, shop, request):
    headers = {"Idempotency-Key": "order 1"}
    first, _ = submit_objects(api_client, request, headers)
    again, _ = submit_objects(api_client, request, headers)
    assert first.json()["id"] == again.json()["id"]
    other, _ = submit_objects(api_client, request, headers, seed=1)
    assert_problem(other, 409, "IdempotencyConflictError")
    tenant = shop("other", input_prefix="")
    theirs, _ = submit_objects(tenant, request, headers)
    assert theirs.json()["id"] != first.json()["id"], "each tenant has idempotency keys of its own"


def test_a_batch_is_submitted_whole_or_not_at_all(api_client, request):
    body = {"person_keys": ["people/a", "people/b"], "cloth_keys": ["cloths/a", "cloths/b"], "seed": 5}
    headers = {"Idempotency-Key": "batch"}
    response = api_client.post("/v1/tryons:batch", json=body, headers=headers)
    assert response.status_code == 202, response.text
    records = response.json()["tryons"]
    pairs = [(record["person_key"], record["cloth_key"]) for record in records]
    assert pairs == [(person, cloth) for person in body["person_keys"] for cloth in body["cloth_keys"]]
    assert {record["options"]["seed"] for record in records} == {5}
    again = api_client.post("/v1/tryons:batch", json=body, headers=headers).json()["tryons"]
    assert [record["id"] for record in again] == [record["id"] for record in records]
    wrong = api_client.post("/v1/tryons:batch", json=body | {"cloth_keys": ["cloths/c", ""]})
    problem = assert_problem(wrong, 422, "InputValidationError")
    assert "Request 1" in problem["detail"]
    assert jobs.counts() == {"queued": 4}


def test_a_job_is_canceled_retried_and_forgotten(api_client, request):
    response, _ = submit_objects(api_client, request)
    path = response.headers["location"]
    assert_problem(api_client.get(f"{path}/result"), 409, "NoResultError")
    assert_problem(api_client.post(f"{path}/retry"), 409, "NotRetryableError")
    assert api_client.post(f"{path}/cancel").json()["status"] == "canceled"
    assert_problem(api_client.post(f"{path}/cancel"), 409, "FinishedJobError")
    retried = api_client.post(f"{path}/retry")
    assert (retried.status_code, retried.json()["status"]) == (202, "queued")
    assert api_client.delete(path).status_code == 204
    for answer in (api_client.get(path), api_client.delete(path), api_client.post(f"{path}/cancel")):
        assert_problem(answer, 404, "UnknownJobError")


def test_a_list_is_read_page_by_page(api_client, request):
    ids = [submit_objects(api_client, request, suffix=str(number))[0].json()["id"] for number in range(5)]
    jobs.cancel(ids[1])
    found, cursor = [], None
    while True:
        page = api_client.get(
            "/v1/tryons", params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        ).json()
        found += [job["id"] for job in page["tryons"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == ids[::-1]
    canceled = api_client.get("/v1/tryons", params={"status": "canceled"}).json()["tryons"]
    assert [job["id"] for job in canceled] == [ids[1]]
    assert_problem(api_client.get("/v1/tryons", params={"cursor": "x"}), 422, "InputValidationError")


def test_a_tenant_sees_its_own_jobs_only(shop, request):
    mine, theirs = shop("mine", input_prefix=""), shop("theirs")
    response, _ = submit_objects(mine, request)
    path = response.headers["location"]
    for answer in (
        theirs.get(path),
        theirs.get(f"{path}/events"),
        theirs.get(f"{path}/result"),
        theirs.post(f"{path}/cancel"),
        theirs.post(f"{path}/retry"),
        theirs.delete(path),
    ):
        assert_problem(answer, 404, "UnknownJobError")
    assert theirs.get("/v1/tryons").json()["tryons"] == []
    assert_problem(theirs.get("/v1/tryons", params={"tenant": "mine"}), 422, "InputValidationError")
    assert mine.get(path).json()["tenant"] == "mine"


def test_a_key_names_its_own_pictures_only(shop, request):
    client, other = shop("shop"), shop("other")
    keys_of = [
        client.post("/v1/pictures", content=png(name), headers={"Content-Type": "image/png"}).json()["key"]
        for name in ("a", "b")
    ]
    body = dict(zip(("person_key", "cloth_key"), keys_of, strict=True))
    assert client.post("/v1/tryons", json=body).status_code == 202
    assert_problem(other.post("/v1/tryons", json=body), 422, "InputValidationError")
    response, _ = submit_objects(client, request)
    assert "uploads/shop/" in assert_problem(response, 422, "InputValidationError")["detail"]


def test_a_missing_wrong_or_revoked_key_is_refused(api_client, shop):
    assert api_client.get("/v1/tryons").status_code == 200, (
        "on loopback none is needed before the first is made"
    )
    owner = shop()
    assert owner.get("/v1/tryons").status_code == 200
    wait_for(lambda: api_client.get("/v1/tryons").status_code == 401, "the server to ask for a key")
    assert_problem(api_client.get("/v1/tryons"), 401, "AuthenticationError")
    wrong = api_client.get("/v1/tryons", headers={"Authorization": "Bearer tryon_wrong"})
    assert "not valid" in assert_problem(wrong, 401, "AuthenticationError")["detail"]
    assert keys.revoke_key(owner.headers["X-Key-Id"])
    wait_for(lambda: owner.get("/v1/tryons").status_code == 401, "the server to forget the key")
    assert_problem(api_client.get("/v1/tryons"), 401, "AuthenticationError")


def test_keys_are_not_stored(shop, database):
    client = shop(label="web")
    (row,) = keys.all_keys()
    key = client.headers["authorization"].removeprefix("Bearer ")
    assert (row["tenant"], row["label"]) == ("shop", "web")
    assert key not in json.dumps(row)


def test_a_server_without_keys_answers_this_machine_only(api_client):
    for headers in ({"Host": "evil.example"}, {"X-Forwarded-For": "203.0.113.1"}):
        assert_problem(api_client.get("/v1/tryons", headers=headers), 403, "AuthenticationError")
    foreign = {"Origin": "https://evil.example"}
    assert_problem(api_client.post("/v1/tryons", json={}, headers=foreign), 403, "ForeignOriginError")


def test_a_body_of_a_gigabyte_is_refused_before_it_is_sent(api_server, database):
    head = "POST /v1/pictures HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n"
    answer = _raw(api_server, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"name":"BodyTooLargeError"' in answer


def test_a_body_of_unknown_length_is_refused_when_it_becomes_too_large(api_client):
    def chunks():
        yield png("head")
        while True:
            yield bytes(1_000_000)

    try:
        response = api_client.post("/v1/pictures", content=chunks())
    except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        return  # the server has closed the connection while this client still sent
    assert_problem(response, 413, "BodyTooLargeError")


@pytest.mark.parametrize(
    "beginning",
    [
        "",
        "POST /v1/pictures HTTP/1.1\r\nHost:",
        "POST /v1/pictures HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nslow",
    ],
    ids=["silent", "head", "body"],
)
def test_a_slow_client_is_refused(api_server, database, beginning):
    answer = _raw(api_server, beginning.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.split(b"\r\n\r\n")[1])["name"] == "SlowRequestError"


def _raw(api_server, head):
    """Send the beginning of a request; return the answer up to the end of the connection."""
    url = httpx.URL(api_server.url)
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        connection.sendall(head)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "name"),
    [
        ("/v1/tryons", b"{", {"Content-Type": "application/json"}, 422, "InputValidationError"),
        ("/v1/tryons", b"[]", {"Content-Type": "application/json"}, 422, "InputValidationError"),
        ("/v1/tryons", b"{}", {"Content-Type": "text/plain"}, 415, "UnsupportedMediaTypeError"),
        ("/v1/tryons", b"{}", {"Content-Type": "application/json"}, 422, "InputValidationError"),
        ("/v1/tryons", b"x", {"Content-Type": "multipart/form-data"}, 400, "BadRequestError"),
        ("/v1/tryons", b'{"tenant": "x"}', {"Content-Type": "application/json"}, 422, "InputValidationError"),
        ("/v1/tryons:batch", b"{}", {"Content-Type": "application/json"}, 422, "InputValidationError"),
        ("/v1/pictures", b"text", {}, 422, "ImageLoadError"),
        ("/v1/pictures", b"", {}, 422, "ImageLoadError"),
        ("/v1/nothing", b"", {}, 404, "NotFoundError"),
        ("/v1/tryons/x/cancel", b"", {}, 404, "UnknownJobError"),
        ("/v1/tryons/%00/cancel", b"", {}, 404, "UnknownJobError"),
    ],
)
def test_a_bad_request_gets_its_named_error(api_client, path, body, headers, status, name):
    assert_problem(api_client.post(path, content=body, headers=headers), status, name)


def test_many_requests_at_once_are_read_together(api_client, request):
    ids = [submit_objects(api_client, request, suffix=str(number))[0].json()["id"] for number in range(3)]
    records = jobs.statuses([*ids, "unknown"])
    assert records == {job_id: jobs.status(job_id) for job_id in ids}
    assert Counter(record["queue_position"] for record in records.values()) == Counter((1, 2, 3))


def test_a_server_beyond_loopback_needs_a_key(database):
    with pytest.raises(ConfigurationError, match=r"0\.0\.0\.0 can be reached"):
        server.run("0.0.0.0", 0)  # noqa: S104 - it is refused


def test_a_server_beyond_loopback_has_limits(database, request, tmp_path):
    _, key = keys.add_key("shop", input_prefix="")
    limits = {"TRYON_TENANT_LIMIT": "1", "TRYON_API_RATE_PER_S": "2"}
    running = ApiProcess(tmp_path / "api.log", "--host", "0.0.0.0", **limits)  # noqa: S104 - a key protects it
    running.url = running.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - the address of the page
    try:
        with running.client() as stranger, running.client(key) as client:
            assert_problem(stranger.get("/v1/tryons"), 401, "AuthenticationError")
            assert submit_objects(client, request, suffix="1")[0].status_code == 202
            full, _ = submit_objects(client, request, suffix="2")
            assert assert_problem(full, 429, "QueueLimitError")["retryable"]
            limited = wait_for(
                lambda: (answer := client.get("/v1/tryons")).status_code == 429 and answer, "the limit"
            )
            assert_problem(limited, 429, "RateLimitError")
            assert int(limited.headers["retry-after"]) >= 1
    finally:
        running.stop()
