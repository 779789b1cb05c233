"""The stage functions: from the bytes and bundles a stage reads to the bundle it leaves; nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

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
    photo = _photo(given)
    frame = Frame(**given.artifacts["pose"]["frame.json"])
    draw = _by_viton_hd if given.options["engine"] == "viton_hd" else _by_geometry
    made, image, region = draw(given, frame.to_canvas(photo, fill=FILL))
    return {"result.png": paste_back(photo, frame, image, region), "region.png": region, **made}


def _by_geometry(given: StageInput, canvas: np.ndarray) -> tuple[Bundle, np.ndarray, np.ndarray]:
    """Return what the geometric engine leaves besides the canvas picture and the region that changed."""
    posed, parsed, cut = (given.artifacts[name] for name in ("pose", "parse", "cloth"))
    garment = Garment(
        cut["cloth.png"],
        cut["mask.png"],
        Frame(**cut["frame.json"]),
        GarmentLandmarks.from_record(cut["landmarks.json"]),
    )
    person = from_openpose_json(posed["pose.json"])
    worn = try_on(canvas, person, parsed["parse.png"], posed["mask.png"], garment, seed=given.options["seed"])
    return {"warped.jpg": worn.warped, "details.json": worn.verdict.record()}, worn.image, worn.region


def _by_viton_hd(given: StageInput, canvas: np.ndarray) -> tuple[Bundle, np.ndarray, np.ndarray]:
    """Return what VITON-HD leaves besides the canvas picture; it draws all of the canvas anew."""
    from worker.viton_hd.inputs import TryOnInput  # imports torch

    posed, parsed, cut = (given.artifacts[name] for name in ("pose", "parse", "cloth"))
    with _blaming(given, "person"):
        item = TryOnInput.of_person(
            canvas,
            from_openpose_json(posed["pose.json"]).body,
            parsed["parse.png"],
            posed["pose.png"],
            cut["cloth.png"],
            cut["mask.png"],
            seed=given.options["seed"],
        )
    (drawn,) = given.models.cascade([item])
    made = {"warped.jpg": drawn.warped, "details.json": {"weights": given.options["viton_hd"]}}
    return made, drawn.image, np.full(canvas.shape[:2], 255, np.uint8)


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
