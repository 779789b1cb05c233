"""The stage functions: from the bytes and bundles a stage reads to the bundle it leaves; nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from worker.bundle import Bundle
from worker.cloth.garment import BACKGROUND, Garment, prepare
from worker.cloth.landmarks import GarmentLandmarks
from worker.cloth.mask import cut_out
from worker.errors import TryonError
from worker.frame import FILL, Frame
from worker.geometric import paste_back, try_on
from worker.imaging import decode_input
from worker.parsing import landmark, trained
from worker.pipeline import StageInput
from worker.pose.formats import from_openpose_json, to_openpose_json
from worker.pose.render import render

if TYPE_CHECKING:
    from worker.viton_hd.cascade import Drawn  # imports torch
    from worker.viton_hd.inputs import TryOnInput


def pose(given: StageInput) -> Bundle:
    """Find the person: joints (Body25 and hands), their rendering, the person mask and the frame."""
    photo = _photo(given)
    with _blaming(given, "person"):
        found = given.models.pose_estimator.estimate(photo)
    return {
        "pose.json": to_openpose_json(found.pose),
        "pose.png": render(found.pose),
        "mask.png": found.mask,
        "frame.json": found.frame.record(),
    }


def cloth(given: StageInput) -> Bundle:
    """Cut the garment out and lay it on the canvas."""
    photo = decode_input(given.sources["cloth"], name=given.names["cloth"], background=BACKGROUND)
    mask_engine = given.options["cloth_mask"]
    cut = given.models.cloth_segmenter.cut_out if mask_engine == "unet" else cut_out
    with _blaming(given, "cloth"):
        garment = prepare(photo, cut)
    return {
        "cloth.png": garment.image,
        "mask.png": garment.mask,
        "frame.json": garment.frame.record(),
        "landmarks.json": garment.landmarks.record(),
        "details.json": {"mask": mask_engine},
    }


def parse(given: StageInput) -> Bundle:
    """Tell the person's parts apart: a CIHP label map of the canvas."""
    posed = given.artifacts["pose"]
    frame = Frame(**posed["frame.json"])
    canvas = frame.to_canvas(_photo(given), fill=FILL)
    person, mask = from_openpose_json(posed["pose.json"]), posed["mask.png"]
    parser = given.options["parser"]
    with _blaming(given, "person"):
        if parser == "trained":
            labels = trained.parse(canvas, person, mask, given.models.parser)
        else:
            labels = landmark.parse(canvas, person, mask)
    return {"parse.png": labels, "details.json": {"parser": parser}}


def generate(given: StageInput) -> Bundle:
    """Draw the garment on the person and put what changed back into the photograph."""
    if given.options["engine"] == "viton_hd":
        person = _prepared(given)
        (drawn,) = given.models.cascade([person.item])
        return person.wearing(drawn)
    return _by_geometry(given)


def generate_batch(batch: Sequence[StageInput]) -> list[Bundle | TryonError]:
    """Do what `generate` does for several jobs, all of the engine viton_hd: draw their pictures at once.

    A job whose input is at fault gets the error in its bundle's place.
    """
    people = [_prepared_or_error(given) for given in batch]
    items = [person.item for person in people if isinstance(person, _Prepared)]
    drawn = iter(batch[0].models.cascade(items))
    return [person.wearing(next(drawn)) if isinstance(person, _Prepared) else person for person in people]


def _by_geometry(given: StageInput) -> Bundle:
    """Return the geometric engine's picture and what it leaves besides."""
    photo, frame = _photo(given), Frame(**given.artifacts["pose"]["frame.json"])
    posed, parsed, cut = (given.artifacts[name] for name in ("pose", "parse", "cloth"))
    garment = Garment(
        cut["cloth.png"],
        cut["mask.png"],
        Frame(**cut["frame.json"]),
        GarmentLandmarks.from_record(cut["landmarks.json"]),
    )
    person = from_openpose_json(posed["pose.json"])
    canvas = frame.to_canvas(photo, fill=FILL)
    worn = try_on(canvas, person, parsed["parse.png"], posed["mask.png"], garment, seed=given.options["seed"])
    return {
        "result.png": paste_back(photo, frame, worn.image, worn.region),
        "region.png": worn.region,
        "warped.jpg": worn.warped,
        "details.json": worn.verdict.record(),
    }


@dataclass(frozen=True)
class _Prepared:
    """A person whom VITON-HD is about to draw: the photograph, its frame, what the cascade sees."""

    photo: np.ndarray
    frame: Frame
    item: "TryOnInput"
    weights: Mapping[str, str]

    def wearing(self, drawn: "Drawn") -> Bundle:
        """Return what VITON-HD leaves of the canvas picture; it draws all of the canvas anew."""
        region = np.full(drawn.image.shape[:2], 255, np.uint8)
        return {
            "result.png": paste_back(self.photo, self.frame, drawn.image, region),
            "region.png": region,
            "warped.jpg": drawn.warped,
            "details.json": {"weights": self.weights},
        }


def _prepared(given: StageInput) -> _Prepared:
    from worker.viton_hd.inputs import TryOnInput  # imports torch

    photo, frame = _photo(given), Frame(**given.artifacts["pose"]["frame.json"])
    posed, parsed, cut = (given.artifacts[name] for name in ("pose", "parse", "cloth"))
    with _blaming(given, "person"):
        item = TryOnInput.of_person(
            frame.to_canvas(photo, fill=FILL),
            from_openpose_json(posed["pose.json"]).body,
            parsed["parse.png"],
            posed["pose.png"],
            cut["cloth.png"],
            cut["mask.png"],
            seed=given.options["seed"],
        )
    return _Prepared(photo, frame, item, given.options["viton_hd"])


def _prepared_or_error(given: StageInput) -> _Prepared | TryonError:
    try:
        return _prepared(given)
    except TryonError as error:
        return error


def _photo(given: StageInput) -> np.ndarray:
    return decode_input(given.sources["person"], name=given.names["person"])


@contextmanager
def _blaming(given: StageInput, source: str) -> Iterator[None]:
    """Name the input in the errors of a function that sees only its pixels."""
    try:
        yield
    except TryonError as error:
        error.input = error.input or given.names[source]
        raise
