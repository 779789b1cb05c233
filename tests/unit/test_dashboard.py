"""The dashboard listens beyond this machine only with a password."""

import pytest

from config.settings import ConfigurationError
from tasks.cli.dashboard import PASSWORDS, dashboard
from worker.app import app


@pytest.fixture
def started(monkeypatch):
    commands = []
    monkeypatch.setattr(type(app), "start", lambda self, argv: commands.append(argv))
    for name in PASSWORDS:
        monkeypatch.delenv(name, raising=False)
    return commands


@pytest.mark.parametrize("address", ["192.168.1.2", "0.0.0.0", "::", "example.org"])  # noqa: S104
def test_a_dashboard_for_others_needs_a_password(started, monkeypatch, address):
    with pytest.raises(ConfigurationError, match="FLOWER_BASIC_AUTH"):
        dashboard(port=5555, address=address)
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "shop:secret")
    dashboard(port=5555, address=address)
    assert started == [["flower", f"--address={address}", "--port=5555"]]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_a_dashboard_for_this_machine_needs_none(started, address):
    dashboard(port=5555, address=address)
    assert len(started) == 1
