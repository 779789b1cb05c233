"""A try-on with a known correct result: a person's own garment, flattened and put on the same person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from worker.cloth.landmarks import GarmentLandmarks
from worker.contract import Bundle
from worker.images.arrays import Canvas, Flags, Floats
from worker.images.decode import encode
from worker.images.frame import FILL, HEIGHT, WIDTH, Frame
from worker.images.maps import Body25 as J
from worker.images.maps import Pose
from worker.images.openpose import from_openpose_json
from worker.images.shapes import bounding_box
from worker.lab.demo.sheet import Panel
from worker.lab.evaluation.flatten import FlatGarment, UnsuitableGarmentError, flatten, worn_garment
from worker.lab.evaluation.similarity import gmsd, ssim
from worker.lab.evaluation.tryon import Photograph, load_garment, try_on
from worker.stages.models import Models

ENGINE, SHOULDERS, BOX = "engine", "overlay by shoulders", "overlay in old box"
"""What is compared: the engine, and two baselines that move, rotate and scale the picture as a whole."""

METHODS = (ENGINE, SHOULDERS, BOX)

_MEASURES = ("ssim", "gmsd")


@dataclass(frozen=True)
class Swap:
    """One person in their own garment.

    Attributes:
        name: the person's.
        scores: each of METHODS -> `ssim` and `gmsd`, over the pixels of the worn garment that its flat
            picture shows. Empty when it was refused.
        refused: why the garment is unsuitable, or the error's name; None when it was not refused.
    """

    name: str
    scores: dict[str, dict[str, float]]
    refused: str | None


def swap(person: Photograph, models: Models, seed: int) -> tuple[Swap, list[Panel]]:
    """Return the scores of a person's own upper garment, flattened at random and put on again.

    What a try-on leaves of the old garment is blanked first, so that no method scores by leaving pixels
    unchanged.

    Args:
        person: with the bundles of `pose` and `parse`, or an error.
        models: the loaded models.
        seed: of the random part of the flat garment.

    Returns:
        The scores, and titled pictures, RGB uint8 (1024, 768, 3): the photograph, the flat garment, the
        try-ons of all METHODS; fewer when it was refused.
    """
    if person.error is not None:
        return Swap(person.name, {}, person.error.name), []
    frame = Frame(**person.bundles["pose"]["frame.json"])
    canvas = frame.to_canvas(person.pixels, fill=FILL)
    pose = from_openpose_json(person.bundles["pose"]["pose.json"])
    parse = person.bundles["parse"]["parse.png"]
    try:
        flat = flatten(canvas, pose, parse, np.random.default_rng(seed))
    except UnsuitableGarmentError as reason:
        return Swap(person.name, {}, str(reason)), []
    panels = [(person.name, canvas), ("flat garment", flat.image)]
    product = load_garment(f"{person.name} flat", encode(flat.image, "png")[0], models)
    tried = try_on(person, product, models)
    if tried.result is None:
        return Swap(person.name, {}, tried.error.name if tried.error else None), panels

    garment = worn_garment(parse)
    # The opposite brightness: what is missing must not be similar by chance.
    blank = np.uint8(255 if np.median(canvas[garment]) < 128 else 0)
    unchanged = garment & (tried.bundle["region.png"] == 0)
    engine = np.where(unchanged[..., None], blank, frame.to_canvas(tried.result, fill=FILL))
    without_garment = np.where(garment[..., None], blank, canvas)
    pictures = {ENGINE: engine, **_baselines(without_garment, garment, flat, product.bundles["cloth"], pose)}
    region = garment & flat.used
    scores = {
        name: {"ssim": ssim(picture, canvas, region), "gmsd": gmsd(picture, canvas, region)}
        for name, picture in pictures.items()
    }
    panels += [(f"{name}: {scores[name]['ssim']:.2f}", picture) for name, picture in pictures.items()]
    return Swap(person.name, scores, None), panels


def _baselines(
    canvas: Canvas, garment: Flags, flat: FlatGarment, cloth: Bundle, pose: Pose
) -> dict[str, Canvas]:
    """Return the baselines' try-ons, SHOULDERS and BOX.

    Args:
        canvas: the person without the garment, RGB uint8 (1024, 768, 3).
        garment: bool (1024, 768), where it was.
        flat: the flat garment.
        cloth: the bundle of the stage `cloth` for the flat garment.
        pose: the person's joints.
    """
    landmarks = GarmentLandmarks.from_record(cloth["landmarks.json"])
    by_shoulders = similarity_by_shoulders(landmarks, Frame(**cloth["frame.json"]), pose)
    return {
        SHOULDERS: overlay(canvas, flat, by_shoulders),
        BOX: overlay(canvas, flat, into_box(flat.alpha > 0.5, garment)),
    }


def similarity_by_shoulders(landmarks: GarmentLandmarks, frame: Frame, pose: Pose) -> Floats:
    """Return the similarity transform from a garment's shoulder tips to a person's, float64 (2, 3).

    Args:
        landmarks: on the garment's canvas.
        frame: where the garment's picture is on that canvas.
        pose: the person's joints.
    """
    right, left = (frame.points_to_photo(landmarks.points[f"{side}_shoulder"]) for side in ("r", "l"))
    targets = pose.xy(J.R_SHOULDER).astype(float), pose.xy(J.L_SHOULDER).astype(float)
    # As complex numbers, a similarity transform is one product and one sum.
    source_right, source_left, target_right, target_left = (
        complex(*point) for point in (right, left, *targets)
    )
    factor = (target_left - target_right) / (source_left - source_right)
    shift = target_right - factor * source_right
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def into_box(area: Flags, target: Flags) -> Floats:
    """Return the scaling from an area's bounding box to another's, both bool (h, w): float64 (2, 3)."""
    (x0, y0, x1, y1), (u0, v0, u1, v1) = bounding_box(area), bounding_box(target)
    scale_x, scale_y = (u1 - u0) / (x1 - x0), (v1 - v0) / (y1 - y0)
    return np.array([[scale_x, 0, u0 - scale_x * x0], [0, scale_y, v0 - scale_y * y0]])


def overlay(canvas: Canvas, flat: FlatGarment, matrix: Floats) -> Canvas:
    """Return a baseline try-on: the garment's picture, transformed as a whole and composited on the canvas.

    Args:
        canvas: RGB uint8 (1024, 768, 3).
        flat: the garment.
        matrix: the affine transform to the canvas, float64 (2, 3).
    """
    colour, alpha = (
        cv2.warpAffine(plane, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
        for plane in (flat.image, flat.alpha)
    )
    share = alpha[..., None]
    return np.clip(np.round(share * colour + (1 - share) * canvas), 0, 255).astype(np.uint8)


def table(swaps: Sequence[Swap]) -> dict[str, dict[str, Any]]:
    """Return SSIM and GMSD of all METHODS: their means, and each person's."""
    scores = {swap.name: swap.scores for swap in swaps if swap.refused is None}
    if not scores:
        return {}
    means = {
        method: {
            measure: float(np.mean([one[method][measure] for one in scores.values()]))
            for measure in _MEASURES
        }
        for method in METHODS
    }
    return {name: _row(one) for name, one in {f"mean of {len(scores)}": means, **scores}.items()}


def left_out(swaps: Sequence[Swap]) -> dict[str, dict[str, Any]]:
    """Return the reason why a person has no scores, by name."""
    return {swap.name: {"why": swap.refused} for swap in swaps if swap.refused is not None}


def _row(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        f"{measure} {method}": round(scores[method][measure], 3)
        for measure in _MEASURES
        for method in METHODS
    }
