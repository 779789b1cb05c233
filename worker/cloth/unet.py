"""Tells a garment from its background by the U-Net of cloths_segmentation, with its published weights.

The network (V. Iglovikov, https://github.com/ternaus/cloths_segmentation, MIT) is a U-Net on an
EfficientNet-B3 encoder, trained on photographs with any background, of people and garments.
"""

import warnings
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from worker import weights
from worker.cloth.mask import Cutout, cut_along
from worker.weights.checkpoint import load_state_dict, shapes

WEIGHTS = "cloth-unet"

_LONGEST = 1024  # longest side that the network is shown, the canvas's; it was trained at 800
_FACTOR = 32  # what both sides must be a multiple of: the encoder halves them five times
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, of channels scaled to 0..1
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_SPECK = 0.01  # a piece smaller than this share of the largest one is not garment


def network() -> torch.nn.Module:
    """Return the network, its weights not yet loaded; (n, 3, h, w) float32 -> logits (n, 1, h, w).

    Its state-dict keys and shapes are those of the release of segmentation-models-pytorch (0.1.2) that
    the published weights were trained with.
    """
    import segmentation_models_pytorch as smp

    with warnings.catch_warnings():
        # The library would rather build the encoder under another name, with other keys.
        warnings.filterwarnings("ignore", "`timm-` encoders are deprecated", DeprecationWarning)
        built: torch.nn.Module = smp.Unet(
            encoder_name="timm-efficientnet-b3", encoder_weights=None, in_channels=3, classes=1
        )
    return built.eval()


def check(file: Path) -> None:
    """Raise WeightsMissingError unless the file holds this network's weights."""
    load_state_dict(file, _shapes(), prefix="model.")


class ClothSegmenter:
    """The network with its weights, on a device."""

    def __init__(self, models_dir: Path, device: str = "cpu") -> None:
        """Load the weights. Raises WeightsMissingError when they are not there, or not the right ones."""
        self._network = network()
        state = load_state_dict(weights.path(WEIGHTS, models_dir), _shapes(), prefix="model.")
        self._network.load_state_dict(state, strict=True)
        self._network.to(device)
        self._device = device

    def segment(self, image: np.ndarray) -> np.ndarray:
        """Return which pixels are garment, bool (h, w), of a photograph, RGB uint8 (h, w, 3)."""
        height, width = image.shape[:2]
        scale = min(1.0, _LONGEST / max(height, width))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        padded, (top, left) = _pad(image)
        x = torch.from_numpy(((padded / np.float32(255) - _MEAN) / _STD).transpose(2, 0, 1)[None].copy())
        with torch.inference_mode():
            logits = self._network(x.to(self._device))[0, 0].float().cpu().numpy()
        logits = logits[top : top + image.shape[0], left : left + image.shape[1]]
        if scale < 1:
            logits = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(logits > 0)

    def cut_out(self, image: np.ndarray) -> Cutout:
        """Return the garment's alpha and its own colours, of a photograph, RGB uint8 (h, w, 3).

        Raises GarmentMaskError when no garment is to be seen, or it runs out of the picture.
        """
        return cut_along(image, _without_specks(self.segment(image)))


def _pad(image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the picture with black around it so that the network takes it, and where it lies: top, left."""
    rows, columns = (-side % _FACTOR for side in image.shape[:2])
    top, left = rows // 2, columns // 2
    padded = cv2.copyMakeBorder(image, top, rows - top, left, columns - left, cv2.BORDER_CONSTANT)
    return padded, (top, left)


def _without_specks(hard: np.ndarray) -> np.ndarray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(hard.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # what is not garment
    return np.asarray((areas >= max(1, _SPECK * areas.max()))[labels])


@cache
def _shapes() -> dict[str, tuple[int, ...]]:
    return shapes(network())
