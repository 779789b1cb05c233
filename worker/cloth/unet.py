"""Separates a garment from any background with the U-Net of cloths_segmentation and its published weights.

The network (V. Iglovikov, https://github.com/ternaus/cloths_segmentation, MIT) is a U-Net on an
EfficientNet-B3 encoder, trained on photographs of people and garments with any background.
"""

import math
import warnings
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from worker import weights
from worker.cloth.mask import Cutout, cut_along
from worker.images.arrays import Flags, Image
from worker.images.regions import largest_region, without_small_regions
from worker.weights.checkpoint import load_state_dict, shapes

WEIGHTS = "cloth-unet"

MAX_SIDE = 1024
"""Longest side of the network's input, pixels: that of the canvas. It was trained at 800."""

SIDE_FACTOR = 32
"""Both sides of the input are a multiple of this: the encoder halves them five times."""

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
"""ImageNet's mean and standard deviation, of RGB channels scaled to 0..1."""

MIN_PIECE = 0.01
"""Share of the largest region that a smaller region must have to be garment."""


def network() -> torch.nn.Module:
    """Return the network without weights; (n, 3, h, w) float32 -> logits (n, 1, h, w).

    The keys and shapes of its state dict are those of segmentation-models-pytorch 0.1.2, the release with
    which the published weights were trained.
    """
    import segmentation_models_pytorch as smp

    with warnings.catch_warnings():
        # The library recommends another name of the encoder, which has other keys.
        warnings.filterwarnings("ignore", "`timm-` encoders are deprecated", DeprecationWarning)
        unet: torch.nn.Module = smp.Unet(
            encoder_name="timm-efficientnet-b3", encoder_weights=None, in_channels=3, classes=1
        )
    return unet.eval()


def check(file: Path) -> None:
    """Raise WeightsMissingError unless the file contains this network's weights."""
    load_state_dict(file, _shapes(), prefix="model.")


class ClothSegmenter:
    """The network with its weights, on a device."""

    def __init__(self, models_dir: Path, device: str = "cpu") -> None:
        """Load the weights. Raises WeightsMissingError when they are missing or not the right ones."""
        self._network = network()
        state = load_state_dict(weights.path(WEIGHTS, models_dir), _shapes(), prefix="model.")
        self._network.load_state_dict(state, strict=True)
        self._network.to(device)
        self._device = device

    def segment(self, image: Image) -> Flags:
        """Return which pixels are garment, bool (h, w), of a photograph, RGB uint8 (h, w, 3)."""
        height, width = image.shape[:2]
        scale = min(1.0, MAX_SIDE / max(height, width))
        if scale < 1:
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            image = np.asarray(small, np.uint8)
        padded, (top, left) = _pad(image)
        x = torch.from_numpy(((padded / np.float32(255) - MEAN) / STD).transpose(2, 0, 1)[None].copy())
        with torch.inference_mode():
            logits = self._network(x.to(self._device))[0, 0].float().cpu().numpy()
        logits = logits[top : top + image.shape[0], left : left + image.shape[1]]
        if scale < 1:
            logits = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(logits > 0)

    def cut_out(self, image: Image) -> Cutout:
        """Return the garment's alpha and its own colours, of a photograph, RGB uint8 (h, w, 3).

        Raises GarmentMaskError when no garment is found, or it is cut off by the picture's edge.
        """
        return cut_along(image, _without_specks(self.segment(image)))


def _pad(image: Image) -> tuple[Image, tuple[int, int]]:
    """Return the picture padded with black to sides that the network accepts, and its top and left in it."""
    rows, columns = (-side % SIDE_FACTOR for side in image.shape[:2])
    top, left = rows // 2, columns // 2
    padded = cv2.copyMakeBorder(image, top, rows - top, left, columns - left, cv2.BORDER_CONSTANT)
    return np.asarray(padded, np.uint8), (top, left)


def _without_specks(garment: Flags) -> Flags:
    largest_area = np.count_nonzero(largest_region(garment))
    return without_small_regions(garment, max(1, math.ceil(MIN_PIECE * largest_area)))


@cache
def _shapes() -> dict[str, tuple[int, ...]]:
    return shapes(network())
