"""Addresses of the database, broker and object store: the explicit setting, or the embedded servers."""

import ipaddress
import json
from dataclasses import dataclass

from config.settings import AMAZON, ConfigurationError, settings

EMBEDDED_FILE = "embedded.json"
"""File in the data folder that the embedded servers write when they start and remove when they stop."""

_SQLALCHEMY_PREFIX = "postgresql+psycopg://"
"""The scheme by which SQLAlchemy chooses psycopg 3."""


@dataclass(frozen=True)
class S3Endpoint:
    """How to reach the object store. None leaves the value to boto3."""

    endpoint_url: str | None
    region: str
    access_key_id: str | None
    secret_access_key: str | None


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def database_url() -> str:
    """Return the SQLAlchemy URL of Postgres (psycopg 3 driver). Raises ConfigurationError."""
    return _with_driver(settings().database_url or _embedded("database_url", "TRYON_DATABASE_URL"))


def direct_database_url() -> str:
    """Return the SQLAlchemy URL of Postgres without a pooler in between. Raises ConfigurationError."""
    direct = settings().database_direct_url
    return database_url() if direct is None else _with_driver(direct)


def _with_driver(url: str) -> str:
    if url.startswith(_SQLALCHEMY_PREFIX):
        return url
    return _SQLALCHEMY_PREFIX + url.partition("://")[2]


def broker_url() -> str:
    """Return the broker's URL. Raises ConfigurationError."""
    return settings().broker_url or _embedded("broker_url", "TRYON_BROKER_URL")


def s3_endpoint() -> S3Endpoint:
    """Return how to reach the object store. Raises ConfigurationError."""
    current = settings()
    if current.s3_endpoint_url is None:
        return S3Endpoint(
            _embedded("s3_endpoint_url", "TRYON_S3_ENDPOINT_URL"),
            current.s3_region,
            _embedded("s3_access_key_id", "TRYON_S3_ACCESS_KEY_ID"),
            _embedded("s3_secret_access_key", "TRYON_S3_SECRET_ACCESS_KEY"),
        )
    url = None if current.s3_endpoint_url == AMAZON else current.s3_endpoint_url
    return S3Endpoint(url, current.s3_region, current.s3_access_key_id, current.s3_secret_access_key)


def _embedded(key: str, variable: str) -> str:
    """Return a value that the running embedded servers have written to their file."""
    path = settings().data_dir / EMBEDDED_FILE
    try:
        return str(json.loads(path.read_text())[key])
    except FileNotFoundError:
        raise ConfigurationError(
            f"{variable} is not set and no embedded servers are running. "
            f"Set {variable}, or start them with `tryon up`."
        ) from None
    except (KeyError, ValueError) as error:
        raise ConfigurationError(f"{path} is damaged: {error}") from error
