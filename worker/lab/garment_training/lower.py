"""Creates random trousers, shorts and skirts: examples that are no upper-body garments."""

import numpy as np
from numpy.random import Generator

from worker.lab.garment_training.curves import STEPS, curve, mirrored
from worker.lab.garment_training.outline import Garment, Part, pick

_LOWER = {"trousers": 0.4, "shorts": 0.25, "skirt": 0.35}


def random_lower_garment(rng: Generator) -> Garment:
    """Return random trousers, shorts or a skirt, without landmarks."""
    shape = pick(rng, _LOWER)
    waist, hips = rng.uniform(0.3, 0.45), rng.uniform(0.42, 0.56)
    rise = rng.uniform(0.45, 0.65)
    garment = Garment(kind="skirt" if shape == "skirt" else "trousers", front=None)
    belt = rng.uniform(0.0, 0.05)
    top = np.stack([np.linspace(-waist, waist, STEPS), belt * np.sin(np.linspace(0, np.pi, STEPS))], 1)
    if shape == "skirt":
        length, hem = rng.uniform(0.6, 1.8), rng.uniform(0.4, 1.1)
        side = curve(
            [np.array([waist, 0.0]), np.array([max(hips, 0.7 * hem), rise * 0.7]), np.array([hem, length])]
        )
        bottom = curve([np.array([hem, length]), np.array([0.0, length + rng.uniform(0, 0.1)]),
                        np.array([-hem, length])])  # fmt: skip
        garment.parts.append(Part(np.concatenate([top, side, bottom, mirrored(side)[::-1]]), "cloth"))
    else:
        length = rng.uniform(1.6, 2.4) if shape == "trousers" else rng.uniform(0.75, 1.1)
        out, inner, width = rng.uniform(0.3, 0.6), rng.uniform(0.02, 0.2), rng.uniform(0.15, 0.4)
        leg = np.concatenate(
            [
                curve(
                    [
                        np.array([waist, 0.0]),
                        np.array([hips, rise * 0.8]),
                        np.array([max(out, inner + width), length]),
                    ]
                ),
                np.array([[inner, length + 0.02], [0.0, rise + 0.05]]),
            ]
        )
        garment.parts.append(Part(np.concatenate([top, leg, mirrored(leg)[::-1]]), "cloth"))
        garment.seams.append(np.array([[0.0, 0.0], [0.0, rise]]))
    garment.seams.append(top + np.array([0.0, 0.08]))
    return garment
