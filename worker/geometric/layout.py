"""Predicts the layout after: what each pixel of torso and arms will be when a garment is worn.

A U-Net in the spirit of VITON-HD's segmentation generator (Choi et al., CVPR 2021). It sees the pose drawn as
limbs, the labels of what stays (hair, head, lower clothes, legs) and the garment's proportions, but neither
the old garment nor the person's outline. Weights are trained by `tryon layout train`.
"""

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from config.errors import PoseError
from worker.geometric.proportions import Proportions
from worker.images.arrays import Flags, Floats, Labels, Points
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Body25 as J
from worker.images.maps import Part, Pose
from worker.weights.checkpoint import load_state_dict, shapes

INPUT_SCALE = 4
"""Canvas pixels per input pixel: an arm is then about ten pixels wide."""

INPUT_SHAPE = (HEIGHT // INPUT_SCALE, WIDTH // INPUT_SCALE)


class After(IntEnum):
    """What a pixel will be; left and right are the person's own."""

    BACKGROUND = 0
    TRUNK = 1
    RIGHT_SLEEVE = 2
    LEFT_SLEEVE = 3
    NECK = 4
    RIGHT_ARM = 5
    LEFT_ARM = 6
    HAIR = 7
    LOWER = 8
    KEPT = 9
    """Face, hat, glasses, legs, socks and shoes."""


HEAD = (Part.HAT, Part.SUNGLASSES, Part.FACE)
LOWER = (Part.PANTS, Part.SKIRT)
LEGS = (Part.SOCKS, Part.LEFT_LEG, Part.RIGHT_LEG, Part.LEFT_SHOE, Part.RIGHT_SHOE)
STAYS: tuple[tuple[Part, ...], ...] = ((Part.HAIR,), HEAD, LOWER, LEGS)
"""The groups of CIHP labels that the network sees, a plane each."""

_ARMS = ((J.R_SHOULDER, J.R_ELBOW, J.R_WRIST), (J.L_SHOULDER, J.L_ELBOW, J.L_WRIST))
_LIMBS: tuple[tuple[tuple[J, J], ...], ...] = (
    ((J.R_SHOULDER, J.L_SHOULDER), (J.R_SHOULDER, J.R_HIP), (J.L_SHOULDER, J.L_HIP), (J.R_HIP, J.L_HIP)),
    ((J.R_SHOULDER, J.R_ELBOW),),
    ((J.R_ELBOW, J.R_WRIST),),
    ((J.L_SHOULDER, J.L_ELBOW),),
    ((J.L_ELBOW, J.L_WRIST),),
    ((J.R_HIP, J.R_KNEE), (J.R_KNEE, J.R_ANKLE), (J.L_HIP, J.L_KNEE), (J.L_KNEE, J.L_ANKLE)),
    ((J.NOSE, J.NECK), (J.NOSE, J.R_EAR), (J.NOSE, J.L_EAR)),
)
"""The bones of each plane of limbs."""


@dataclass(frozen=True)
class PlaneSettings:
    """How the input is drawn.

    Attributes:
        bone: thickness of a bone, body sizes: visible after the encoder's first halving.
        band: thickness of an arm's band, body sizes: a little wider than a sleeve's usual width.
        torso: share of the trunk's length that is a body size, for a turned person, whose shoulders look
            narrow; a standing adult's proportions.
        widest_torso: the longest trunk in shoulder widths for which that is believed.
        smallest: smallest body size, input pixels: a smaller person has no arms to tell.
        reach: coordinates are clipped to this many body sizes.
        steps: points along each bone of a band.
    """

    bone: float = 0.08
    band: float = 0.36
    torso: float = 0.62
    widest_torso: float = 1.6
    smallest: float = 5.0
    reach: float = 4.0
    steps: int = 8


DRAWN = PlaneSettings()


@dataclass(frozen=True)
class LayoutShape:
    """How large the network is.

    Attributes:
        planes: channels of the input: 7 limbs, 4 labels, 2 coordinates, 2 arms, hem, 9 proportions.
        widths: channels at strides 2, 4, 8, 16 and 32; multiples of 16, which matrix units like.
        fine: channels at full resolution, where only edges are drawn.
    """

    planes: int = 25
    widths: tuple[int, ...] = (32, 48, 96, 128, 160)
    fine: int = 16


class LayoutNetwork(nn.Module):
    """(n, 25, 256, 192) float32 of `planes` -> logits (n, 10, 256, 192) of `After`."""

    def __init__(self, shape: LayoutShape | None = None) -> None:
        super().__init__()
        shape = shape or LayoutShape()
        widths = shape.widths
        self.full = _conv(shape.planes, shape.fine)
        befores = (shape.planes, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(_conv(before, width, stride=2), _conv(width, width))
            for before, width in zip(befores, widths, strict=True)
        )
        self.bottom = _conv(widths[-1], widths[-1])
        self.up = nn.ModuleList(
            _conv(coarse + fine, fine)
            for coarse, fine in zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
        )
        self.last = nn.Sequential(
            _conv(widths[0] + shape.fine, shape.fine), nn.Conv2d(shape.fine, len(After), 1)
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits of each label."""
        levels, features = [], inputs
        for down in self.down:
            features = down(features)
            levels.append(features)
        features = self.bottom(features)
        for up, level in zip(self.up, reversed(levels[:-1]), strict=True):
            features = up(torch.cat([_twice(features), level], 1))
        logits: torch.Tensor = self.last(torch.cat([_twice(features), self.full(inputs)], 1))
        return logits


class LayoutPredictor:
    """The network with its weights, on the CPU."""

    def __init__(self, network: LayoutNetwork) -> None:
        self._network = network.eval()

    @classmethod
    def load(cls, file: Path) -> "LayoutPredictor":
        """Return the predictor of a weights file. Raises WeightsMissingError when it cannot be used."""
        network = LayoutNetwork()
        state = load_state_dict(file, shapes(network))
        network.load_state_dict(state, strict=True)
        return cls(network.float())

    def layout_after(self, pose: Pose, parse: Labels, proportions: Proportions) -> Labels:
        """Return what each pixel will be, a label of `After`, uint8 (1024, 768).

        Args:
            pose: the joints on the canvas.
            parse: CIHP labels of the photograph, uint8 (1024, 768).
            proportions: what the new garment covers.

        Hair and head stay as they are in the parse. Raises PoseError when a shoulder is missing.
        """
        rows, columns = INPUT_SHAPE
        small = np.asarray(cv2.resize(parse, (columns, rows), interpolation=cv2.INTER_NEAREST), np.uint8)
        inputs = planes(pose.body, INPUT_SCALE, staying(small), proportions)
        with torch.inference_mode():
            logits = self._network(torch.from_numpy(inputs)[None])
            logits = functional.interpolate(logits, scale_factor=INPUT_SCALE, mode="bilinear")
        labels = logits[0].argmax(0).numpy().astype(np.uint8)
        labels[parse == Part.HAIR] = After.HAIR
        labels[np.isin(parse, HEAD)] = After.KEPT
        return labels


def staying(parse: Labels) -> Flags:
    """Return what stays of a parse, bool (4, h, w): the groups of STAYS."""
    return np.stack([np.isin(parse, group) for group in STAYS])


@dataclass(frozen=True)
class BodyFrame:
    """The body's coordinates, input pixels: size, and the middle of the shoulders."""

    size: float
    middle: Points

    @classmethod
    def of(cls, joints: Floats) -> "BodyFrame":
        """Return the frame of joints (25, 3). Raises PoseError when a shoulder is missing."""
        if not (joints[J.R_SHOULDER, 2] > 0 and joints[J.L_SHOULDER, 2] > 0):
            raise PoseError("Both shoulders must be visible: use a photograph that shows them.")
        right, left = joints[J.R_SHOULDER, :2].astype(float), joints[J.L_SHOULDER, :2].astype(float)
        middle, width = (right + left) / 2, float(np.linalg.norm(left - right))
        hips = joints[[J.R_HIP, J.L_HIP]]
        if (hips[:, 2] > 0).all():
            trunk = float(np.linalg.norm(hips[:, :2].mean(0) - middle))
            width = max(width, DRAWN.torso * min(trunk, DRAWN.widest_torso * width))
        return cls(max(width, DRAWN.smallest), middle)

    def coordinates(self, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Return each pixel's position across and below the shoulders, body sizes, float32 (h, w) each."""
        rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32) + np.float32(0.5)
        return (columns - self.middle[0]) / self.size, (rows - self.middle[1]) / self.size


def planes(body: Floats, scale: float, stays: Flags, proportions: Proportions) -> Floats:
    """Return the network's input, float32 (25, h, w).

    Args:
        body: joints, (25, 3).
        scale: units of the joints per input pixel.
        stays: what stays of the photograph's labels, bool (4, h, w).
        proportions: what the garment covers.

    Raises PoseError when a shoulder is missing.
    """
    joints = body.astype(np.float32).copy()
    joints[:, :2] /= scale
    shape = (stays.shape[1], stays.shape[2])
    frame = BodyFrame.of(joints)
    across, below = frame.coordinates(shape)
    limbs = [_bones(joints, bones, frame.size, shape) for bones in _LIMBS]
    ends = (proportions.right_sleeve, proportions.left_sleeve)
    arms = [_arm(joints, arm, end, frame.size, shape) for arm, end in zip(_ARMS, ends, strict=True)]
    reach = DRAWN.reach
    spatial = [np.clip(plane, -reach, reach) / reach for plane in (across, below)]
    hem = np.clip(below - proportions.hem, -1, 1)
    constant = [np.full(shape, value, np.float32) for value in proportions.values()]
    return np.stack([*limbs, *stays.astype(np.float32), *spatial, *arms, hem, *constant]).astype(np.float32)


def _bones(joints: Floats, bones: tuple[tuple[J, J], ...], size: float, shape: tuple[int, int]) -> Floats:
    plane = np.zeros(shape, np.float32)
    for first, second in bones:
        if joints[first, 2] > 0 and joints[second, 2] > 0:
            _line(plane, joints[first, :2], joints[second, :2], DRAWN.bone * size, 1.0)
    return plane


def _arm(
    joints: Floats, arm: tuple[J, J, J], sleeve_end: float, size: float, shape: tuple[int, int]
) -> Floats:
    """Return an arm's band, 1 where the sleeve covers it and -1 where it is bare, 0 beside it."""
    plane = np.zeros(shape, np.float32)
    shares = np.linspace(0, 1, DRAWN.steps + 1)
    for bone in (1, 0):  # the upper arm last: its sleeve hides the forearm more often
        first, second = joints[arm[bone]], joints[arm[bone + 1]]
        if first[2] <= 0 or second[2] <= 0:
            continue
        for begin, end in pairwise(shares):
            points = [first[:2] + (second[:2] - first[:2]) * share for share in (begin, end)]
            covered = bone + (begin + end) / 2 < sleeve_end
            _line(plane, points[0], points[1], DRAWN.band * size, 1.0 if covered else -1.0)
    return plane


_FRACTION_BITS = 3  # of the coordinates that OpenCV draws


def _line(plane: Floats, first: Points, second: Points, thickness: float, value: float) -> None:
    ends = [tuple(int(x) for x in np.round((p - 0.5) * 2**_FRACTION_BITS)) for p in (first, second)]
    cv2.line(plane, ends[0], ends[1], value, max(1, round(thickness)), cv2.LINE_8, _FRACTION_BITS)


def _conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def _twice(features: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(features, scale_factor=2, mode="nearest")
