"""The object store: uploaded inputs, artifacts by content hash, results. boto3 with any S3 endpoint."""

import base64
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Literal, NoReturn

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

from config.endpoints import S3Endpoint, s3_endpoint
from config.errors import ArtifactError, ImageLoadError, InputValidationError, StorageError
from config.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REQUEST_ATTEMPTS = 2
"""Attempts of boto3 at one request before StorageError is raised: a longer outage postpones the stage."""

CONNECTIONS = 10
"""Pooled connections: more than a worker process uses, enough for a producer with several threads."""

CHUNK_BYTES = 1_000_000
"""Bytes of an upload that are hashed at once."""

ARTIFACT_KEY = re.compile(r"artifacts/[a-z][a-z0-9_]*/[0-9a-f]{32,128}")

_MISSING_CODES = {"NoSuchKey", "404", "NotFound"}
_DENIED_CODES = {"AccessDenied", "403", "Forbidden"}
"""What a store answers for an object that is not there, too, if the credentials may not list the bucket."""

_ACCESS_CODES = _DENIED_CODES | {"InvalidAccessKeyId", "SignatureDoesNotMatch"}
_ADVICE = "Check TRYON_S3_ACCESS_KEY_ID, TRYON_S3_SECRET_ACCESS_KEY and their permissions for the bucket."

PROBE_KEY = "tryon-probe"
"""Key of an object that need not exist: the answer to a request for it says whether the credentials count."""


