"""Responses of the object store become named errors."""

import base64
import hashlib
from collections.abc import Iterator
from io import BytesIO
from unittest.mock import ANY, patch

import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.response import StreamingBody
from botocore.stub import Stubber

from config.endpoints import S3Endpoint
from config.errors import ArtifactError, ImageLoadError, InputValidationError, StorageError
from config.settings import settings
from worker.artifacts.storage import Storage
from worker.queue.request import TryonRequest

ARTIFACT = "artifacts/pose/" + "0f" * 32


@pytest.fixture
def store() -> Iterator[Storage]:
    storage = Storage(S3Endpoint("http://127.0.0.1:9", "us-east-1", "key", "secret"), "in", "out")
    yield storage
    storage.close()


@pytest.fixture
def stub(store: Storage) -> Iterator[Stubber]:
    with Stubber(store.client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


class UnreadBody(BytesIO):
    def read(self, *_: object) -> bytes:
        raise AssertionError("the body was read")


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("AccessDenied", 403, "TRYON_S3_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", 403, "TRYON_S3_SECRET_ACCESS_KEY"),
        ("NoSuchBucket", 404, "TRYON_INPUT_BUCKET"),
        ("SlowDown", 503, "SlowDown"),
        ("InternalError", 500, "InternalError"),
    ],
)
def test_an_error_of_the_store_is_retryable(
    store: Storage, stub: Stubber, code: str, status: int, message: str
) -> None:
    stub.add_client_error("get_object", code, http_status_code=status)
    if code == "AccessDenied":
        stub.add_response("list_objects_v2", {})
    with pytest.raises(StorageError, match=message) as caught:
        store.get_input("person.jpg", max_bytes=10)
    assert caught.value.retryable
    assert caught.value.input == "person.jpg"


def test_a_missing_input_is_a_user_error(store: Storage, stub: Stubber) -> None:
    stub.add_client_error("get_object", "NoSuchKey", http_status_code=404)
    with pytest.raises(InputValidationError, match="upload it first") as caught:
        store.get_input("person.jpg", max_bytes=10)
    assert not caught.value.retryable


def test_a_large_input_is_not_fetched(store: Storage, stub: Stubber) -> None:
    body = StreamingBody(UnreadBody(b"x" * 11), 11)
    stub.add_response("get_object", {"Body": body, "ContentLength": 11})
    with pytest.raises(ImageLoadError, match="11 bytes"):
        store.get_input("person.jpg", max_bytes=10)


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://127.0.0.1:9"),
        ConnectTimeoutError(endpoint_url="http://127.0.0.1:9"),
        ReadTimeoutError(endpoint_url="http://127.0.0.1:9"),
        ConnectionResetError("reset"),
    ],
)
def test_an_unreachable_store_is_named(store: Storage, error: Exception) -> None:
    with (
        patch.object(store.client, "put_object", side_effect=error),
        pytest.raises(StorageError, match=r"127\.0\.0\.1:9 does not answer.*TRYON_S3_ENDPOINT_URL"),
    ):
        store.put_artifact(ARTIFACT, b"")


def test_missing_credentials_name_the_setting(store: Storage) -> None:
    with (
        patch.object(store.client, "head_bucket", side_effect=NoCredentialsError()),
        pytest.raises(StorageError, match="TRYON_S3_ACCESS_KEY_ID"),
    ):
        store.check()


def test_a_missing_artifact_is_distinguished_from_a_missing_bucket(store: Storage, stub: Stubber) -> None:
    stub.add_client_error("head_object", "404", http_status_code=404)
    stub.add_response("head_bucket", {})
    assert store.has_artifact(ARTIFACT) is False
    stub.add_client_error("head_object", "404", http_status_code=404)
    stub.add_client_error("head_bucket", "404", http_status_code=404)
    with pytest.raises(StorageError, match="TRYON_OUTPUT_BUCKET"):
        store.has_artifact(ARTIFACT)


@pytest.mark.parametrize("key", ["artifacts/pose/xyz", "artifacts//" + "0f" * 32, "../" + ARTIFACT, ""])
def test_artifact_keys_are_checked(store: Storage, key: str) -> None:
    for method in (store.has_artifact, store.get_artifact):
        with pytest.raises(ValueError, match="not an artifact key"):
            method(key)


def test_the_url_names_the_bucket_in_its_path(store: Storage) -> None:
    url = store.presign_result("results/1/tryon.png", 60)
    assert url.startswith("http://127.0.0.1:9/out/results/1/tryon.png?")
    assert "X-Amz-Expires=60" in url


