"""The inputs of the benchmark: a person and a garment, and the parse that ALIAS gets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worker.images.arrays import Labels
from worker.viton_hd import segmentation
from worker.viton_hd.enlarge import fast_enlarge
from worker.viton_hd.inputs import TryOnInput
from worker.viton_hd.labels import SEGMENTATION, SEGMENTATION_OF_CIHP, SYNTHESIS, SYNTHESIS_OF_SEGMENTATION
from worker.viton_hd.windows import distinct_windows

SynthesisLabels = NDArray[np.int64]
"""Labels of `worker.viton_hd.labels.SYNTHESIS`, (h, w)."""

_NOISY_SCALE = 8
"""Divisor of the segmentation's size for random scores: gives the number of label windows named below."""


@dataclass(frozen=True)
class Scene:
    """The input of one picture.

    Attributes:
        title: names it in the tables.
        item: the person and the garment.
        parse: synthesis labels, int64 (h, w), that replace the parse from the segmentation's scores: those of
            random weights are unrealistic. None for trained weights.
    """

    title: str
    item: TryOnInput
    parse: SynthesisLabels | None


def person_parse(parse: Labels) -> SynthesisLabels:
    """Return CIHP labels (h, w) as synthesis labels: a trained segmentation predicts a similar parse."""
    labels: SynthesisLabels = SYNTHESIS_OF_SEGMENTATION[SEGMENTATION_OF_CIHP[parse]]
    return labels


@torch.inference_mode()
def noisy_parse(height: int, width: int) -> SynthesisLabels:
    """Return the synthesis labels, int64 (h, w), of random scores, enlarged and blurred like real ones.

    At 1024×768 they have about 30 thousand distinct label windows, like those of an untrained network; real
    ones have two or three thousand.
    """
    size = 1, len(SEGMENTATION), segmentation.HEIGHT // _NOISY_SCALE, segmentation.WIDTH // _NOISY_SCALE
    scores = torch.rand(size, generator=torch.Generator().manual_seed(0))
    best = fast_enlarge(scores, height, width)[0].argmax(0).numpy()
    labels: SynthesisLabels = SYNTHESIS_OF_SEGMENTATION[best]
    return labels


def count_label_windows(scene: Scene) -> int | None:
    """Return the number of distinct 5×5 label windows in the scene's parse; None when it has no parse."""
    if scene.parse is None:
        return None
    return len(distinct_windows(torch.from_numpy(scene.parse)[None], len(SYNTHESIS))[0])


def save_scene(scene: Scene, file: Path) -> None:
    """Write the scene for `load_scene`."""
    parse = {} if scene.parse is None else {"parse": scene.parse}
    arrays: dict[str, Any] = {"title": scene.title, **vars(scene.item), **parse}
    np.savez(file, **arrays)


def load_scene(file: Path) -> Scene:
    """Return the scene that `save_scene` wrote."""
    with np.load(file) as archive:
        arrays = dict(archive)
    title, parse, seed = str(arrays.pop("title")), arrays.pop("parse", None), int(arrays.pop("seed"))
    return Scene(title, TryOnInput(seed=seed, **arrays), parse)
