"""The environment has one OpenCV, and the lock files pin every package by hash and name no host."""

import importlib.metadata
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))


def test_only_the_headless_opencv_is_installed():
    names = {distribution.metadata["Name"].lower() for distribution in importlib.metadata.distributions()}
    assert {name for name in names if name.startswith("opencv")} == {"opencv-python-headless"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_by_hash_and_names_no_host(lock):
    text = lock.read_text()
    assert "://" not in text
    assert "--index-url" not in text
    for entry in re.split(r"\n(?=\S)", text):
        if re.match(r"[a-z0-9]", entry):
            assert "==" in entry.splitlines()[0], entry
            assert "--hash=sha256:" in entry, entry


def test_the_locks_agree_on_versions():
    pinned = [dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", lock.read_text(), re.MULTILINE)) for lock in LOCKS]
    complete = max(pinned, key=len)
    for share in pinned:
        assert {name: complete.get(name) for name in share} == share
