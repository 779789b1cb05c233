"""Training examples: labelled people at the network's size, their proportions, and random changes of both."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from config.errors import InputValidationError, PoseError
from worker.geometric.layout import INPUT_SCALE, INPUT_SHAPE, STAYS, After, BodyFrame, planes, staying
from worker.geometric.proportions import Proportions
from worker.images.arrays import Flags, Floats, Labels
from worker.images.frame import Frame
from worker.images.maps import Body25 as J
from worker.lab.layout_training.measure import UNKNOWN, cihp, target, worn_proportions
from worker.lab.parser_training.examples import wider_frame

_SWAPPED = (
    *(J.NOSE, J.NECK, J.L_SHOULDER, J.L_ELBOW, J.L_WRIST, J.R_SHOULDER, J.R_ELBOW, J.R_WRIST, J.MID_HIP),
    *(J.L_HIP, J.L_KNEE, J.L_ANKLE, J.R_HIP, J.R_KNEE, J.R_ANKLE, J.L_EYE, J.R_EYE, J.L_EAR, J.R_EAR),
    *(J.R_BIG_TOE, J.R_SMALL_TOE, J.R_HEEL, J.L_BIG_TOE, J.L_SMALL_TOE, J.L_HEEL),
)
"""The joint that takes each joint's place in a mirrored picture."""

_SWAPPED_LABELS = ((After.RIGHT_SLEEVE, After.LEFT_SLEEVE), (After.RIGHT_ARM, After.LEFT_ARM))

_LOWER_PLANE, _LEG_PLANE = 2, 3  # of STAYS


_MAP = wider_frame(Frame(1.0, 0.0, 0.0, 1, 1))
"""Where the canvas is in the labelled map, which is wider: class maps are in the map's pixels, joints in the
canvas's."""

_SHRINK = 1 / (_MAP.scale * INPUT_SCALE)
"""Stored pixels per pixel of the map: the person then is as large as in the network's input."""

_ORIGIN = np.array([_MAP.left, _MAP.top], np.float32) * np.float32(_SHRINK)
"""Where the input's corner is in a stored map."""


@dataclass(frozen=True)
class Person:
    """A labelled person, as large as in the network's input, with more around.

    Attributes:
        name: number of the photograph.
        joints: Body25 in stored pixels, float32 (25, 3).
        parse: CIHP labels, uint8 (h, w).
        target: the layout, uint8 (h, w).
        proportions: of what the person wears.
    """

    name: str
    joints: Floats
    parse: Labels
    target: Labels
    proportions: Proportions


@dataclass(frozen=True)
class AugmentSettings:
    """How examples are changed at random.

    Attributes:
        zoom: largest change of size, share of it; framing differs that much between photographs.
        shift: largest shift, share of the picture's sides.
        joints: standard deviation of a joint, body sizes: the pose estimator's usual error.
        values: standard deviation of a proportion, body sizes: the error of landmarks.
        cut: how often the old hem in the lower clothes' outline is replaced by another; without that the
            network would read the hem there and not in the proportions.
        cut_reach: how far the false hem is above or below the true one at most, body sizes.
    """

    zoom: float = 0.2
    shift: float = 0.08
    joints: float = 0.025
    values: float = 0.04
    cut: float = 0.75
    cut_reach: float = 0.9


AUGMENT = AugmentSettings()


def load_people(data: Path, subset: str) -> list[Person]:
    """Return the labelled people of a subset; people without visible shoulders or top are left out.

    Args:
        data: folder of NNNN.json (subset; body: joints on the canvas) and NNNN_c.png (class map on the map
            of `parser_training.examples.prepare`, which is wider than the canvas).
        subset: train, val or test.

    Raises InputValidationError when the folder holds nobody of the subset.
    """
    people = []
    for file in sorted(data.glob("*.json")):
        record = json.loads(file.read_text())
        if record.get("subset") != subset:
            continue
        classes = cv2.imread(str(file.with_name(f"{file.stem}_c.png")), cv2.IMREAD_UNCHANGED)
        if classes is None:
            raise InputValidationError(f"{file.stem}_c.png is missing in {data}.", input=str(data))
        small = np.asarray(
            cv2.resize(classes, None, fx=_SHRINK, fy=_SHRINK, interpolation=cv2.INTER_NEAREST), np.uint8
        )
        joints = np.array(record["body"], np.float32)
        seen = joints[:, 2] > 0
        joints[seen, :2] = joints[seen, :2] / INPUT_SCALE + _ORIGIN
        try:
            worn = worn_proportions(small, joints)
        except PoseError:
            continue
        if worn is not None:
            people.append(Person(file.stem, joints, cihp(small, joints), target(small, joints), worn))
    if not people:
        raise InputValidationError(
            f"{data} holds no labelled people of the subset {subset}.", input=str(data)
        )
    return people


