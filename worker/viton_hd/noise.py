"""The cascade's random numbers: a seed gives the same picture, alone or in any batch, on any device."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from worker.viton_hd.inputs import to_device
from worker.viton_hd.segmentation import HEIGHT, WIDTH

_SEGMENTATION_THRESHOLD = 254.5 / 255
"""The published code samples N(0, 255²), stores it as a byte and divides by 255: 1 from 254.5 up, else 0."""


class SeededNoise:
    """The ALIAS generator's noise for a batch: each item has a CPU generator with its own seed.

    The numbers of an item are those of the published code for it alone after `torch.manual_seed(seed)`.

    Args:
        seeds: one per item.
        device: where the noise is used.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.device = torch.device(device)

    def __call__(self, rows: int, columns: int) -> Tensor:
        """Return the next standard normal numbers, float32 (b, 1, rows, columns); the transfer is queued."""
        # Columns come first in the sample, as in the published code.
        size = len(self.generators), columns, rows, 1
        samples = torch.empty(size, pin_memory=self.device.type == "cuda")
        for sample, generator in zip(samples, self.generators, strict=True):
            sample.normal_(generator=generator)
        return samples.to(self.device, non_blocking=True).transpose(1, 3)


def segmentation_noise(
    seeds: Sequence[int], device: torch.device, size: tuple[int, int] = (HEIGHT, WIDTH)
) -> Tensor:
    """Return the noise channel of the segmentation generator, float32 (b, 1, *size) of 0 and 1.

    A pixel is 1 with the probability 0.159. The numbers come from another kind of generator than the ALIAS
    noise, so that the ALIAS noise of a seed stays the published code's.
    """
    samples = [
        np.random.default_rng(seed).standard_normal((1, *size)) >= _SEGMENTATION_THRESHOLD for seed in seeds
    ]
    return to_device(samples, device).float()
