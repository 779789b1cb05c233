"""The pictures of a job for its page: inputs, result, maps of its stages, without an image library."""

import io
import zipfile
import zlib
from dataclasses import dataclass
from struct import pack, unpack

from config.errors import ArtifactError, StorageError
from config.settings import settings
from tasks.api.problems import ProblemError
from tasks.api.reader import Record
from tasks.api.uploads import picture_type
from worker.artifacts.storage import storage
from worker.parsing.colours import COLOURS

TITLES = {
    ("pose", "pose.png"): "Pose",
    ("pose", "mask.png"): "Person",
    ("cloth", "mask.png"): "Garment",
    ("parse", "parse.png"): "Parts of the person",
    ("generate", "region.png"): "Changed region",
    ("generate", "warped.jpg"): "Warped garment",
}
"""Stage and file of a bundle -> title on the contact sheet, in its order."""

LABEL_MAPS = {("parse", "parse.png")}
"""Pictures whose pixels are labels: they get colours."""

_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3
"""PNG's colour types of one channel."""


@dataclass(frozen=True)
class StagePicture:
    """A picture of a job's contact sheet: where it is, and its title."""

    stage: str
    name: str
    title: str


def of_stages(record: Record) -> list[StagePicture]:
    """Return which pictures of the contact sheet a job has; none while the object store is away."""
    found = []
    for stage in record["stages"]:
        if stage["status"] != "succeeded" or not stage["artifact_key"]:
            continue
        try:
            names = set(_archive(stage["artifact_key"]).namelist())
        except (ArtifactError, StorageError):
            continue  # deleted by retention, or away: the page shows the rest
        found += [
            StagePicture(stage["name"], name, title)
            for (of, name), title in TITLES.items()
            if of == stage["name"] and name in names
        ]
    return found


def read(record: Record, stage: str | None, name: str) -> tuple[bytes, str]:
    """Return the bytes and the media type of a picture of a job. Raises ProblemError when there is none."""
    data = _data(record, stage, name)
    kind = picture_type(data[:12])
    if kind is None:
        raise _missing(name)
    return data, kind[0]


def _data(record: Record, stage: str | None, name: str) -> bytes:
    if stage is not None:
        return _stage_picture(record, stage, name)
    if name == "result" and record["result_key"]:
        return storage().get_result(record["result_key"])
    keys = {"person": record["person_key"], "garment": record["cloth_key"]}
    if name not in keys:
        raise _missing(name)
    return storage().get_input(keys[name], settings().max_image_bytes)


def _stage_picture(record: Record, stage: str, name: str) -> bytes:
    keys = {row["name"]: row["artifact_key"] for row in record["stages"] if row["status"] == "succeeded"}
    if (stage, name) not in TITLES or not keys.get(stage):
        raise _missing(name)
    try:
        data = _archive(keys[stage]).read(name)
    except (ArtifactError, KeyError) as error:
        raise _missing(name) from error
    return coloured(data) if (stage, name) in LABEL_MAPS else data


def _archive(artifact_key: str) -> zipfile.ZipFile:
    """Return a stage's bundle, of which a worker packs each member without compression."""
    data = storage().get_artifact(artifact_key)
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile as error:
        raise ArtifactError(f"The stored artifact {artifact_key} is damaged.", input=artifact_key) from error


def coloured(png: bytes) -> bytes:
    """Return a grey PNG file of labels, 8 bits, with a palette: the pixels' bytes stay as they are."""
    length, kind = unpack(">I4s", png[8:16])
    if not png.startswith(_PNG_HEAD) or (length, kind) != (13, b"IHDR") or png[24:26] != bytes((8, _GREY)):
        return png
    header = png[16:25] + bytes((_PALETTE,)) + png[26:29]
    palette = bytes(value for colour in COLOURS for value in colour)
    return _PNG_HEAD + _chunk(b"IHDR", header) + _chunk(b"PLTE", palette) + png[33:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))


def _missing(name: str) -> ProblemError:
    return ProblemError("UnknownPictureError", 404, "The job has no such picture.", input=name)
