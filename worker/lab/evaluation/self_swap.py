"""A try-on whose right answer is known: what a person wears, laid flat, and put on the same person again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from worker.cloth.landmarks import GarmentLandmarks
from worker.images.decode import encode
from worker.images.frame import FILL, HEIGHT, WIDTH, Frame
from worker.images.maps import Body25 as J
from worker.images.maps import Pose
from worker.images.openpose import from_openpose_json
from worker.lab.evaluation.flatten import Flat, UnsuitedError, flatten, worn
from worker.lab.evaluation.similarity import gmsd, ssim
from worker.lab.evaluation.tryon import Photograph, garment, try_on
from worker.stages.models import Models

ENGINE, SHOULDERS, BOX = "engine", "overlay by shoulders", "overlay in old box"
"""What is compared: the engine, and two naive try-ons that move, turn and scale the picture as a whole."""


@dataclass(frozen=True)
class Swap:
    """One person in their own garment.

    Attributes:
        name: the person's.
        scores: ENGINE, SHOULDERS and BOX -> `ssim` and `gmsd`, where the photograph shows the garment and the
            picture of it has what is seen there. Empty when it was refused.
        refused: what made the garment unsuited, or the error's name; None when it was not refused.
    """

    name: str
    scores: dict[str, dict[str, float]]
    refused: str | None


def swap(person: Photograph, models: Models, seed: int) -> tuple[Swap, list[tuple[str, np.ndarray]]]:
    """Return a person's own upper garment, laid flat at random, on that person again.

    What of the old garment a try-on leaves uncovered is blanked, so that nobody is right by leaving things
    as they are. Returned are the scores and titled pictures, RGB uint8 (1024, 768, 3): the photograph, the
    garment laid flat, the engine's and the naive try-ons; as far as it came.
    """
    if person.error is not None:
        return Swap(person.name, {}, person.error.name), []
    frame = Frame(**person.bundles["pose"]["frame.json"])
    canvas = frame.to_canvas(person.pixels, fill=FILL)
    pose = from_openpose_json(person.bundles["pose"]["pose.json"])
    parse = person.bundles["parse"]["parse.png"]
    try:
        flat = flatten(canvas, pose, parse, np.random.default_rng(seed))
    except UnsuitedError as reason:
        return Swap(person.name, {}, str(reason)), []
    panels = [(person.name, canvas), ("laid flat", flat.image)]
    product = garment(f"{person.name} laid flat", encode(flat.image, "png")[0], models)
    made = try_on(person, product, models)
    if made.result is None:
        return Swap(person.name, {}, made.error.name if made.error else None), panels

    own = worn(parse)
    # As unlike the garment as can be: what is missing must not be right by chance.
    blank = np.uint8(255 if np.median(canvas[own]) < 128 else 0)
    emptied = np.where(own[..., None], blank, canvas)
    left = own & (made.made["region.png"] == 0)
    cut = product.bundles["cloth"]
    marks = GarmentLandmarks.from_record(cut["landmarks.json"])
    pictures = {
        ENGINE: np.where(left[..., None], blank, frame.to_canvas(made.result, fill=FILL)),
        SHOULDERS: overlaid(emptied, flat, by_shoulders(marks, Frame(**cut["frame.json"]), pose)),
        BOX: overlaid(emptied, flat, into_box(flat.alpha > 0.5, own)),
    }
    region = own & flat.used
    scores = {
        name: {"ssim": ssim(picture, canvas, region), "gmsd": gmsd(picture, canvas, region)}
        for name, picture in pictures.items()
    }
    titled = [(f"{name}: {scores[name]['ssim']:.2f}", picture) for name, picture in pictures.items()]
    return Swap(person.name, scores, None), panels + titled


def by_shoulders(marks: GarmentLandmarks, placed: Frame, pose: Pose) -> np.ndarray:
    """Return the similarity that lays a garment's shoulder tips on a person's shoulders, float64 (2, 3).

    Args:
        marks: where the garment's shoulders are on its canvas.
        placed: where its picture lies there.
        pose: the person's joints.
    """
    right, left = (placed.points_to_photo(marks.points[f"{side}_shoulder"]) for side in ("r", "l"))
    there = pose.xy(J.R_SHOULDER).astype(float), pose.xy(J.L_SHOULDER).astype(float)
    # As complex numbers a similarity is one product and one sum.
    a, b, c, d = (complex(*point) for point in (right, left, *there))
    turn = (d - c) / (b - a)
    move = c - turn * a
    return np.array([[turn.real, -turn.imag, move.real], [turn.imag, turn.real, move.imag]])


def into_box(area: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return the scaling that fits an area's bounding box, bool (h, w), to another's, float64 (2, 3)."""
    (x0, y0, x1, y1), (u0, v0, u1, v1) = (_box(one) for one in (area, place))
    across, down = (u1 - u0) / (x1 - x0), (v1 - v0) / (y1 - y0)
    return np.array([[across, 0, u0 - across * x0], [0, down, v0 - down * y0]])


def overlaid(canvas: np.ndarray, flat: Flat, matrix: np.ndarray) -> np.ndarray:
    """Return a naive try-on: the garment's picture, moved as a whole and pasted, RGB uint8 (1024, 768, 3)."""
    colour, alpha = (
        cv2.warpAffine(plane, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
        for plane in (flat.image, flat.alpha)
    )
    share = alpha[..., None]
    return np.clip(np.round(share * colour + (1 - share) * canvas), 0, 255).astype(np.uint8)


def table(found: Sequence[Swap]) -> dict[str, dict[str, Any]]:
    """Return SSIM and GMSD of engine and overlays: their means, and each person's."""
    done = {one.name: one.scores for one in found if one.refused is None}
    means = {
        name: {
            measure: float(np.mean([scores[name][measure] for scores in done.values()]))
            for measure in ("ssim", "gmsd")
        }
        for name in (ENGINE, SHOULDERS, BOX)
        if done
    }
    rows = {f"mean of {len(done)}": means} if done else {}
    return {name: _row(scores) for name, scores in {**rows, **done}.items()}


def left_out(found: Sequence[Swap]) -> dict[str, dict[str, Any]]:
    """Return why the others have no figures, by name."""
    return {one.name: {"why": one.refused} for one in found if one.refused is not None}


def _row(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        f"{measure} {name}": round(scores[name][measure], 3)
        for measure in ("ssim", "gmsd")
        for name in (ENGINE, SHOULDERS, BOX)
    }


def _box(area: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(area)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
