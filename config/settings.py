"""Every setting of the system, read once from the environment and validated."""

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "TRYON_"

HEARTBEATS_PER_LEASE = 3
"""Least heartbeats within a lease: a worker may miss two of them and keeps its stage."""

DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
AMQP = ("amqp", "amqps", "pyamqp")
"""Schemes of RabbitMQ's URLs."""

BROKER_SCHEMES = ("redis", "rediss", *AMQP)
STORE_SCHEMES = ("http", "https")

AMAZON = "aws"
"""The value of `TRYON_S3_ENDPOINT_URL` for Amazon's own endpoints."""

_OF_KUBERNETES = re.compile(
    r"\w+_SERVICE_HOST=.*|\w+_SERVICE_PORT(_\w+)?=.*|\w+_PORT=(tcp|udp|sctp)://.*|\w+_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?=.*"
)
"""Variables that Kubernetes sets for each of its services, also for one that is called `tryon-…`."""


class ConfigurationError(Exception):
    """A setting is missing or not valid; the message names the environment variable."""


def _require_url(value: str, schemes: tuple[str, ...], example: str) -> str:
    """Return a URL of one of the schemes. Raises ValueError, which shows no password."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - it is parsed when it is read
    except ValueError:
        raise ValueError(
            f"it is not a URL such as {example}; special characters of a password are written as %40 for @, "
            "%2F for /"
        ) from None
    if parts.scheme not in schemes or "//" not in value:
        begin = f"{parts.scheme}://" if "//" in value and parts.scheme else "no scheme"
        raise ValueError(f"it begins with {begin}, and must be like {example}")
    return value


def _is_database(value: str) -> str:
    return _require_url(value, DATABASE_SCHEMES, "postgresql://user:password@host/name")


def _is_broker(value: str) -> str:
    for url in value.split(";"):  # several addresses of one broker
        _require_url(url, BROKER_SCHEMES, "redis://:password@host:6379/0 or amqp://user:password@host/vhost")
    return value


def _are_networks(value: str) -> str:
    for network in value.split(","):
        ipaddress.ip_network(network.strip())  # ValueError says what is wrong
    return value


def _is_store(value: str) -> str:
    _require_url(value, STORE_SCHEMES, "https://host:port")
    if not urlsplit(value).hostname:
        raise ValueError("it names no host; it must be like https://host:port")
    return value


def _is_store_or_amazon(value: str) -> str:
    return value if value == AMAZON else _is_store(value)


class Settings(BaseSettings):
    """The settings, each from the environment variable ``TRYON_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="TRYON_", frozen=True, extra="ignore")

    data_dir: Path = Field(
        Path(".tryon"), description="Folder of the model files, the logs and the embedded servers' data."
    )

    log_format: str = Field(
        "text",
        pattern=r"^(text|json)$",
        description="Lines of the log: `text`, or `json` with the job, tenant, stage and attempt.",
    )
    traces_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Where traces of jobs are sent: the OTLP/HTTP address of an OpenTelemetry collector, as "
        "http://host:4318/v1/traces. Needs the extra `otel`. Unset: no traces.",
    )

    database_url: Annotated[str, AfterValidator(_is_database)] | None = Field(
        None,
        repr=False,
        description="Postgres, as postgresql://user:password@host/name. Unset: the embedded server.",
    )
    database_direct_url: Annotated[str, AfterValidator(_is_database)] | None = Field(
        None,
        repr=False,
        description="Postgres itself, where `TRYON_DATABASE_URL` leads to a pooler such as PgBouncer: for "
        "`tryon db upgrade` and `downgrade`. Unset: `TRYON_DATABASE_URL`.",
    )
    database_prepared_statements: bool = Field(
        True,
        description="Whether statements are prepared in the server. `false` behind PgBouncer in transaction "
        "mode: another connection of the pooler does not know them.",
    )
    broker_url: Annotated[str, AfterValidator(_is_broker)] | None = Field(
        None,
        repr=False,
        description="Valkey, Redis or RabbitMQ, as redis://host/0 or amqp://host. Unset: the embedded one.",
    )
    s3_endpoint_url: Annotated[str, AfterValidator(_is_store_or_amazon)] | None = Field(
        None, description=f"S3 endpoint URL, or `{AMAZON}` for Amazon's own. Unset: the embedded server."
    )
    s3_region: str = Field("us-east-1", description="Region of the S3 store.")
    s3_access_key_id: str | None = Field(None, description="S3 access key. Unset: boto3's credential search.")
    s3_secret_access_key: str | None = Field(
        None, repr=False, description="S3 secret key. Unset: boto3's credential search."
    )
    s3_addressing: str = Field(
        "auto",
        pattern=r"^(auto|path|virtual)$",
        description="Where the bucket's name stands in a URL: `path` (host/bucket/key), `virtual` "
        "(bucket.host/key), `auto` (as Amazon prefers; `path` with another endpoint).",
    )
    s3_public_url: Annotated[str, AfterValidator(_is_store)] | None = Field(
        None,
        description="Endpoint URL in presigned links, if customers reach the store under another address.",
    )
    input_bucket: str = Field("tryon-input", description="Bucket of the person and garment photographs.")
    output_bucket: str = Field("tryon-output", description="Bucket of `artifacts/` and `results/`.")
    presign_s: int = Field(3600, ge=1, le=604800, description="Validity of a presigned result URL, seconds.")

    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Device of GPU stages: `auto` (CUDA if available), `cpu`, `cuda` or `cuda:N`.",
    )
    batch: int | None = Field(
        None,
        ge=1,
        description="Largest batch of jobs that a GPU worker computes at once with `viton_hd` or "
        "`fashn_vton`. Unset: 4 on CUDA, 1 on the CPU.",
    )

    parser: str = Field(
        "trained",
        pattern=r"^(trained|landmark)$",
        description="Human parser: `trained` (the network that this project trained), `landmark` (joints and "
        "colours only).",
    )
    parser_weights: Path | None = Field(
        None,
        description="Your own weights for the parser `trained`: a .safetensors file from `tryon parser "
        "convert`, with its .yaml file in the same folder.",
    )
    auto_engines: str | None = Field(
        None,
        pattern=r"^\w+(,\w+)*$",
        description="The engines that `engine=auto` may choose, separated by commas, the preferred one "
        "first. Unset: all, in the order of the reference.",
    )
    minimum_score: float = Field(
        0.3,
        ge=0,
        le=1,
        description="The least score of a picture of the engine `geometric` where the job names none: "
        "the probability that it can be shown to a customer. 0 accepts all.",
    )
    viton_hd_weights: Path | None = Field(
        None,
        description="Folder of your own seg_final.pth, gmm_final.pth and alias_final.pth (`tryon cascade "
        "train`) for the engine `viton_hd`. Unset: the published ones.",
    )
    cloth_mask: str = Field(
        "auto",
        pattern=r"^(auto|network|unet)$",
        description="Garment segmentation: `network` (the project's own), `unet` (cloths_segmentation; "
        "`tryon weights fetch cloth-unet`), `auto` (`network`).",
    )

    max_image_bytes: int = Field(30_000_000, ge=1, description="Largest accepted image file, bytes.")
    max_image_pixels: int = Field(60_000_000, ge=1, description="Largest accepted image, pixels.")
    min_image_side: int = Field(128, ge=16, description="Smallest accepted image side, pixels.")
    max_aspect_ratio: float = Field(
        4.0, ge=1, description="Largest accepted ratio of the longer image side to the shorter."
    )

    decode_cpu_s: float = Field(
        4, gt=0, description="Most processor time for decoding one image, seconds; then it is refused."
    )
    decode_memory_bytes: int = Field(
        1_400_000_000,
        ge=200_000_000,
        description="Most memory of the process that decodes images, bytes. The largest accepted image needs "
        "some 16 bytes per pixel.",
    )

    max_attempts: int = Field(3, ge=1, description="Attempts at a stage before its job fails.")
    lease_s: float = Field(
        30, gt=0, description="Time without a heartbeat after which a worker loses its stage, seconds."
    )
    heartbeat_s: float = Field(
        5,
        gt=0,
        description="Interval between two renewals of a lease, seconds: at most a third of `TRYON_LEASE_S`.",
    )
    retry_backoff_s: float = Field(
        2, ge=0, description="Delay before the second attempt, seconds; it doubles with every attempt."
    )
    stage_timeout_s: float = Field(300, gt=0, description="Time limit of one attempt at a stage, seconds.")
    job_timeout_s: float = Field(
        86_400, gt=0, description="Time limit of a job from its submission, seconds."
    )
    sweep_interval_s: float = Field(2, gt=0, description="Interval between two sweeps, seconds.")
    wake_grace_s: float = Field(
        10, ge=0, description="Time after which the sweep repeats the wake-up of a ready stage, seconds."
    )
    outage_patience_s: float = Field(
        30, ge=0, description="How long a transaction is retried while the database is unreachable, seconds."
    )
    database_timeout_s: float = Field(
        30,
        gt=0,
        description="Time limit for the database's answer to a statement, seconds; then the connection "
        "counts as lost.",
    )
    submit_timeout_s: float = Field(
        10,
        gt=0,
        description="How long `tryon.delay()` tries to write the job while the database is away or does not "
        "answer, seconds; then it raises DatabaseUnavailableError.",
    )
    broker_timeout_s: float = Field(
        3,
        gt=0,
        description="Time limit for a connection to the broker and for each of its answers, seconds. "
        "`tryon.delay()` tries three times, then the sweep sends the message.",
    )
    postpone_max_s: float = Field(
        30,
        gt=0,
        description="Longest pause before a stage is tried again that was postponed because the object "
        "store, the database or a GPU is away, seconds; the pauses double from `TRYON_RETRY_BACKOFF_S`. Only "
        "`TRYON_JOB_TIMEOUT_S` ends such a job.",
    )
    s3_connect_timeout_s: float = Field(
        3, gt=0, description="Time limit for a connection to the object store, seconds."
    )
    s3_read_timeout_s: float = Field(
        10, gt=0, description="Time limit for the next bytes of the object store, seconds."
    )
    max_unforeseen_errors: int = Field(
        3,
        ge=1,
        description="Jobs that end in an unforeseen error one after the other in one worker process before "
        "it counts as broken, returns the last one's stage and ends.",
    )
    tenant_limit: int | None = Field(
        None, ge=1, description="Most queued jobs of one tenant; more are refused. Unset: no limit."
    )
    keep_artifacts_days: float | None = Field(
        7,
        gt=0,
        description="Days after their last use when artifacts are deleted; a job that needs one again makes "
        "it again.",
    )
    keep_jobs_days: float | None = Field(
        None,
        gt=0,
        description="Days after its end when a job is deleted with its result picture. Unset: never.",
    )
    keep_uploads_days: float | None = Field(
        None,
        gt=0,
        description="Days after which uploaded inputs are deleted, whatever their key, unless an unfinished "
        "job needs them. Unset: never.",
    )
    database_pool_size: int = Field(
        5, ge=1, description="Connections to the database that a process keeps open; up to 10 more are made."
    )

    api_rate_per_s: float | None = Field(
        500,
        gt=0,
        description="Most requests a second of one API key at one server process; twice as many at once.",
    )
    api_body_timeout_s: float = Field(
        60, gt=0, description="Time in which the head of a request must arrive, and then its body, seconds."
    )
    api_cors_origins: str | None = Field(
        None,
        description="Origins whose pages may call the HTTP interface from a browser, separated by commas. "
        "Unset: none but its own page.",
    )
    webhook_networks: Annotated[str, AfterValidator(_are_networks)] | None = Field(
        None,
        description="Private networks to which webhooks may be sent, such as 10.0.0.0/8, separated by "
        "commas. Unset: public addresses only.",
    )
    webhook_timeout_s: float = Field(
        10, gt=0, description="Time in which a receiver must answer a webhook, seconds."
    )
    webhook_backoff_s: float = Field(
        5,
        gt=0,
        description="Delay before the second attempt at a webhook, seconds; it doubles up to six hours.",
    )
    webhook_max_attempts: int = Field(
        18, ge=1, description="Attempts at a webhook before it is dead; 18 take about a day and a half."
    )

    @model_validator(mode="after")
    def _can_work_together(self) -> Self:
        """Refuse values that are valid alone and cannot work together."""
        if self.lease_s < HEARTBEATS_PER_LEASE * self.heartbeat_s:
            raise ValueError(
                f"TRYON_HEARTBEAT_S={self.heartbeat_s:g} must be at most a third of "
                f"TRYON_LEASE_S={self.lease_s:g}, or live workers lose their stages"
            )
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError("set both TRYON_S3_ACCESS_KEY_ID and TRYON_S3_SECRET_ACCESS_KEY, or neither")
        if self.keep_uploads_days is not None and self.input_bucket == self.output_bucket:
            raise ValueError(
                "TRYON_KEEP_UPLOADS_DAYS deletes all that is old in TRYON_INPUT_BUCKET, also results "
                "that are in it: set TRYON_OUTPUT_BUCKET to another bucket"
            )
        if self.min_image_side**2 > self.max_image_pixels:
            raise ValueError(
                "no picture has at least TRYON_MIN_IMAGE_SIDE pixels a side and at most "
                "TRYON_MAX_IMAGE_PIXELS pixels"
            )
        return self

    @property
    def models_dir(self) -> Path:
        """The folder of the downloaded model files."""
        return self.data_dir / "models"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the process's settings.

    Raises ConfigurationError, which names the variable, when a value is not valid or a name is not known.
    """
    if unknown := _unknown_names(os.environ):
        raise ConfigurationError(f"The environment is not valid: {'; '.join(unknown)}")
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            ": ".join([*(f"{PREFIX}{str(name).upper()}" for name in item["loc"][:1]), _reason(item["msg"])])
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise ConfigurationError(f"The environment is not valid: {problems}") from None


def _unknown_names(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that begins like a setting and is none."""
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    problems = []
    for name, value in sorted(environment.items()):
        written = name.upper()
        if not written.startswith(PREFIX) or written in known or _OF_KUBERNETES.fullmatch(f"{name}={value}"):
            continue
        similar = difflib.get_close_matches(written, known, n=1)
        hint = f"did you mean {similar[0]}?" if similar else "see docs/reference.md, or unset it"
        problems.append(f"{name} is not a setting; {hint}")
    return problems


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ")
