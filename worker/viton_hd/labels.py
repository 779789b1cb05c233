"""VITON-HD's groupings of labels: CIHP's 20 to 13 for the segmentation generator, those to 7 for ALIAS."""

from functools import lru_cache

import numpy as np
import torch
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
"""Label of the segmentation generator -> the CIHP labels (`worker.images.maps.Part`) that it stands for."""

SYNTHESIS = {
    "background": (0,),
    "paste": (2, 4, 7, 8, 9, 10, 11),
    "upper": (3,),
    "hair": (1,),
    "left_arm": (5,),
    "right_arm": (6,),
    "noise": (12,),
}
"""Label of the ALIAS generator -> the labels of SEGMENTATION, by position, that it stands for."""

UPPER = list(SYNTHESIS).index("upper")
"""The garment's label among SYNTHESIS."""


def _table(groups: dict[str, tuple[int, ...]]) -> np.ndarray:
    """Return the new label of each old one, int64."""
    new_of_old = {old: new for new, olds in enumerate(groups.values()) for old in olds}
    return np.array([new_of_old[old] for old in range(len(new_of_old))], np.int64)


SEGMENTATION_OF_CIHP = _table(SEGMENTATION)
"""int64 (20,): the segmentation label of each CIHP label."""

SYNTHESIS_OF_SEGMENTATION = _table(SYNTHESIS)
"""int64 (13,): the synthesis label of each segmentation label."""


def segmentation_labels(cihp: Tensor) -> Tensor:
    """Return the labels of SEGMENTATION, int64, for CIHP's of any whole type."""
    return _segmentation_table(cihp.device)[cihp.long()]


def synthesis_labels(segmentation: Tensor) -> Tensor:
    """Return the labels of SYNTHESIS for those of SEGMENTATION, int64 both."""
    return _synthesis_table(segmentation.device)[segmentation]


@lru_cache(maxsize=4)
def _segmentation_table(device: torch.device) -> Tensor:
    return torch.from_numpy(SEGMENTATION_OF_CIHP).to(device)


@lru_cache(maxsize=4)
def _synthesis_table(device: torch.device) -> Tensor:
    return torch.from_numpy(SYNTHESIS_OF_SEGMENTATION).to(device)
