"""What the three networks are shown: pictures as numbers, labels as channels, each at its network's size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worker.images.agnostic import image_agnostic, parse_agnostic
from worker.viton_hd import matching
from worker.viton_hd.labels import SEGMENTATION, UPPER, segmentation_labels


@dataclass(frozen=True)
class TryOnInput:
    """One person and one garment, all of it on the 768×1024 canvas.

    Attributes:
        pose: the rendered pose, RGB uint8 (1024, 768, 3).
        image_agnostic: the person without the old garment, RGB uint8 (1024, 768, 3).
        parse_agnostic: the parse without it, CIHP labels, uint8 (1024, 768).
        garment: RGB uint8 (1024, 768, 3).
        garment_mask: uint8 (1024, 768), 128 and more is garment.
        seed: decides all noise.
    """

    pose: np.ndarray
    image_agnostic: np.ndarray
    parse_agnostic: np.ndarray
    garment: np.ndarray
    garment_mask: np.ndarray
    seed: int = 0

    @classmethod
    def of_person(
        cls,
        canvas: np.ndarray,
        body: np.ndarray,
        parse: np.ndarray,
        pose: np.ndarray,
        garment: np.ndarray,
        garment_mask: np.ndarray,
        *,
        seed: int,
    ) -> "TryOnInput":
        """Return the input for a person: RGB uint8 (1024, 768, 3), Body25 joints (25, 3), CIHP labels, pose.

        Raises PoseError when a shoulder or hip that the agnostic pictures need is missing.
        """
        return cls(
            pose=pose,
            image_agnostic=image_agnostic(canvas, parse, body),
            parse_agnostic=parse_agnostic(parse, body),
            garment=garment,
            garment_mask=garment_mask,
            seed=seed,
        )


@dataclass(frozen=True)
class Tensors:
    """The maps of one or more inputs for the networks, float32; the pictures are in [-1, 1].

    Attributes:
        pose, agnostic, garment: (b, 3, h, w).
        garment_mask: (b, 1, h, w) of 0 and 1.
        parse_agnostic: (b, 13, h, w), one-hot.
    """

    pose: Tensor
    agnostic: Tensor
    garment: Tensor
    garment_mask: Tensor
    parse_agnostic: Tensor

    @classmethod
    def of(
        cls, *, pose: Tensor, agnostic: Tensor, garment: Tensor, garment_mask: Tensor, parse_agnostic: Tensor
    ) -> "Tensors":
        """Return the maps of pictures, uint8 (b, h, w, 3), the mask and CIHP labels, uint8 (b, h, w)."""
        return cls(
            pose=scaled(pose),
            agnostic=scaled(agnostic),
            garment=scaled(garment),
            garment_mask=(garment_mask[:, None] >= 128).float(),
            parse_agnostic=one_hot(segmentation_labels(parse_agnostic), len(SEGMENTATION)),
        )


def tensors(items: Sequence[TryOnInput], device: torch.device) -> Tensors:
    """Return the items' maps as the networks take them; on a CUDA device their transfer is not awaited."""
    return Tensors.of(
        pose=uploaded([item.pose for item in items], device),
        agnostic=uploaded([item.image_agnostic for item in items], device),
        garment=uploaded([item.garment for item in items], device),
        garment_mask=uploaded([item.garment_mask for item in items], device),
        parse_agnostic=uploaded([item.parse_agnostic for item in items], device),
    )


def uploaded(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Return arrays of one shape as one tensor on the device: from pinned memory, not awaited."""
    host = torch.from_numpy(np.stack(arrays))
    return (host.pin_memory() if device.type == "cuda" else host).to(device, non_blocking=True)


def scaled(pictures: Tensor) -> Tensor:
    """Return RGB pictures, uint8 (b, h, w, 3), as float32 (b, 3, h, w) in [-1, 1]."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


HALF_LEVEL = 1 / 255
"""Half a level of grey: added to a picture, it turns the truncation of `pixels` into rounding."""


def levels(pictures: Tensor) -> Tensor:
    """Return pictures, float (b, c, h, w) in [-1, 1], as uint8 (b, h, w, c), truncated as published."""
    return ((pictures.float() + 1) / 2 * 255).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def pixels(picture: Tensor) -> np.ndarray:
    """Return one picture, float (c, h, w) in [-1, 1], as uint8 (h, w, c), truncated as published."""
    return levels(picture[None])[0].cpu().numpy()


def one_hot(labels: Tensor, count: int) -> Tensor:
    """Return the labels (b, h, w) as float32 (b, count, h, w)."""
    channels = torch.zeros(len(labels), count, *labels.shape[1:], device=labels.device)
    return channels.scatter_(1, labels[:, None], 1)


def segmentation_inputs(item: Tensors, noise: Tensor) -> Tensor:
    """Return what the segmentation generator sees, (1, 21, 256, 192), at the size of the noise.

    Every part comes down bilinearly.
    """
    parts = [item.garment_mask, item.garment * item.garment_mask, item.parse_agnostic, item.pose]
    size = tuple(noise.shape[2:])
    small = [functional.interpolate(part, size, mode="bilinear", align_corners=False) for part in parts]
    return torch.cat([*small, noise], 1)


def matching_inputs(
    item: Tensors, parse: Tensor, size: tuple[int, int] = (matching.HEIGHT, matching.WIDTH)
) -> tuple[Tensor, Tensor]:
    """Return what matching sees of the person, (1, 7, 256, 192), and of the garment, (1, 3, 256, 192).

    Both come down by the nearest pixel; the garment is not masked. `parse` is (1, 7, h, w).
    """
    person = torch.cat([parse[:, UPPER : UPPER + 1], item.pose, item.agnostic], 1)
    return functional.interpolate(person, size), functional.interpolate(item.garment, size)


def divided_parse(parse: Tensor, warped_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parse with its garment's region divided, and the misaligned part (paper, section 3.4).

        M = max(Ŝ_upper - W(m, θ), 0),   Ŝ_div = [Ŝ with Ŝ_upper - M, M]

    Args:
        parse: (b, 7, h, w), one-hot.
        warped_mask: (b, 1, h, w) in [0, 1], the bent garment's mask.

    Returns:
        (b, 8, h, w), and M (b, 1, h, w), the part of the region that the bent garment leaves bare.
    """
    misaligned = (parse[:, UPPER : UPPER + 1] - warped_mask).clamp(min=0)
    divided = torch.cat([parse, misaligned], 1)
    divided[:, UPPER : UPPER + 1] -= misaligned
    return divided, misaligned
