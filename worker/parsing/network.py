"""The trained parser's network: a YOLOv8 segmentation model from safetensors, and its score maps."""

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from config.errors import WeightsMissingError
from worker.images.arrays import Canvas, Floats
from worker.images.frame import HEIGHT, WIDTH
from worker.parsing.classes import Class
from worker.parsing.layout import read as read_layout
from worker.parsing.quiet import ultralytics
from worker.weights.checkpoint import load_state_dict, shapes

if TYPE_CHECKING:
    from ultralytics.nn.tasks import SegmentationModel

SIZE = 320
"""Height of the network's input picture, pixels; the width follows from the canvas."""
MIN_CONFIDENCE = 0.03
"""Detections with a lower confidence are ignored."""
MAX_DETECTIONS_PER_CLASS = 24
"""Only the most confident detections of each class are used; the others are mostly duplicates."""
SCORE_HEIGHT, SCORE_WIDTH = HEIGHT // 4, WIDTH // 4
"""Size of the score maps, pixels."""
_STRIDE = 32  # the network's input sides must be multiples of it
_PADDING = 114  # grey of the padded input, as in ultralytics' training
_BOX_MARGIN = 1.0  # a mask may extend this far beyond its box, in pixels of the prototypes
_BOX_VALUES = 4  # centre x, centre y, width, height


class ParserNetwork:
    """A YOLOv8 segmentation network whose outputs are `Class`.

    Args:
        weights: a safetensors file of the network's state dict, from `tryon parser convert`.
        layout: ultralytics' model yaml of the network, with the names of its classes.
        device: a torch device.
        size: the height of the network's input picture, pixels.

    Raises:
        WeightsMissingError: a file is missing, damaged, or belongs to another network.
    """

    def __init__(self, weights: Path, layout: Path, device: str = "cpu", size: int = SIZE) -> None:
        self.device = torch.device(device)
        self.size = size
        self.model = load(weights, layout)
        self.model.eval()
        self.model.fuse(verbose=False)  # type: ignore[no-untyped-call]
        self.model.to(self.device)

    @torch.inference_mode()
    def scores(self, image_rgb: Canvas) -> Floats:
        """Return the confidence of each class at each pixel.

        The maps of the picture and of its mirror image are averaged: the classes have no side.

        Args:
            image_rgb: uint8 (1024, 768, 3).

        Returns:
            float32 (256, 192, 16), 0..1; classes do not sum to one. All are zero where nothing was detected.
        """
        picture = self._input(image_rgb)
        pair = torch.stack([picture, picture.flip(-1)])
        (detections, prototypes), *_ = self.model(pair)
        maps = torch.stack([self._maps(detections[i], prototypes[i]) for i in range(2)])
        mean = (maps[0] + maps[1].flip(-1)) / 2
        padding_share = (pair.shape[-1] - self._input_width()) / 2 / pair.shape[-1]
        padding = round(padding_share * mean.shape[-1])
        inner = mean[..., padding : mean.shape[-1] - padding].permute(1, 2, 0).cpu().numpy()
        return np.stack(
            [
                cv2.resize(inner[..., c], (SCORE_WIDTH, SCORE_HEIGHT), interpolation=cv2.INTER_LINEAR)
                for c in range(len(Class))
            ],
            -1,
        )

    def _input_width(self) -> int:
        return self.size * WIDTH // HEIGHT

    def _input(self, image_rgb: Canvas) -> torch.Tensor:
        """Return the picture resized and padded for the network, float32 (3, h, w), 0..1."""
        width = self._input_width()
        small = cv2.resize(image_rgb, (width, self.size), interpolation=cv2.INTER_AREA)
        padding = -width % _STRIDE
        padded = cv2.copyMakeBorder(
            small, 0, 0, padding // 2, padding - padding // 2, cv2.BORDER_CONSTANT, value=(_PADDING,) * 3
        )
        return torch.from_numpy(padded).to(self.device).permute(2, 0, 1).float() / 255

    def _maps(self, detections: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
        """Return (classes, h, w): the maximum over a class's detections of confidence times mask.

        Args:
            detections: (4 + classes + k, n): box, confidences and mask coefficients of each detection.
            prototypes: (k, h, w): a detection's mask is the sigmoid of their weighted sum.
        """
        count = len(Class)
        boxes, confidence, coefficients = torch.split(
            detections.T, [_BOX_VALUES, count, prototypes.shape[0]], 1
        )
        rows, columns = prototypes.shape[1:]
        scale = rows / self.size
        y = torch.arange(rows, device=prototypes.device)[:, None] + 0.5
        x = torch.arange(columns, device=prototypes.device)[None] + 0.5
        maps = torch.zeros(count, rows, columns, device=prototypes.device)
        for c in range(count):
            top, order = confidence[:, c].topk(min(MAX_DETECTIONS_PER_CLASS, len(confidence)))
            order = order[top >= MIN_CONFIDENCE]
            if len(order) == 0:
                continue
            masks = torch.sigmoid(torch.einsum("nk,khw->nhw", coefficients[order], prototypes))
            cx, cy, w, h = (boxes[order] * scale).T[:, :, None, None]
            inside = ((x - cx).abs() <= w / 2 + _BOX_MARGIN) & ((y - cy).abs() <= h / 2 + _BOX_MARGIN)
            maps[c] = (masks * inside * confidence[order, c, None, None]).amax(0)
        return maps


def load(weights: Path, layout: Path) -> "SegmentationModel":
    """Return the network with its weights, float32. Raises WeightsMissingError like `build`."""
    network = build(layout)
    state = load_state_dict(weights, shapes(network))
    network.load_state_dict({name: value.float() for name, value in state.items()}, strict=True)
    return network


def build(layout: Path) -> "SegmentationModel":
    """Return the network of a model yaml with random weights.

    Raises WeightsMissingError when the yaml is missing, names other classes than `Class`, or is not one that
    is safe to build: see `worker.parsing.layout`.
    """
    document = read_layout(layout)
    ultralytics()
    from ultralytics.nn.tasks import SegmentationModel

    try:
        return SegmentationModel(document, ch=3, nc=len(Class), verbose=False)  # type: ignore[no-untyped-call]
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise WeightsMissingError(
            f"{layout} describes a network that cannot be built ({error}). Use the .yaml that `tryon parser "
            "convert` wrote beside the weights.",
            input=str(layout),
        ) from error