class Storage:
    """A client of the object store.

    Every method raises StorageError, which is retryable, when the store does not answer or answers with an
    error after boto3's own retries, and InputValidationError for a key that is not a valid object key.
    """

    def __init__(self, endpoint: S3Endpoint, input_bucket: str, output_bucket: str) -> None:
        self.endpoint = endpoint
        self.input_bucket = input_bucket
        self.output_bucket = output_bucket
        self.client = _client(endpoint)
        public = settings().s3_public_url
        self._presigner = _client(replace(endpoint, endpoint_url=public)) if public else self.client

    def get_input(self, key: str, max_bytes: int) -> bytes:
        """Return an uploaded object.

        Raises InputValidationError when it does not exist, and ImageLoadError when it is larger than
        `max_bytes`; its body is then not fetched.
        """
        with self._named_errors(self.input_bucket, key):
            try:
                response = self.client.get_object(Bucket=self.input_bucket, Key=key)
            except ClientError as error:
                if not self._is_absent(error, self.input_bucket):
                    raise
                doubt = "" if _code(error) in _MISSING_CODES else ", or the workers may not read it"
                raise InputValidationError(
                    f"There is no object '{key}' in bucket '{self.input_bucket}'{doubt}: upload it first.",
                    input=key,
                ) from error
            with response["Body"] as body:  # the bytes are fetched by `read`
                size = response.get("ContentLength")  # a store that compresses or streams names none
                if size is not None and size <= max_bytes:
                    return body.read()
                if size is None and len(data := body.read(max_bytes + 1)) <= max_bytes:
                    return data
            found = "larger" if size is None else f"{size} bytes"
            raise ImageLoadError(
                f"The file is {found}; at most {max_bytes} are accepted (TRYON_MAX_IMAGE_BYTES).",
                input=key,
            )

    def put_input(self, key: str, data: bytes, content_type: str) -> None:
        """Upload an input."""
        self._put(self.input_bucket, key, data, content_type)

    def put_input_file(self, key: str, file: BinaryIO, content_type: str) -> None:
        """Upload an input from a file, without reading it into memory."""
        with self._named_errors(self.input_bucket, key):
            self._put_object(self.input_bucket, key, file, content_type)

    def has_artifact(self, key: str) -> bool:
        """Return whether an artifact exists."""
        _check_artifact_key(key)
        with self._named_errors(self.output_bucket, key):
            try:
                self.client.head_object(Bucket=self.output_bucket, Key=key)
            except ClientError as error:
                if _code(error) in _MISSING_CODES:
                    # A response to HEAD has no body that says whether the object or the bucket is missing.
                    self._require_bucket(self.output_bucket)
                    return False
                if self._is_absent(error, self.output_bucket):
                    return False
                raise
        return True

    def get_artifact(self, key: str) -> bytes:
        """Return an artifact. Raises ArtifactError when it does not exist."""
        _check_artifact_key(key)
        with self._named_errors(self.output_bucket, key):
            try:
                return self.client.get_object(Bucket=self.output_bucket, Key=key)["Body"].read()
            except ClientError as error:
                if self._is_absent(error, self.output_bucket):
                    raise ArtifactError(f"The artifact {key} is missing.", input=key) from error
                raise

    def delete_artifact(self, key: str) -> None:
        """Delete an artifact; it may be missing."""
        _check_artifact_key(key)
        self._delete(key)

    def delete_result(self, key: str) -> None:
        """Delete a result picture; it may be missing."""
        self._delete(key)

    def put_artifact(self, key: str, data: bytes) -> None:
        """Store an artifact. The same key always gets the same bytes."""
        _check_artifact_key(key)
        self._put(self.output_bucket, key, data, "application/octet-stream")

    def get_result(self, key: str) -> bytes:
        """Return a result picture. Raises StorageError when it does not exist."""
        return self._get(key)

    def put_result(self, key: str, data: bytes, content_type: str) -> None:
        """Store a result picture."""
        self._put(self.output_bucket, key, data, content_type)

    def presign_result(self, key: str, seconds: int) -> str:
        """Return a URL from which anyone can fetch the result for so many seconds."""
        with self._named_errors(self.output_bucket, key):
            return self._presigner.generate_presigned_url(
                "get_object", Params={"Bucket": self.output_bucket, "Key": key}, ExpiresIn=seconds
            )

    def check(self) -> None:
        """Raise StorageError unless both buckets can be reached."""
        for bucket in (self.input_bucket, self.output_bucket):
            with self._named_errors(bucket):
                self._require_bucket(bucket)

    def ensure_buckets(self) -> None:
        """Create the buckets that do not exist."""
        for bucket in (self.input_bucket, self.output_bucket):
            with self._named_errors(bucket):
                try:
                    self._require_bucket(bucket)
                except ClientError as error:
                    if _code(error) not in _MISSING_CODES | {"NoSuchBucket"}:
                        raise
                    self._create_bucket(bucket)

    def close(self) -> None:
        """Close the client's connections."""
        self.client.close()

    def _require_bucket(self, bucket: str) -> None:
        """Raise ClientError unless the bucket exists and the credentials count.

        Without the right to list it, HEAD is always denied; then the answer to a GET says more.
        """
        try:
            self.client.head_bucket(Bucket=bucket)
        except ClientError as error:
            if _code(error) not in _DENIED_CODES or self._may_list(bucket):
                raise

    def _is_absent(self, error: ClientError, bucket: str) -> bool:
        """Return whether a store's answer says that an object is not there."""
        denied = _code(error) in _DENIED_CODES
        return _code(error) in _MISSING_CODES or (denied and not self._may_list(bucket))

    def _may_list(self, bucket: str) -> bool:
        """Return whether the credentials may list a bucket. Raises ClientError when they are wrong."""
        try:
            self.client.list_objects_v2(Bucket=bucket, Prefix=PROBE_KEY, MaxKeys=1)
        except ClientError as error:
            if _code(error) in _DENIED_CODES:
                return False
            raise
        return True

    def _create_bucket(self, bucket: str) -> None:
        try:
            if self.endpoint.endpoint_url is None and self.endpoint.region != "us-east-1":
                self.client.create_bucket(
                    Bucket=bucket,
                    CreateBucketConfiguration={"LocationConstraint": self.endpoint.region},  # type: ignore[typeddict-item]
                )
            else:
                self.client.create_bucket(Bucket=bucket)
        except ClientError as error:
            if _code(error) != "BucketAlreadyOwnedByYou":  # another process has just created it
                raise

    def _get(self, key: str) -> bytes:
        with self._named_errors(self.output_bucket, key):
            return self.client.get_object(Bucket=self.output_bucket, Key=key)["Body"].read()

    def old_artifacts(self, *, days: float, after: str, limit: int) -> tuple[list[str], str]:
        """Return artifacts that were written longer ago than so many days, and where the next call goes on.

        Args:
            days: their least age.
            after: "" for the beginning, or what the last call returned.
            limit: objects to look at.
        """
        return self._old(self.output_bucket, "artifacts/", days, after, limit)

    def old_inputs(self, *, days: float, after: str, limit: int) -> tuple[list[str], str]:
        """Return uploaded inputs like `old_artifacts`."""
        return self._old(self.input_bucket, "", days, after, limit)

    def delete_input(self, key: str) -> None:
        """Delete an uploaded input; it may be missing."""
        with self._named_errors(self.input_bucket, key):
            self.client.delete_object(Bucket=self.input_bucket, Key=key)

    def _old(self, bucket: str, prefix: str, days: float, after: str, limit: int) -> tuple[list[str], str]:
        with self._named_errors(bucket):
            page = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=after, MaxKeys=limit)
        listed = page.get("Contents", [])
        latest = datetime.now(UTC) - timedelta(days=days)
        old = [item["Key"] for item in listed if item["LastModified"] < latest]
        return old, listed[-1]["Key"] if page.get("IsTruncated") and listed else ""

    def _delete(self, key: str) -> None:
        with self._named_errors(self.output_bucket, key):
            self.client.delete_object(Bucket=self.output_bucket, Key=key)

    def _put(self, bucket: str, key: str, data: bytes, content_type: str) -> None:
        with self._named_errors(bucket, key):
            self._put_object(bucket, key, BytesIO(data), content_type)

    def _put_object(self, bucket: str, key: str, file: BinaryIO, content_type: str) -> None:
        """Store a file. The store checks its MD5, without which a bucket with object lock takes nothing."""
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
            digest.update(chunk)
        file.seek(0)
        self.client.put_object(
            Bucket=bucket,
            Key=key,
            Body=file,
            ContentType=content_type,
            ContentMD5=base64.b64encode(digest.digest()).decode(),
        )

    @contextmanager
    def _named_errors(self, bucket: str, key: str | None = None) -> Iterator[None]:
        """Replace boto3's exceptions in the block by named errors."""
        try:
            yield
        except ClientError as error:
            self._raise_named(error, bucket, key)
        except ParamValidationError as error:
            raise InputValidationError(f"'{key}' is not a valid object key: {error}", input=key) from error
        except NoCredentialsError as error:
            raise StorageError(f"No S3 credentials were found. {_ADVICE}", input=key) from error
        except (BotoCoreError, OSError) as error:
            address = self.endpoint.endpoint_url or "Amazon S3"
            raise StorageError(
                f"The object store at {address} does not answer ({error}). Start it, or check "
                "TRYON_S3_ENDPOINT_URL.",
                input=key,
            ) from error

    def _raise_named(self, error: ClientError, bucket: str, key: str | None) -> NoReturn:
        code = _code(error)
        setting = "TRYON_INPUT_BUCKET" if bucket == self.input_bucket else "TRYON_OUTPUT_BUCKET"
        if code == "NoSuchBucket" or (code in _MISSING_CODES and error.operation_name == "HeadBucket"):
            message = (
                f"There is no bucket '{bucket}'. Create it (tryon create-buckets), or set {setting} to one "
                "that exists."
            )
        elif code == "KeyTooLongError":
            raise InputValidationError("The object's key is too long for the store.", input=key) from error
        elif code in _ACCESS_CODES:
            message = f"The object store refuses access to bucket '{bucket}' ({setting}): {code}. {_ADVICE}"
        elif code in _MISSING_CODES:
            message = f"There is no object '{key}' in bucket '{bucket}' ({setting})."
        else:
            message = f"The object store answered {code} for bucket '{bucket}' ({setting}): {error}"
        raise StorageError(message, input=key) from error


