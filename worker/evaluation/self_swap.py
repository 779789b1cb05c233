"""A try-on whose right answer is known: what a person wears, flattened, and put on the same person again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from worker.cloth.garment import BACKGROUND
from worker.demo.sheet import sheet
from worker.evaluation.similarity import gmsd, ssim
from worker.evaluation.tryon import Photograph, garment, try_on
from worker.frame import FILL, HEIGHT, WIDTH, Frame
from worker.geometric.warp import ThinPlateSpline, sampling_map
from worker.imaging import encode
from worker.maps import Body25 as J
from worker.maps import Part, Pose
from worker.models import Models
from worker.pose.formats import from_openpose_json

_LEAST = 0.05  # an upper garment that covers less of the canvas is not tried
_BENT = 0.03  # the random warp's standard deviation at its control points, in units of the canvas's width
_TURNED = 4.0  # degrees, the same for its rotation
_RIM = 9  # how far beyond the garment pictures are compared, as a square's size


@dataclass(frozen=True)
class Swap:
    """One person in their own garment.

    Attributes:
        person: the photograph.
        flat: the garment's picture that was made of it, RGB uint8 (1024, 768, 3).
        pictures: `truth`, `ours`, and the baselines -> RGB uint8 (1024, 768, 3), on the canvas.
        region: bool (1024, 768), where they are compared: the garment and a rim.
        error: the name of the error when it was refused; then there is no `ours`.
    """

    person: Photograph
    flat: np.ndarray
    pictures: dict[str, np.ndarray]
    region: np.ndarray
    error: str | None


def swaps(people: Sequence[Photograph], models: Models, seed: int = 0) -> Iterator[Swap]:
    """Yield each person whose upper garment is seen, in it again; people who were refused are left out."""
    for number, person in enumerate(people):
        if person.error is None and worn(person.bundles["parse"]["parse.png"]).mean() >= _LEAST:
            yield swap(person, models, seed + number)


def swap(person: Photograph, models: Models, seed: int) -> Swap:
    """Return a person's own upper garment, flattened by a random warp, on that person again."""
    posed = person.bundles["pose"]
    frame = Frame(**posed["frame.json"])
    canvas = frame.to_canvas(person.pixels, fill=FILL)
    own = worn(person.bundles["parse"]["parse.png"])
    flat, mask = flattened(canvas, own, np.random.default_rng(seed))
    box = torso(from_openpose_json(posed["pose.json"]))
    rows, columns = np.nonzero(own)
    own_box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    # On the photograph itself an overlay would be right wherever it misses: the truth would show beside it.
    emptied = np.where(own[..., None], np.uint8(FILL), canvas)
    pictures = {
        "truth": canvas,
        "overlay on the torso": overlaid(emptied, flat, mask, box),
        "overlay on the old garment": overlaid(emptied, flat, mask, own_box),
    }
    made = try_on(person, garment(f"{person.name} flattened", encode(flat, "png")[0], models), models)
    if made.result is not None:
        pictures["ours"] = frame.to_canvas(made.result, fill=FILL)
    region = cv2.dilate(own.astype(np.uint8), np.ones((_RIM, _RIM), np.uint8)) > 0
    return Swap(person, flat, pictures, region, made.error.name if made.error else None)


def worn(parse: np.ndarray) -> np.ndarray:
    """Return the largest piece of upper garment in CIHP labels, uint8 (h, w): bool (h, w)."""
    area = np.isin(parse, (Part.UPPER_CLOTHES, Part.COAT))
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(area.astype(np.uint8))
    if len(stats) < 2:
        return area
    return np.asarray(pieces == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))


