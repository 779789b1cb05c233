"""Where the database, broker and object store are: an explicit setting first, then the embedded servers."""

import json
from dataclasses import dataclass
from pathlib import Path

from config.settings import ConfigurationError, Settings, settings

EMBEDDED_FILE = "embedded.json"
"""Written in the data folder by the running embedded servers, removed when they stop."""


@dataclass(frozen=True)
class S3Endpoint:
    """How to reach the object store; None leaves the choice to boto3."""

    endpoint_url: str | None
    region: str
    access_key_id: str | None
    secret_access_key: str | None


def database_url() -> str:
    """Return the SQLAlchemy URL of Postgres (psycopg 3 driver)."""
    url = settings().database_url or _embedded("database_url", "TRYON_DATABASE_URL")
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    if url.startswith("postgresql+psycopg://"):
        return url
    raise ConfigurationError("TRYON_DATABASE_URL must begin with postgresql://")


def broker_url() -> str:
    """Return the broker's URL."""
    return settings().broker_url or _embedded("broker_url", "TRYON_BROKER_URL")


def s3_endpoint() -> S3Endpoint:
    """Return how to reach the object store."""
    here = settings()
    if here.s3_endpoint_url is None:
        return S3Endpoint(
            _embedded("s3_endpoint_url", "TRYON_S3_ENDPOINT_URL"),
            here.s3_region,
            _embedded("s3_access_key_id", "TRYON_S3_ACCESS_KEY_ID"),
            _embedded("s3_secret_access_key", "TRYON_S3_SECRET_ACCESS_KEY"),
        )
    url = None if here.s3_endpoint_url == "aws" else here.s3_endpoint_url
    return S3Endpoint(url, here.s3_region, here.s3_access_key_id, here.s3_secret_access_key)


def embedded_file(here: Settings | None = None) -> Path:
    """Return the path of the file in which running embedded servers say where they are."""
    return (here or settings()).data_dir / EMBEDDED_FILE


def _embedded(key: str, variable: str) -> str:
    try:
        return str(json.loads(embedded_file().read_text())[key])
    except FileNotFoundError:
        raise ConfigurationError(
            f"{variable} is not set and no embedded servers are running. "
            f"Set {variable}, or start them with `tryon up`."
        ) from None
    except (KeyError, ValueError) as error:
        raise ConfigurationError(f"{embedded_file()} is damaged: {error}") from error
