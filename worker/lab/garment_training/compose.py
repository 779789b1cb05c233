"""Augments an example to a network input: random position, rotation, light and background."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from worker.cloth.garment_output import ATTRIBUTES, KINDS, MASK_STRIDE, PADDING, SUPPORTS, WHOLES
from worker.cloth.landmarks import MIRROR, NAMES
from worker.images.frame import opencv_matrix
from worker.lab.garment_training.examples import SIZE, UNKNOWN, Example
from worker.lab.garment_training.fabric import Picture, background, noise, studio


@dataclass(frozen=True)
class ComposeSettings:
    """How inputs vary. Shares are probabilities, spreads are standard deviations.

    Attributes:
        upright: share of garments that are upright up to `upright_spread` degrees, as in the second pass.
        tilted: share that is tilted by `tilted_spread` degrees; the rest has any rotation.
        fill_layer, fill_photo: the garment's longer side as a share of the input's.
        fill_unknown: the photograph's longer side, if the garment's position in it is unknown.
        small: share of garments that fill only `fill_small` of the input: a seller's picture with blank space
            around the garment. Without them, the network marks a garment in the blank part too.
        framed: share of photographs that are extended by the colour of their border, not by the padding.
        cut: share of pictures in which a part of the garment is outside.
        plain: share of studio backgrounds.
        similar: share of studio backgrounds with nearly the garment's colour: white on light grey is common
            in shops, and hard to segment.
        similar_offset: how much such a background differs from the garment, grey levels.
        stretch: spread of the logarithm of the ratio of width to height.
        perspective: largest change of scale from the middle to one side, share.
        shadow, hanger, tag, hand: shares of layers with one.
        padded: share of layers with padding around the photograph.
        jpeg, blurred, noisy, dim: shares of inputs with that degradation.
    """

    upright: float = 0.62
    upright_spread: float = 5.0
    tilted: float = 0.14
    tilted_spread: float = 22.0
    fill_layer: tuple[float, float] = (0.5, 0.98)
    fill_photo: tuple[float, float] = (0.6, 1.0)
    fill_unknown: tuple[float, float] = (0.85, 1.35)
    small: float = 0.2
    fill_small: tuple[float, float] = (0.22, 0.5)
    framed: float = 0.4
    cut: float = 0.16
    plain: float = 0.55
    similar: float = 0.16
    similar_offset: tuple[float, float] = (5.0, 22.0)
    stretch: float = 0.06
    perspective: float = 0.08
    shadow: float = 0.5
    hanger: float = 0.12
    tag: float = 0.08
    hand: float = 0.05
    padded: float = 0.5
    jpeg: float = 0.35
    blurred: float = 0.2
    noisy: float = 0.3
    dim: float = 0.15


SETTINGS = ComposeSettings()
_OUTSIDE = 0.03  # share of the input by which a garment may be outside and still count as whole


_HANGS = (KINDS.index("top"), KINDS.index("outerwear"))  # kinds that may be drawn on a hanger


@dataclass
class Sample:
    """A network input and its targets.

    Attributes:
        picture: RGB uint8 (size, size, 3).
        mask: uint8 (size / 2, size / 2); counts where `mask_known`.
        points: float32 (14, 2), pixels of the input; weights: float32 (14,).
        present: int8 (14,), attributes: int8 (7,) in the order of ATTRIBUTES; UNKNOWN does not count.
    """

    picture: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    mask_known: bool
    points: NDArray[np.float32]
    weights: NDArray[np.float32]
    present: NDArray[np.int8]
    attributes: NDArray[np.int8]


def compose(
    rng: Generator,
    example: Example,
    size: int,
    crops: Sequence[NDArray[np.uint8]],
    settings: ComposeSettings = SETTINGS,
) -> Sample:
    """Return a random input of this size; `crops` are pieces of backgrounds."""
    rotation = _rotation(rng, settings)
    mirrored = rng.random() < 0.5
    known = not np.isnan(example.rotation)
    own = (-example.rotation if mirrored else example.rotation) if known else 0.0
    matrix = _matrix(rng, example, rotation - own, mirrored, size, settings)
    points, weights, present = _landmarks(example, matrix, mirrored)
    attributes = np.array([example.attributes[name] for name in ATTRIBUTES], np.int8)
    picture, alpha, photo = _picture(rng, example, matrix, size, crops, attributes, settings)

    inside = ((points > 0) & (points < size)).all(1)
    _mark_cut_off(attributes, points, weights, alpha if example.layer else None, photo, size)
    weights = np.where(inside, weights, 0).astype(np.float32)
    small = cv2.resize(alpha, (size // MASK_STRIDE, size // MASK_STRIDE), interpolation=cv2.INTER_AREA)
    return Sample(
        _degraded(rng, picture, settings),
        np.round(small * 255).astype(np.uint8),
        example.mask_known,
        points,
        weights,
        present,
        attributes,
    )


def _rotation(rng: Generator, settings: ComposeSettings) -> float:
    draw = rng.random()
    if draw < settings.upright:
        return float(rng.normal(0, settings.upright_spread))
    if draw < settings.upright + settings.tilted:
        return float(rng.normal(0, settings.tilted_spread))
    return float(rng.uniform(-180, 180))


def _matrix(
    rng: Generator, example: Example, turn: float, mirrored: bool, size: int, settings: ComposeSettings
) -> NDArray[np.float64]:
    """Return a random homography from the stored picture to the input, (3, 3)."""
    extent = _extent(example)
    flip = np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    centred = np.array([[1, 0, -SIZE / 2], [0, 1, -SIZE / 2], [0, 0, 1.0]])
    angle = np.deg2rad(turn)
    stretch = np.exp(rng.normal(0, settings.stretch) / 2)
    spin = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    lean = np.eye(3)
    lean[2, :2] = rng.uniform(-1, 1, 2) * settings.perspective / SIZE
    shape = lean @ spin @ np.diag([stretch, 1 / stretch, 1]) @ flip @ centred
    seen = project(shape, extent)
    low, high = seen.min(0), seen.max(0)
    known = example.mask_known or bool((example.weights > 0).any())
    photo = settings.fill_photo if known else settings.fill_unknown
    fills = settings.fill_small if rng.random() < settings.small else None
    fill = rng.uniform(*(fills or (settings.fill_layer if example.layer else photo)))
    cut = rng.random() < settings.cut
    scale = fill * (1.25 if cut else 1.0) * size / float((high - low).max())
    free = np.maximum(size - scale * (high - low), 0.25 * size * cut)
    middle = size / 2 - scale * (low + high) / 2 + free * rng.uniform(-0.5, 0.5, 2)
    place = np.array([[scale, 0, middle[0]], [0, scale, middle[1]], [0, 0, 1]])
    return np.asarray(place @ shape, np.float64)


def _extent(example: Example) -> NDArray[np.float64]:
    """Return points around the garment, pixels of the stored picture, (n, 2)."""
    if example.layer or example.mask_known:
        rows, columns = (np.flatnonzero((example.rgba[..., 3] > 127).any(axis)) for axis in (1, 0))
        if len(rows):
            x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
            return np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]], float)
    labelled = example.points[example.weights > 0].astype(float)
    if len(labelled) > 2:
        # The labelled points are on the outline; hoods, collars and puffed sleeves extend beyond them.
        low, high = labelled.min(0), labelled.max(0)
        return np.concatenate([labelled, [low - 0.03 * (high - low), high + 0.03 * (high - low)]])
    x0, y0, x1, y1 = example.photo
    return np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]], float)


def _landmarks(
    example: Example, matrix: NDArray[np.float64], mirrored: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int8]]:
    order = list(MIRROR) if mirrored else list(range(len(NAMES)))
    points = project(matrix, example.points[order].astype(float)).astype(np.float32)
    return points, example.weights[order], example.present[order]


def project(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points, (n, 2), transformed by a homography, (3, 3)."""
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(moved[:, :2] / moved[:, 2:])


