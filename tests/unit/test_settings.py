"""Settings that cannot work are refused with the variable's name; no message shows a password."""

import pytest

from config.settings import ConfigurationError, Settings, settings


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


def refusal(monkeypatch, **environment):
    """Return the message with which the settings are refused."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        settings()
    assert refused.value.__cause__ is None, "the cause of a validation shows the values"
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("TRYON_DATABASE_URL", "mysql://u:secret@h/x", "begins with mysql://"),
        ("TRYON_DATABASE_URL", "postgresql+asyncpg://u:secret@h/x", "begins with postgresql+asyncpg://"),
        ("TRYON_DATABASE_URL", "localhost/tryon", "begins with no scheme"),
        ("TRYON_DATABASE_URL", "redis://:secret@h/0", "begins with redis://"),
        ("TRYON_DATABASE_URL", "postgresql://u:sec/ret@h/x", "special characters"),
        ("TRYON_BROKER_URL", "postgresql://u:secret@h/x", "begins with postgresql://"),
        ("TRYON_BROKER_URL", "valkey://:secret@h/0", "must be like redis://"),
        ("TRYON_BROKER_URL", "sqs://u:secret@h", "begins with sqs://"),
        ("TRYON_BROKER_URL", "redis://h/0;http://u:secret@h", "begins with http://"),
        ("TRYON_S3_ENDPOINT_URL", "s3://secret", "begins with s3://"),
        ("TRYON_S3_ENDPOINT_URL", "minio:9000", "begins with no scheme"),
        ("TRYON_S3_ENDPOINT_URL", "http://", "names no host"),
        ("TRYON_S3_PUBLIC_URL", "aws", "begins with no scheme"),
    ],
)
def test_a_url_of_the_wrong_kind_is_refused(monkeypatch, name, value, reason):
    message = refusal(monkeypatch, **{name: value})
    assert f"{name}: it " in message
    assert reason in message
    assert "sec" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRYON_DATABASE_URL", "postgres://h/x"),
        ("TRYON_DATABASE_URL", "postgresql:///x?host=/run/postgresql"),
        ("TRYON_DATABASE_URL", "postgresql+psycopg://u:p%40ss@h:5432/x?sslmode=require"),
        ("TRYON_BROKER_URL", "rediss://:p@h:6379/0?ssl_cert_reqs=required"),
        ("TRYON_BROKER_URL", "amqp://u:p@h//;amqp://u:p@i//"),
        ("TRYON_S3_ENDPOINT_URL", "aws"),
        ("TRYON_S3_ENDPOINT_URL", "http://127.0.0.1:9000"),
        ("TRYON_S3_PUBLIC_URL", "https://pictures.example.com"),
    ],
)
def test_a_url_of_the_right_kind_is_accepted(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert getattr(settings(), name.removeprefix("TRYON_").lower()) == value


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"TRYON_LEASE_S": "10", "TRYON_HEARTBEAT_S": "5"}, ("TRYON_LEASE_S=10", "TRYON_HEARTBEAT_S=5")),
        ({"TRYON_LEASE_S": "5"}, ("TRYON_LEASE_S=5", "TRYON_HEARTBEAT_S=5")),
        ({"TRYON_S3_ACCESS_KEY_ID": "x"}, ("TRYON_S3_SECRET_ACCESS_KEY",)),
        (
            {"TRYON_KEEP_UPLOADS_DAYS": "1", "TRYON_OUTPUT_BUCKET": "tryon-input"},
            ("TRYON_KEEP_UPLOADS_DAYS", "TRYON_OUTPUT_BUCKET"),
        ),
        ({"TRYON_MAX_IMAGE_PIXELS": "1000"}, ("TRYON_MIN_IMAGE_SIDE", "TRYON_MAX_IMAGE_PIXELS")),
    ],
    ids=lambda value: "-".join(value),
)
def test_values_that_cannot_work_together_are_refused(monkeypatch, environment, named):
    message = refusal(monkeypatch, **environment)
    assert all(name in message for name in named)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("TRYON_DATABSE_URL", "did you mean TRYON_DATABASE_URL?"),
        ("TRYON_LEASE", "did you mean TRYON_LEASE_S?"),
        ("tryon_heartbeats_s", "did you mean TRYON_HEARTBEAT_S?"),
        ("TRYON_DATABASE_PORT", "did you mean TRYON_DATABASE_URL?"),
        ("TRYON_XYZZY", "see docs/reference.md"),
    ],
)
def test_a_misspelt_name_is_refused(monkeypatch, name, hint):
    message = refusal(monkeypatch, **{name: "1"})
    assert f"{name} is not a setting; {hint}" in message


def test_names_that_kubernetes_sets_for_a_service_are_no_settings(monkeypatch):
    for name in (
        *("TRYON_API_SERVICE_HOST", "TRYON_API_SERVICE_PORT", "TRYON_API_SERVICE_PORT_HTTP"),
        *("TRYON_API_PORT_80_TCP", "TRYON_API_PORT_80_TCP_ADDR", "TRYON_API_PORT_80_TCP_PROTO"),
    ):
        monkeypatch.setenv(name, "10.0.0.1")
    monkeypatch.setenv("TRYON_API_PORT", "tcp://10.0.0.1:80")
    assert settings()


def test_a_printed_setting_shows_no_password(monkeypatch):
    monkeypatch.setenv("TRYON_DATABASE_URL", "postgresql://u:secret@h/x")
    monkeypatch.setenv("TRYON_BROKER_URL", "redis://:secret@h/0")
    monkeypatch.setenv("TRYON_S3_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("TRYON_S3_SECRET_ACCESS_KEY", "secret")
    assert "secret" not in repr(Settings())