def example(
    rng: np.random.Generator, person: Person, settings: AugmentSettings = AUGMENT
) -> tuple[Floats, Labels]:
    """Return an input, float32 (25, h, w), and its target, uint8 (h, w), changed at random."""
    labels, stays = person.target, staying(person.parse)
    joints, proportions = person.joints.copy(), person.proportions
    if rng.random() < settings.cut:
        frame = BodyFrame.of(joints)
        stays = with_false_hem(stays, labels, frame, proportions.hem, rng.uniform(-1, 1) * settings.cut_reach)
    joints, labels, stays = _moved(rng, joints, labels, stays, settings)
    if rng.random() < 0.5:
        joints, labels, stays = _mirrored(joints, labels, stays)
        proportions = proportions.mirrored()
    seen = joints[:, 2] > 0
    noise = rng.normal(0, settings.joints * BodyFrame.of(joints).size, (len(joints), 2))
    joints[seen, :2] += noise[seen].astype(np.float32)
    values = proportions.values()
    exact = proportions.values() == 0  # no sleeve, and a round neck, are known
    values = np.where(exact, values, values + rng.normal(0, settings.values, len(values)))
    return planes(joints, 1.0, stays, Proportions.of(values)), labels


def with_false_hem(stays: Flags, labels: Labels, frame: BodyFrame, hem: float, offset: float) -> Flags:
    """Return what stays as it would be if the old garment had ended elsewhere.

    Args:
        stays: bool (4, h, w), see `staying`.
        labels: the layout, uint8 (h, w).
        frame: the body's coordinates.
        hem: row of the garment's hem, body sizes.
        offset: how far the false hem is below it, body sizes.
    """
    stays = stays.copy()
    _, below = frame.coordinates((labels.shape[0], labels.shape[1]))
    if offset > 0:
        stays[[_LOWER_PLANE, _LEG_PLANE]] &= below > hem + offset
        return stays
    # Under the new garment's lower part the old lower clothes can be seen.
    plane = _LOWER_PLANE if stays[_LOWER_PLANE].sum() >= stays[_LEG_PLANE].sum() else _LEG_PLANE
    stays[plane] |= (labels == After.TRUNK) & (below > hem + offset)
    return stays


def at_input(person: Person) -> tuple[Floats, Labels, Labels]:
    """Return joints, parse and layout of a person as the network is given them at run time, input pixels."""
    joints, labels, _ = _placed(person.joints, person.target, staying(person.parse), 1.0, np.zeros(2))
    _, parse, _ = _placed(person.joints, person.parse, staying(person.parse), 1.0, np.zeros(2), 0)
    return joints, parse, labels


def _moved(
    rng: np.random.Generator, joints: Floats, labels: Labels, stays: Flags, settings: AugmentSettings
) -> tuple[Floats, Labels, Flags]:
    zoom = float(np.exp(rng.uniform(-1, 1) * settings.zoom))
    shift = rng.uniform(-1, 1, 2) * settings.shift * np.array(INPUT_SHAPE[::-1])
    return _placed(joints, labels, stays, zoom, shift)


def _placed(
    joints: Floats, labels: Labels, stays: Flags, zoom: float, shift: Floats, beyond: int = UNKNOWN
) -> tuple[Floats, Labels, Flags]:
    """Return the input's part of stored maps, zoomed around its middle and shifted."""
    size = INPUT_SHAPE[::-1]
    centre = np.array(size) / 2
    matrix = np.array([[zoom, 0, 0], [0, zoom, 0]])
    matrix[:, 2] = centre + shift - zoom * (centre + _ORIGIN)
    stack = np.dstack([np.packbits(stays, 0)[0], labels])
    # Pixel centres are at whole numbers plus one half; OpenCV's are at whole numbers.
    opencv = matrix.copy()
    opencv[:, 2] += (zoom - 1) / 2
    moved = cv2.warpAffine(stack, opencv, size, flags=cv2.INTER_NEAREST, borderValue=(0, beyond, 0, 0))
    joints = joints.copy()
    joints[:, :2] = joints[:, :2] * zoom + matrix[:, 2].astype(np.float32)
    joints[joints[:, 2] <= 0] = 0
    bits = np.unpackbits(np.asarray(moved[None, ..., 0], np.uint8), 0)[: len(STAYS)]
    return joints, np.asarray(moved[..., 1], np.uint8), bits > 0


def _mirrored(joints: Floats, labels: Labels, stays: Flags) -> tuple[Floats, Labels, Flags]:
    joints = joints[list(_SWAPPED)].copy()
    joints[joints[:, 2] > 0, 0] = labels.shape[1] - joints[joints[:, 2] > 0, 0]
    swapped = np.arange(UNKNOWN + 1, dtype=np.uint8)
    for right, left in _SWAPPED_LABELS:
        swapped[[right, left]] = left, right
    return joints, swapped[labels[:, ::-1]], np.ascontiguousarray(stays[:, :, ::-1])