def warped(
    picture: NDArray[np.float32], matrix: NDArray[np.float64], size: int, fill: float = 0.0
) -> NDArray[np.float32]:
    """Return a picture resampled by a homography of its points, (3, 3)."""
    return np.asarray(
        cv2.warpPerspective(
            picture, opencv_matrix(matrix), (size, size), flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=(fill,) * 4,
        ),
        np.float32,
    )  # fmt: skip


def _picture(
    rng: Generator,
    example: Example,
    matrix: NDArray[np.float64],
    size: int,
    crops: Sequence[NDArray[np.uint8]],
    attributes: NDArray[np.int8],
    settings: ComposeSettings,
) -> tuple[Picture, NDArray[np.float32], NDArray[np.float32]]:
    """Return the picture, the garment's alpha and the mask of the photograph, both 0..1."""
    rgba = example.rgba.astype(np.float32)
    alpha = warped(np.asarray(rgba[..., 3] / 255, np.float32), matrix, size)
    if not example.layer:
        frame = np.zeros((SIZE, SIZE), np.float32)
        x0, y0, x1, y1 = (round(value) for value in example.photo)
        frame[y0:y1, x0:x1] = 1
        picture, photo = warped(rgba[..., :3], matrix, size, PADDING), warped(frame, matrix, size)
        if rng.random() < settings.framed:
            ground = studio(rng, size, _border_colour(rgba[y0:y1, x0:x1, :3]))
            picture = np.asarray(photo[..., None] * picture + (1 - photo[..., None]) * ground, np.float32)
        return picture, alpha, photo
    share = np.asarray(rgba[..., 3:] / 255, np.float32)
    colours = np.asarray(_recoloured(rng, rgba[..., :3]) * share, np.float32)
    if rng.random() < settings.plain * settings.similar:
        ground = studio(rng, size, _similar_colour(rng, colours, share, settings))
    else:
        ground = background(rng, size, crops, settings.plain)
    if rng.random() < settings.shadow:
        shift = rng.normal(0, 0.028, 2) * size
        move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        dark = cv2.GaussianBlur(
            cv2.warpAffine(alpha, move, (size, size)), (0, 0), rng.uniform(0.005, 0.04) * size
        )
        ground *= (1 - rng.uniform(0.08, 0.65) * dark)[..., None]
    support = list(ATTRIBUTES).index("support")
    if attributes[support] == UNKNOWN:
        attributes[support] = SUPPORTS.index("flat")
    kind = attributes[list(ATTRIBUTES).index("kind")]
    if kind in _HANGS and rng.random() < settings.hanger:
        _hang(rng, ground, example, matrix)
        attributes[support] = SUPPORTS.index("hanger")
    picture = warped(colours, matrix, size) + (1 - alpha[..., None]) * ground
    _clutter(rng, picture, alpha, settings)
    photo = _photograph(rng, size, settings)
    picture = photo[..., None] * picture + (1 - photo[..., None]) * PADDING
    return picture, alpha * photo, photo