def flattened(canvas: np.ndarray, own: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a garment cut out of a picture and bent by a random smooth warp, on light grey.

    Args:
        canvas: RGB uint8 (1024, 768, 3).
        own: bool (1024, 768), the garment in it.
        rng: draws the warp: a thin-plate spline over 4x4 points, moved at random, and a small turn.

    Returns the picture, RGB uint8 (1024, 768, 3), and the garment's alpha in it, float32 0..1.
    """
    rows, columns = np.nonzero(own)
    low, high = np.array([columns.min(), rows.min()], float), np.array([columns.max(), rows.max()], float)
    grid = np.stack(np.meshgrid(*(np.linspace(a, b, 4) for a, b in zip(low, high, strict=True))), -1)
    there = grid.reshape(-1, 2)
    angle = np.deg2rad(rng.normal(0, _TURNED))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (low + high) / 2
    scale = 0.9 * min(WIDTH / (high - low)[0], HEIGHT / (high - low)[1])
    here = (there - middle) @ turn.T * scale + np.array([WIDTH, HEIGHT]) / 2
    here += rng.normal(0, _BENT * WIDTH / 3, here.shape)
    positions = sampling_map(ThinPlateSpline(here, there, slack=1e-3), (0, 0, WIDTH, HEIGHT))
    px, py = np.ascontiguousarray(positions[..., 0]), np.ascontiguousarray(positions[..., 1])
    # Drawn in by a little, so that no skin or wall comes along.
    inner = cv2.erode(own.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    alpha = cv2.remap(cv2.GaussianBlur(inner, (0, 0), 0.8), px, py, cv2.INTER_LINEAR)
    colour = cv2.remap(canvas, px, py, cv2.INTER_CUBIC).astype(np.float32)
    flat = alpha[..., None] * colour + (1 - alpha[..., None]) * BACKGROUND
    return np.clip(np.round(flat), 0, 255).astype(np.uint8), alpha


def torso(pose: Pose) -> tuple[int, int, int, int]:
    """Return the box about shoulders and hips (x0, y0, x1, y1), a fifth wider than the joints."""
    shoulders = [pose.xy(joint) for joint in (J.R_SHOULDER, J.L_SHOULDER) if pose.seen(joint)]
    hips = [pose.xy(joint) for joint in (J.R_HIP, J.L_HIP, J.MID_HIP) if pose.seen(joint)]
    points = np.array([*shoulders, *hips], float)
    low, high = points.min(0), points.max(0)
    wider = 0.2 * (high - low)[0]
    return int(low[0] - wider), int(low[1] - wider), int(high[0] + wider), int(high[1])


def overlaid(
    canvas: np.ndarray, flat: np.ndarray, alpha: np.ndarray, box: tuple[int, int, int, int]
) -> np.ndarray:
    """Return the naive try-on: the garment's picture, cropped to its alpha, scaled to a box and pasted."""
    rows, columns = np.nonzero(alpha > 0.5)
    crop = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    x0, y0, x1, y1 = box
    size = max(x1 - x0, 2), max(y1 - y0, 2)
    matrix = np.array(
        [[size[0] / flat[crop].shape[1], 0, x0], [0, size[1] / flat[crop].shape[0], y0]], np.float64
    )
    colour = cv2.warpAffine(flat[crop], matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
    share = cv2.warpAffine(np.ascontiguousarray(alpha[crop]), matrix, (WIDTH, HEIGHT))[..., None]
    mixed = share * colour + (1 - share) * canvas
    return np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def table(found: Sequence[Swap]) -> dict[str, dict[str, Any]]:
    """Return mean SSIM and GMSD against the photograph within the region: ours and the baselines."""
    done = [one for one in found if one.error is None]
    rows: dict[str, dict[str, Any]] = {}
    for name in ("ours", "overlay on the torso", "overlay on the old garment"):
        if not done:
            break
        likeness = [ssim(one.pictures[name], one.pictures["truth"], one.region) for one in done]
        deviation = [gmsd(one.pictures[name], one.pictures["truth"], one.region) for one in done]
        rows[name] = {
            "pictures": len(done),
            "ssim": round(float(np.mean(likeness)), 4),
            "ssim_worst": round(min(likeness), 4),
            "gmsd": round(float(np.mean(deviation)), 4),
            "gmsd_worst": round(max(deviation), 4),
        }
    rows["refused"] = {"pictures": len(found) - len(done)}
    return rows


def contact_sheet(found: Sequence[Swap]) -> np.ndarray:
    """Return each person's photograph, flattened garment, try-on and overlays, RGB uint8."""
    panels = []
    for one in found:
        panels.append((one.person.name, one.pictures["truth"]))
        panels.append(("flattened" + (f": {one.error}" if one.error else ""), one.flat))
        panels += [
            (name, one.pictures.get(name, one.flat))
            for name in ("ours", "overlay on the torso", "overlay on the old garment")
        ]
    return sheet(panels, columns=5)