_storages: dict[int, Storage] = {}
"""Process id -> its client."""

_first_use = threading.Lock()
os.register_at_fork(after_in_child=lambda: _new_lock())


def _new_lock() -> None:
    """Give a forked child its own lock: the parent's may be held by a thread that the child does not have."""
    global _first_use
    _first_use = threading.Lock()


def storage() -> Storage:
    """Return the process's client. A forked child gets its own, because connections cannot be shared."""
    pid = os.getpid()
    with _first_use:
        if pid not in _storages:
            _storages.clear()
            _storages[pid] = Storage(s3_endpoint(), settings().input_bucket, settings().output_bucket)
        return _storages[pid]


def reset() -> None:
    """Close the process's client and forget it."""
    for process_storage in _storages.values():
        process_storage.close()
    _storages.clear()


def _client(endpoint: S3Endpoint) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=endpoint.endpoint_url,
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key_id,
        aws_secret_access_key=endpoint.secret_access_key,
        config=Config(
            connect_timeout=settings().s3_connect_timeout_s,
            read_timeout=settings().s3_read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": REQUEST_ATTEMPTS},
            signature_version="s3v4",
            s3={"addressing_style": _addressing(endpoint)},
            # Not every S3 server supports the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            max_pool_connections=CONNECTIONS,
        ),
    )


def _addressing(endpoint: S3Endpoint) -> Literal["auto", "virtual", "path"]:
    chosen = settings().s3_addressing
    if chosen == "virtual":
        return "virtual"
    # A custom endpoint rarely has a host name for each bucket.
    return "path" if chosen == "path" or endpoint.endpoint_url else "auto"


def _check_artifact_key(key: str) -> None:
    if not ARTIFACT_KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not an artifact key: artifacts/<stage>/<hash>")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "?"))