def _border_colour(photo: Picture) -> NDArray[np.float32]:
    """Return the median colour of a photograph's outermost pixels, RGB (3,)."""
    rim = np.concatenate([photo[0], photo[-1], photo[:, 0], photo[:, -1]])
    return np.asarray(np.median(rim, 0), np.float32)


def _similar_colour(
    rng: Generator, colours: Picture, share: NDArray[np.float32], settings: ComposeSettings
) -> NDArray[np.float32]:
    """Return a colour close to a garment's mean, RGB (3,); `colours` are multiplied by the alpha `share`."""
    mean = colours.sum((0, 1)) / max(float(share.sum()), 1.0)
    offset = rng.uniform(*settings.similar_offset) * rng.choice([-1.0, 1.0])
    return np.asarray(np.clip(mean + offset + rng.normal(0, 2, 3), 3, 255), np.float32)


def _recoloured(rng: Generator, colours: Picture) -> Picture:
    """Return the garment's colours with permuted channels and another brightness."""
    if rng.random() < 0.5:
        colours = colours[..., rng.permutation(3)]
    return colours * np.float32(rng.uniform(0.8, 1.1))


def _hang(rng: Generator, ground: Picture, example: Example, matrix: NDArray[np.float64]) -> None:
    """Draw a hanger behind the garment: two arms below the shoulders and a hook."""
    index = {name: i for i, name in enumerate(NAMES)}
    necks = [example.points[index[f"{side}_neck"]] for side in "rl"]
    ends = [
        0.3 * example.points[index[f"{s}_neck"]] + 0.7 * example.points[index[f"{s}_shoulder"]] for s in "rl"
    ]
    width = float(np.linalg.norm(ends[0] - ends[1]))
    top = (necks[0] + necks[1]) / 2 + (0, -rng.uniform(0.02, 0.12) * width)
    turn = np.linspace(0, 1.5 * np.pi, 12)
    radius = rng.uniform(0.05, 0.09) * width
    hook = top + np.stack([radius * np.sin(turn), -radius * (2 + np.cos(turn - np.pi))], 1) + (0, -radius)
    colour = tuple(float(value) for value in rng.uniform(10, 230) + rng.normal(0, 15, 3))
    thick = max(1, round(rng.uniform(0.006, 0.03) * ground.shape[0]))
    for line in ([ends[0], top, ends[1]], [top, *hook]):
        seen = np.round(project(matrix, np.array(line, float))).astype(np.int32)
        cv2.polylines(ground, [seen], False, colour, thick, cv2.LINE_AA)