# Stores that answer otherwise ------------------------------------------------------------------------


def deny(stub: Stubber, *operations: str, code: str = "AccessDenied") -> None:
    for operation in operations:
        stub.add_client_error(operation, code, http_status_code=403)


def test_without_the_right_to_list_a_denied_input_is_a_missing_one(store: Storage, stub: Stubber) -> None:
    deny(stub, "get_object", "list_objects_v2")
    with pytest.raises(InputValidationError, match="or the workers may not read it: upload it first"):
        store.get_input("person.jpg", max_bytes=10)


def test_with_the_right_to_list_a_denied_input_is_an_error_of_the_store(
    store: Storage, stub: Stubber
) -> None:
    deny(stub, "get_object")
    stub.add_response("list_objects_v2", {})
    with pytest.raises(StorageError, match="TRYON_S3_ACCESS_KEY_ID"):
        store.get_input("person.jpg", max_bytes=10)


def test_without_the_right_to_list_a_denied_artifact_is_a_missing_one(store: Storage, stub: Stubber) -> None:
    stub.add_client_error("head_object", "403", http_status_code=403)
    deny(stub, "list_objects_v2")
    assert store.has_artifact(ARTIFACT) is False
    deny(stub, "get_object", "list_objects_v2")
    with pytest.raises(ArtifactError, match="is missing"):
        store.get_artifact(ARTIFACT)


def test_buckets_that_may_not_be_listed_are_found(store: Storage, stub: Stubber) -> None:
    for _ in ("in", "out"):
        stub.add_client_error("head_bucket", "403", http_status_code=403)
        deny(stub, "list_objects_v2")
    store.check()


def test_wrong_keys_are_no_missing_right_to_list(store: Storage, stub: Stubber) -> None:
    stub.add_client_error("head_bucket", "403", http_status_code=403)
    deny(stub, "list_objects_v2", code="SignatureDoesNotMatch")
    with pytest.raises(StorageError, match=r"SignatureDoesNotMatch.*TRYON_S3_SECRET_ACCESS_KEY"):
        store.check()


def test_an_input_whose_length_is_not_named_is_read_up_to_the_limit(store: Storage, stub: Stubber) -> None:
    for data in (b"picture", b"x" * 11):
        stub.add_response("get_object", {"Body": StreamingBody(BytesIO(data), None)})
    assert store.get_input("person.jpg", max_bytes=10) == b"picture"
    with pytest.raises(ImageLoadError, match="The file is larger; at most 10 are accepted"):
        store.get_input("person.jpg", max_bytes=10)


def test_uploads_have_the_checksum_that_object_lock_demands(store: Storage, stub: Stubber) -> None:
    md5 = base64.b64encode(hashlib.md5(b"picture", usedforsecurity=False).digest()).decode()
    expected = {"Body": ANY, "ContentType": "image/png", "ContentMD5": md5}
    stub.add_response("put_object", {}, expected | {"Bucket": "in", "Key": "a"})
    stub.add_response("put_object", {}, expected | {"Bucket": "in", "Key": "b"})
    store.put_input("a", b"picture", "image/png")
    store.put_input_file("b", BytesIO(b"picture"), "image/png")


@pytest.mark.parametrize(
    ("setting", "begin"),
    [
        ("auto", "https://store.example.com/out/results/"),
        ("path", "https://store.example.com/out/results/"),
        ("virtual", "https://out.store.example.com/results/"),
    ],
)
def test_the_place_of_the_bucket_in_a_url(monkeypatch: pytest.MonkeyPatch, setting: str, begin: str) -> None:
    monkeypatch.setenv("TRYON_S3_ADDRESSING", setting)
    settings.cache_clear()
    storage = Storage(S3Endpoint("https://store.example.com", "eu-west-1", "key", "secret"), "in", "out")
    assert storage.presign_result("results/1/tryon.png", 60).startswith(begin)
    storage.close()
    monkeypatch.undo()
    settings.cache_clear()


@pytest.mark.parametrize("key", ["..", "people/../secret", "./a", "a/."])
def test_keys_with_dot_segments_are_refused_at_once(key: str) -> None:
    for keys in ((key, "cloths/b"), ("people/a", key)):
        with pytest.raises(InputValidationError, match="which HTTP clients remove"):
            TryonRequest.parse(keys, {})
    assert TryonRequest.parse(("people/a..b.jpg", "cloths/..b"), {})
