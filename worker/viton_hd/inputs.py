"""The inputs of the three networks: pictures as numbers, labels as channels, each at its network's size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from worker.images.agnostic import image_agnostic, parse_agnostic
from worker.images.arrays import Canvas, Floats, Image, Labels, Mask
from worker.viton_hd import matching
from worker.viton_hd.labels import SEGMENTATION, UPPER, segmentation_labels

HALF_LEVEL = 1 / 255
"""Half a level of a uint8 picture in [-1, 1]: added to a picture, it makes `to_uint8` round."""

_MASK_THRESHOLD = 128
"""A garment mask is inside from this level up, see `worker.images.arrays.Mask`."""


@dataclass(frozen=True)
class TryOnInput:
    """One person and one garment, all of it on the 768×1024 canvas.

    Attributes:
        pose: the rendered pose, RGB uint8 (1024, 768, 3).
        image_agnostic: the person without the old garment, RGB uint8 (1024, 768, 3).
        parse_agnostic: the parse without the old garment, CIHP labels, uint8 (1024, 768).
        garment: RGB uint8 (1024, 768, 3).
        garment_mask: uint8 (1024, 768), 128 and more is garment.
        seed: decides all noise.
    """

    pose: Canvas
    image_agnostic: Canvas
    parse_agnostic: Labels
    garment: Canvas
    garment_mask: Mask
    seed: int = 0

    @classmethod
    def of_person(
        cls,
        canvas: Canvas,
        body: Floats,
        parse: Labels,
        pose: Canvas,
        garment: Canvas,
        garment_mask: Mask,
        *,
        seed: int,
    ) -> "TryOnInput":
        """Return the input for a person.

        Args:
            canvas: the person, RGB uint8 (1024, 768, 3).
            body: Body25 joints, (25, 3).
            parse: CIHP labels, uint8 (1024, 768).
            pose, garment, garment_mask, seed: see the attributes.

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
class InputMaps:
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
    ) -> "InputMaps":
        """Return the maps of pictures, uint8 (b, h, w, 3), the mask and CIHP labels, uint8 (b, h, w)."""
        return cls(
            pose=from_uint8(pose),
            agnostic=from_uint8(agnostic),
            garment=from_uint8(garment),
            garment_mask=(garment_mask[:, None] >= _MASK_THRESHOLD).float(),
            parse_agnostic=one_hot(segmentation_labels(parse_agnostic), len(SEGMENTATION)),
        )


def input_maps(items: Sequence[TryOnInput], device: torch.device) -> InputMaps:
    """Return the items' maps as the networks take them; on a CUDA device the transfer is queued."""
    return InputMaps.of(
        pose=to_device([item.pose for item in items], device),
        agnostic=to_device([item.image_agnostic for item in items], device),
        garment=to_device([item.garment for item in items], device),
        garment_mask=to_device([item.garment_mask for item in items], device),
        parse_agnostic=to_device([item.parse_agnostic for item in items], device),
    )


def to_device(arrays: Sequence[NDArray[Any]], device: torch.device) -> Tensor:
    """Return arrays of one shape as one tensor on the device; the transfer from pinned memory is queued."""
    host = torch.from_numpy(np.stack(arrays))
    return (host.pin_memory() if device.type == "cuda" else host).to(device, non_blocking=True)


def from_uint8(pictures: Tensor) -> Tensor:
    """Return RGB pictures, uint8 (b, h, w, 3), as float32 (b, 3, h, w) in [-1, 1]."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(pictures: Tensor) -> Tensor:
    """Return pictures, float (b, c, h, w) in [-1, 1], as uint8 (b, h, w, c), truncated as published."""
    return ((pictures.float() + 1) / 2 * 255).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def to_image(picture: Tensor) -> Image:
    """Return one picture, float (3, h, w) in [-1, 1], as uint8 (h, w, 3), truncated as published."""
    return to_uint8(picture[None])[0].cpu().numpy()


def one_hot(labels: Tensor, count: int) -> Tensor:
    """Return the labels (b, h, w) as float32 (b, count, h, w)."""
    channels = torch.zeros(len(labels), count, *labels.shape[1:], device=labels.device)
    return channels.scatter_(1, labels[:, None], 1)


def segmentation_inputs(maps: InputMaps, noise: Tensor) -> Tensor:
    """Return the input of the segmentation generator, (b, 21, rows, columns).

    All maps are resampled bilinearly to the size of the noise, (b, 1, rows, columns).
    """
    parts = [maps.garment_mask, maps.garment * maps.garment_mask, maps.parse_agnostic, maps.pose]
    size = tuple(noise.shape[2:])
    small = [functional.interpolate(part, size, mode="bilinear", align_corners=False) for part in parts]
    return torch.cat([*small, noise], 1)


def matching_inputs(
    maps: InputMaps, parse: Tensor, size: tuple[int, int] = (matching.HEIGHT, matching.WIDTH)
) -> tuple[Tensor, Tensor]:
    """Return the inputs of geometric matching: the person, (b, 7, *size), and the garment, (b, 3, *size).

    Both are resampled by the nearest pixel; the garment is not masked.

    Args:
        maps: the input maps.
        parse: (b, 7, h, w), the synthesis labels, one-hot.
        size: rows and columns of the network's inputs.
    """
    person = torch.cat([parse[:, UPPER : UPPER + 1], maps.pose, maps.agnostic], 1)
    return functional.interpolate(person, size), functional.interpolate(maps.garment, size)


def warped_garment(maps: InputMaps, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the garment (b, 3, h, w) and its mask (b, 1, h, w), resampled by the grid (b, h, w, 2)."""
    garment = torch.cat([maps.garment, maps.garment_mask], 1)
    warped = functional.grid_sample(garment, grid, padding_mode="border", align_corners=False)
    return warped[:, :3], warped[:, 3:]


def divided_parse(parse: Tensor, warped_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parse with the garment's region divided, and the misaligned part (paper, section 3.4).

        M = max(Ŝ_upper - W(m, θ), 0),   Ŝ_div = [Ŝ with Ŝ_upper - M, M]

    Args:
        parse: (b, 7, h, w), one-hot.
        warped_mask: (b, 1, h, w) in [0, 1], the mask of the warped garment.

    Returns:
        (b, 8, h, w), and M (b, 1, h, w), the part of the region that the warped garment does not cover.
    """
    misaligned = (parse[:, UPPER : UPPER + 1] - warped_mask).clamp(min=0)
    divided = torch.cat([parse, misaligned], 1)
    divided[:, UPPER : UPPER + 1] -= misaligned
    return divided, misaligned