def _clutter(rng: Generator, picture: Picture, alpha: NDArray[np.float32], settings: ComposeSettings) -> None:
    """Composite a price tag or a hand onto the garment's edge."""
    size = len(alpha)
    edge = np.argwhere((alpha > 0.3) & (alpha < 0.7))
    if len(edge) == 0:
        return
    y, x = (int(value) for value in edge[rng.integers(len(edge))])
    if rng.random() < settings.tag:
        half = np.round(rng.uniform(0.015, 0.05, 2) * size).astype(int) + 1
        level = float(rng.uniform(180, 255))
        cv2.rectangle(
            picture, (x - int(half[0]), y), (x + int(half[0]), y + 2 * int(half[1])), (level,) * 3, -1
        )
    if rng.random() < settings.hand:
        skin = np.array([224, 172, 140], np.float32) * rng.uniform(0.35, 1.1)
        cover = np.zeros_like(alpha)
        axes = (max(2, round(0.05 * size)), max(2, round(0.035 * size)))
        cv2.ellipse(cover, (x, y), axes, rng.uniform(0, 180), 0, 360, 1, -1, cv2.LINE_AA)
        away = np.array([x, y]) + (np.array([x, y]) - size / 2) * 2
        cv2.line(cover, (x, y), (int(away[0]), int(away[1])), 1, axes[1] * 2 - 2, cv2.LINE_AA)
        alpha *= 1 - cover
        picture[:] = cover[..., None] * skin + (1 - cover[..., None]) * picture


def _photograph(rng: Generator, size: int, settings: ComposeSettings) -> NDArray[np.float32]:
    """Return the mask of the photograph in the input, upright or rotated, float32 (size, size)."""
    inside = np.ones((size, size), np.float32)
    if rng.random() >= settings.padded:
        return inside
    if rng.random() < 0.6:
        band = round(rng.uniform(0.0, 0.2) * size)
        if rng.random() < 0.85:
            inside[:, :band] = inside[:, size - band :] = 0
        else:
            inside[:band] = inside[size - band :] = 0
        return inside
    # The second pass rotates the photograph: its corners are visible.
    angle, reach = rng.uniform(-45, 45), rng.uniform(0.5, 0.75) * size
    box = cv2.boxPoints(((size / 2, size / 2), (2 * reach, 2 * reach * rng.uniform(0.75, 1.3)), angle))
    inside[:] = 0
    cv2.fillConvexPoly(inside, np.round(box).astype(np.int32), 1.0)
    return inside


def _mark_cut_off(
    attributes: NDArray[np.int8],
    points: NDArray[np.float32],
    weights: NDArray[np.float32],
    alpha: NDArray[np.float32] | None,
    photo: NDArray[np.float32],
    size: int,
) -> None:
    """Set the attribute `whole` to cut off if a part of the garment is outside the photograph."""
    whole = list(ATTRIBUTES).index("whole")
    margin = _OUTSIDE * size
    cells = np.clip(np.floor(points), 0, size - 1).astype(int)
    outside = ((points < -margin) | (points > size + margin)).any(1) | (photo[cells[:, 1], cells[:, 0]] < 0.5)
    if (outside & (weights > 0)).any():
        attributes[whole] = WHOLES.index("cut off")
    elif attributes[whole] == UNKNOWN and alpha is not None and (weights > 0).any():
        attributes[whole] = WHOLES.index("whole")


def _degraded(rng: Generator, picture: Picture, settings: ComposeSettings) -> NDArray[np.uint8]:
    """Return the picture with random exposure, colour cast, blur, noise and JPEG artefacts, uint8."""
    size = len(picture)
    gain = rng.normal(1, 0.12) * (rng.uniform(0.3, 0.8) if rng.random() < settings.dim else 1.0)
    cast = 1 + rng.normal(0, 0.035, 3).astype(np.float32)
    contrast = rng.normal(1, 0.1)
    picture = ((picture - 128) * np.float32(contrast) + 128) * (np.float32(gain) * cast)
    if rng.random() < 0.25:
        picture = picture * (1 + 0.15 * noise(rng, (size, size), (2, 2)))[..., None]
    if rng.random() < settings.blurred:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.3)).astype(np.float32)
    if rng.random() < settings.noisy:
        picture = picture + rng.normal(0, rng.uniform(1, 9), picture.shape).astype(np.float32)
    shown = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    if rng.random() < settings.jpeg:
        _, coded = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
        shown = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return shown
