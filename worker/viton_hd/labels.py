"""VITON-HD's label groups: CIHP's 20 labels to 13 for the segmentation, these to 7 for ALIAS."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SEGMENTATION = {
    "background": (0, 10),
    "hair": (1, 2),
    "face": (4, 13),
    "upper": (5, 6, 7),
    "bottom": (9, 12),
    "left_arm": (14,),
    "right_arm": (15,),
    "left_leg": (16,),
    "right_leg": (17,),
    "left_shoe": (18,),
    "right_shoe": (19,),
    "socks": (8,),
    "noise": (3, 11),
}
"""Label of the segmentation generator -> the CIHP labels (`worker.images.maps.Part`) of its group."""

SYNTHESIS = {
    "background": (0,),
    "paste": (2, 4, 7, 8, 9, 10, 11),
    "upper": (3,),
    "hair": (1,),
    "left_arm": (5,),
    "right_arm": (6,),
    "noise": (12,),
}
"""Label of the ALIAS generator -> the labels of SEGMENTATION, by position, of its group."""

UPPER = list(SYNTHESIS).index("upper")
"""Position of the garment's label in SYNTHESIS."""


def _group_of_label(groups: dict[str, tuple[int, ...]]) -> NDArray[np.int64]:
    """Return the position of each label's group, int64 (labels,)."""
    positions = {label: position for position, labels in enumerate(groups.values()) for label in labels}
    return np.array([positions[label] for label in range(len(positions))], np.int64)


SEGMENTATION_OF_CIHP = _group_of_label(SEGMENTATION)
"""int64 (20,): the segmentation label of each CIHP label."""

SYNTHESIS_OF_SEGMENTATION = _group_of_label(SYNTHESIS)
"""int64 (13,): the synthesis label of each segmentation label."""


def segmentation_labels(cihp: Tensor) -> Tensor:
    """Return the labels of SEGMENTATION, int64, for CIHP labels of any integer type."""
    return _segmentation_table(cihp.device)[cihp.long()]


def synthesis_labels(segmentation: Tensor) -> Tensor:
    """Return the labels of SYNTHESIS, int64, for labels of SEGMENTATION, int64."""
    return _synthesis_table(segmentation.device)[segmentation]


@lru_cache(maxsize=4)
def _segmentation_table(device: torch.device) -> Tensor:
    return torch.from_numpy(SEGMENTATION_OF_CIHP).to(device)


@lru_cache(maxsize=4)
def _synthesis_table(device: torch.device) -> Tensor:
    return torch.from_numpy(SYNTHESIS_OF_SEGMENTATION).to(device)
