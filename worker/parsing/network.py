"""The trained parser's network: a YOLOv8 segmentation model from safetensors, and its score maps."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml

from config.errors import WeightsMissingError
from worker.images.frame import HEIGHT, WIDTH
from worker.parsing.classes import TITLES, Class
from worker.parsing.quiet import ultralytics
from worker.weights.checkpoint import load_state_dict, shapes

SIZE = 320
"""The height of the picture that the network sees, pixels; the width follows the canvas."""
MIN_CONFIDENCE = 0.03
"""Things found with less are not looked at."""
MOST_THINGS = 24
"""How many finds of one class are looked at, the surest first; most are the same thing again."""
_STRIDE = 32
_GREY = 114


class ParserNetwork:
    """A YOLOv8 segmentation network whose outputs are `Class`.

    Args:
        weights: a safetensors file of the network's state dict, as `tryon parser convert` writes it.
        layout: ultralytics' model yaml of the network, with the names of its classes.
        device: a torch device.
        size: the height of the picture that the network sees, pixels.

    Raises:
        WeightsMissingError: a file is not there, is damaged, or is another network's.
    """

    def __init__(self, weights: Path, layout: Path, device: str = "cpu", size: int = SIZE) -> None:
        self.device = torch.device(device)
        self.size = size
        self.model = load(weights, layout)
        self.model.eval().fuse(verbose=False)
        self.model.to(self.device)

    @torch.inference_mode()
    def scores(self, image_rgb: np.ndarray) -> np.ndarray:
        """Return how sure the network is of each class at each pixel.

        The picture and its mirror image are looked at and their maps averaged: no class knows its side.

        Args:
            image_rgb: uint8 (1024, 768, 3).

        Returns:
            float32 (256, 192, 16), 0..1; classes do not sum to one. A pixel of no class has zeros.
        """
        picture = self._picture(image_rgb)
        pair = torch.stack([picture, picture.flip(-1)])
        (found, proto), *_ = self.model(pair)
        maps = torch.stack([self._maps(found[i], proto[i]) for i in range(2)])
        both = (maps[0] + maps[1].flip(-1)) / 2
        margin = (pair.shape[-1] - self.size * WIDTH // HEIGHT) / 2 / pair.shape[-1]
        cut = round(margin * both.shape[-1])
        inner = both[..., cut : both.shape[-1] - cut].permute(1, 2, 0).cpu().numpy()
        return np.stack(
            [
                cv2.resize(inner[..., c], (192, 256), interpolation=cv2.INTER_LINEAR)
                for c in range(len(Class))
            ],
            -1,
        )

    def _picture(self, image_rgb: np.ndarray) -> torch.Tensor:
        width = self.size * WIDTH // HEIGHT
        small = cv2.resize(image_rgb, (width, self.size), interpolation=cv2.INTER_AREA)
        beside = -width % _STRIDE
        small = cv2.copyMakeBorder(
            small, 0, 0, beside // 2, beside - beside // 2, cv2.BORDER_CONSTANT, value=(_GREY,) * 3
        )
        return torch.from_numpy(small).to(self.device).permute(2, 0, 1).float() / 255

    def _maps(self, found: torch.Tensor, proto: torch.Tensor) -> torch.Tensor:
        """Return (classes, h, w): each class's surest thing at each pixel, its confidence times its mask."""
        count = len(Class)
        boxes, confidence, coefficients = found.T.split([4, count, proto.shape[0]], 1)
        rows, columns = proto.shape[1:]
        scale = rows / self.size
        y = torch.arange(rows, device=proto.device)[:, None] + 0.5
        x = torch.arange(columns, device=proto.device)[None] + 0.5
        maps = torch.zeros(count, rows, columns, device=proto.device)
        for c in range(count):
            top, order = confidence[:, c].topk(min(MOST_THINGS, len(confidence)))
            order = order[top >= MIN_CONFIDENCE]
            if len(order) == 0:
                continue
            masks = torch.sigmoid(torch.einsum("nk,khw->nhw", coefficients[order], proto))
            cx, cy, w, h = (boxes[order] * scale).T[:, :, None, None]
            inside = ((x - cx).abs() <= w / 2 + 1) & ((y - cy).abs() <= h / 2 + 1)
            maps[c] = (masks * inside * confidence[order, c, None, None]).amax(0)
        return maps


def load(weights: Path, layout: Path) -> Any:
    """Return the network with its weights, float32. Raises WeightsMissingError like `build`."""
    network = build(layout)
    state = load_state_dict(weights, shapes(network))
    network.load_state_dict({name: value.float() for name, value in state.items()}, strict=True)
    return network


def build(layout: Path) -> Any:
    """Return the network of a model yaml with random weights.

    Raises WeightsMissingError when the yaml is not there or names other classes than `Class`.
    """
    if not layout.is_file():
        raise WeightsMissingError(
            f"{layout} is not there: the parser's layout must lie beside its weights.", input=str(layout)
        )
    document = yaml.safe_load(layout.read_text())
    names = list((document.get("names") or {}).values()) if isinstance(document, dict) else []
    if names != TITLES:
        raise WeightsMissingError(
            f"{layout} is the layout of a network with the classes {names}, not {TITLES}.", input=str(layout)
        )
    ultralytics()
    from ultralytics.nn.tasks import SegmentationModel

    return SegmentationModel(document, ch=3, nc=len(names), verbose=False)
