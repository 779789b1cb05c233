"""The cascade's random numbers: a seed gives the same picture, alone or in any batch, on any device."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from worker.viton_hd.inputs import uploaded
from worker.viton_hd.segmentation import HEIGHT, WIDTH

# The published code draws N(0, 255²), stores it as a byte and divides by 255: 1 from 254.5 up, else 0.
_THRESHOLD = 254.5 / 255


class Noise:
    """The ALIAS generator's noise for a batch, each item from a CPU generator of its own seed.

    An item's numbers are those that the published code draws for it alone after `torch.manual_seed(seed)`.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.device = torch.device(device)

    def __call__(self, rows: int, columns: int) -> Tensor:
        """Return the next standard normal numbers, float32 (b, 1, rows, columns); no transfer is awaited."""
        # Columns come first in the draw, as in the published code.
        size = len(self.generators), columns, rows, 1
        drawn = torch.empty(size, pin_memory=self.device.type == "cuda")
        for item, generator in zip(drawn, self.generators, strict=True):
            item.normal_(generator=generator)
        return drawn.to(self.device, non_blocking=True).transpose(1, 3)


def segmentation_noise(
    seeds: Sequence[int], device: torch.device, size: tuple[int, int] = (HEIGHT, WIDTH)
) -> Tensor:
    """Return the segmentation generator's noise channel, float32 (b, 1, 256, 192), or of a size, of 0 and 1.

    A pixel is 1 with the probability 0.159. The numbers come from a generator of another kind than the ALIAS
    noise, which a seed leaves as the published code would draw it.
    """
    drawn = [np.random.default_rng(seed).standard_normal((1, *size)) >= _THRESHOLD for seed in seeds]
    return uploaded(drawn, device).float()
