"""The object store with a real S3 server."""

import multiprocessing
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest

from config.endpoints import S3Endpoint, s3_endpoint
from config.errors import ArtifactError, ImageLoadError, InputValidationError, StorageError
from worker.artifacts import storage as module
from worker.artifacts.storage import Storage, storage
from worker.machine.embedded.servers import EmbeddedServers

ARTIFACT = "artifacts/pose/" + "ab" * 32


@pytest.fixture
def store(servers: EmbeddedServers) -> Iterator[Storage]:
    yield storage()
    module.reset()


def test_an_input_is_returned_unchanged(store: Storage) -> None:
    key = "people/Ä b+c&d=1%20/ü.jpg"
    store.put_input(key, b"picture" * 1000, "image/jpeg")
    assert store.get_input(key, max_bytes=7000) == b"picture" * 1000
    store.put_input("empty", b"", "image/jpeg")
    assert store.get_input("empty", max_bytes=1) == b""


def test_missing_and_large_inputs_are_named_errors(store: Storage) -> None:
    with pytest.raises(
        InputValidationError, match=r"no object 'missing\.jpg' in bucket 'tryon-input'"
    ) as missing:
        store.get_input("missing.jpg", max_bytes=10)
    assert missing.value.input == "missing.jpg"
    store.put_input("large.jpg", b"x" * 11, "image/jpeg")
    with pytest.raises(ImageLoadError, match="11 bytes; at most 10") as large:
        store.get_input("large.jpg", max_bytes=10)
    assert large.value.input == "large.jpg"
    assert store.get_input("large.jpg", max_bytes=11) == b"x" * 11  # the connection is still usable


@pytest.mark.parametrize("key", ["", "x" * 5000])
def test_an_invalid_object_key_is_a_user_error(store: Storage, key: str) -> None:
    with pytest.raises(InputValidationError):
        store.get_input(key, max_bytes=10)


def test_artifacts(store: Storage) -> None:
    other = "artifacts/pose/" + "cd" * 32
    assert not store.has_artifact(other)
    store.put_artifact(ARTIFACT, b"one")
    store.put_artifact(ARTIFACT, b"one")
    assert store.has_artifact(ARTIFACT)
    assert store.get_artifact(ARTIFACT) == b"one"
    with pytest.raises(ArtifactError, match=f"{other} is missing"):
        store.get_artifact(other)


@pytest.mark.parametrize(
    "key", ["artifacts/pose/..", "results/x/y", "artifacts/../" + "ab" * 32, ARTIFACT + "\n"]
)
def test_an_invalid_artifact_key_is_refused(store: Storage, key: str) -> None:
    with pytest.raises(ValueError, match="not an artifact key"):
        store.put_artifact(key, b"")


def test_a_result_has_a_presigned_url(store: Storage) -> None:
    store.put_result("results/1/tryon.png", b"picture", "image/png")
    assert store.get_result("results/1/tryon.png") == b"picture"
    url = store.presign_result("results/1/tryon.png", 60)
    with urllib.request.urlopen(url) as response:  # noqa: S310 - an http address of the test's own server
        assert response.read() == b"picture"
        assert response.headers["Content-Type"] == "image/png"
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(url.split("?")[0])  # noqa: S310 - as above
    refused.value.close()


def test_buckets_are_created_once_and_named_when_missing(store: Storage) -> None:
    other = Storage(s3_endpoint(), "other-input", "other-output")
    with pytest.raises(StorageError, match=r"no bucket 'other-input'.*TRYON_INPUT_BUCKET"):
        other.check()
    with pytest.raises(StorageError, match=r"no bucket 'other-output'.*TRYON_OUTPUT_BUCKET"):
        other.has_artifact(ARTIFACT)
    with pytest.raises(StorageError, match=r"no bucket 'other-input'.*TRYON_INPUT_BUCKET"):
        other.get_input("x", max_bytes=1)
    other.ensure_buckets()
    other.ensure_buckets()
    other.check()
    other.close()


def test_wrong_credentials_and_an_unreachable_store_name_the_setting(store: Storage) -> None:
    endpoint = s3_endpoint()
    wrong = Storage(replace(endpoint, secret_access_key="no"), "tryon-input", "o")
    with pytest.raises(StorageError, match="TRYON_S3_SECRET_ACCESS_KEY"):
        wrong.get_input("x", max_bytes=1)
    wrong.close()
    unreachable = Storage(S3Endpoint("http://127.0.0.1:9", endpoint.region, "a", "b"), "tryon-input", "o")
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:9 does not answer.*TRYON_S3_ENDPOINT_URL") as error:
        unreachable.check()
    assert error.value.retryable
    unreachable.close()


def test_a_restart_of_the_server_is_survived(store: Storage, servers: EmbeddedServers) -> None:
    store.put_artifact(ARTIFACT, b"one")
    servers.restart("s3")
    assert store.get_artifact(ARTIFACT) == b"one"


def _read_in_child(parent: int, answers: "multiprocessing.SimpleQueue[tuple[bool, bytes]]") -> None:
    answers.put((id(storage().client) != parent, storage().get_artifact(ARTIFACT)))


def test_a_forked_child_has_its_own_client(store: Storage) -> None:
    store.put_artifact(ARTIFACT, b"one")
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    child = fork.Process(target=_read_in_child, args=(id(store.client), answers))
    child.start()
    assert answers.get() == (True, b"one")
    child.join()
    answers.close()
