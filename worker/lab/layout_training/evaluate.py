"""Measures layouts on labelled people, and draws them for garments that the people do not wear."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from worker.geometric.layout import INPUT_SCALE, LOWER, After, BodyFrame, LayoutPredictor
from worker.geometric.proportions import Proportions
from worker.images.arrays import Flags, Floats, Image, Labels
from worker.images.maps import Part, Pose
from worker.lab.layout_training.examples import Person, at_input
from worker.lab.layout_training.measure import UNKNOWN
from worker.lab.layout_training.rules import layout_by_rules

GROUPS: Mapping[str, tuple[After, ...]] = {
    "garment": (After.TRUNK, After.RIGHT_SLEEVE, After.LEFT_SLEEVE),
    "trunk": (After.TRUNK,),
    "sleeves": (After.RIGHT_SLEEVE, After.LEFT_SLEEVE),
    "arms": (After.RIGHT_ARM, After.LEFT_ARM),
    "neck": (After.NECK,),
    "lower": (After.LOWER,),
}
"""What is measured; sleeves and arms without side."""

FALSE_HEM = 0.5
"""How far the false old hem is above and below the true one, body sizes: a top against a tunic."""

COLOURS = np.array(
    [
        *[(25, 25, 25), (200, 60, 60), (250, 150, 0), (0, 150, 250), (255, 220, 180)],
        *[(120, 220, 90), (90, 220, 220), (90, 50, 20), (60, 60, 200), (150, 150, 150)],
    ],
    np.uint8,
)
"""A colour for each label of `After`."""

UNWORN: Mapping[str, Mapping[str, float]] = {
    "own": {},
    "sleeveless": {"right_sleeve": 0.0, "left_sleeve": 0.0, "shoulder_width": 0.8},
    "short sleeves": {"right_sleeve": 0.5, "left_sleeve": 0.5, "hem": 1.6, "shoulder_width": 1.0},
    "long sleeves": {"right_sleeve": 2.0, "left_sleeve": 2.0, "hem": 1.6, "shoulder_width": 1.0},
    "cropped": {"right_sleeve": 0.5, "left_sleeve": 0.5, "hem": 0.95, "shoulder_width": 1.0},
    "tunic": {"right_sleeve": 1.0, "left_sleeve": 1.0, "hem": 2.3, "shoulder_width": 1.0},
    "V-neck": {"right_sleeve": 0.5, "left_sleeve": 0.5, "hem": 1.6, "neck_depth": 0.5, "v_neck": 1.0},
    "crew neck": {"right_sleeve": 0.5, "left_sleeve": 0.5, "hem": 1.6, "neck_depth": -0.1, "v_neck": 0.0},
}
"""The sheet's columns: what is changed in the proportions of what the person wears."""

Predict = Callable[[Pose, Labels, Proportions], Labels]


def figures(people: Sequence[Person], predictor: LayoutPredictor) -> dict[str, dict[str, float]]:
    """Return the IoU of each of GROUPS over all pixels of all people, of the network and of the rules.

    "false hem" replaces the old hem in the parse by one that is higher for every second person and lower
    for the others, as when the new garment is longer or shorter than the old one.
    """
    methods: Mapping[str, Predict] = {"network": predictor.layout_after, "rules": layout_by_rules}
    rows: dict[str, dict[str, float]] = {}
    for name, predict in methods.items():
        rows[name] = _overlaps(people, predict, 0.0)
        rows[f"{name}, false hem"] = _overlaps(people, predict, FALSE_HEM)
    return rows


def _overlaps(people: Sequence[Person], predict: Predict, false_hem: float) -> dict[str, float]:
    common, either = dict.fromkeys(GROUPS, 0), dict.fromkeys(GROUPS, 0)
    for index, person in enumerate(people):
        pose, parse, truth = on_canvas(person)
        if false_hem:
            offset = false_hem if index % 2 else -false_hem
            parse = _with_false_hem(pose, parse, truth, person.proportions.hem, offset)
        labels = predict(pose, parse, person.proportions)
        known = truth != UNKNOWN
        for group, members in GROUPS.items():
            found, true = np.isin(labels, members) & known, np.isin(truth, members)
            common[group] += int(np.count_nonzero(found & true))
            either[group] += int(np.count_nonzero(found | true))
    return {group: round(common[group] / max(1, either[group]), 3) for group in GROUPS}


def _with_false_hem(pose: Pose, parse: Labels, truth: Labels, hem: float, offset: float) -> Labels:
    _, below = BodyFrame.of(pose.body).coordinates((parse.shape[0], parse.shape[1]))
    parse = parse.copy()
    if offset > 0:
        hidden = np.isin(parse, (*LOWER, Part.LEFT_LEG, Part.RIGHT_LEG)) & (below < hem + offset)
        parse[hidden] = Part.UPPER_CLOTHES
    else:
        parse[(truth == After.TRUNK) & (below > hem + offset)] = Part.PANTS
    return parse


def on_canvas(person: Person) -> tuple[Pose, Labels, Labels]:
    """Return pose, parse and layout of a person on the canvas of a job."""
    joints, parse, labels = at_input(person)
    joints = joints.copy()
    joints[:, :2] *= INPUT_SCALE
    none: Floats = np.zeros((21, 3), np.float32)
    return Pose(joints, none, none), _enlarged(parse), _enlarged(labels)


def _enlarged(labels: Labels) -> Labels:
    return labels.repeat(INPUT_SCALE, 0).repeat(INPUT_SCALE, 1)


def sheet(people: Sequence[Person], predictor: LayoutPredictor) -> Image:
    """Return a row per person, RGB: the labels, then the layouts of UNWORN."""
    rows = []
    for person in people:
        pose, parse, truth = on_canvas(person)
        cells = [_coloured(truth)]
        for changes in UNWORN.values():
            wanted = replace(person.proportions, **changes)
            cells.append(_coloured(predictor.layout_after(pose, parse, wanted)))
        rows.append(np.hstack(cells))
    return np.asarray(np.vstack(rows), np.uint8)


def _coloured(labels: Labels) -> Image:
    small = labels[::INPUT_SCALE, ::INPUT_SCALE]
    unknown: Flags = small >= len(COLOURS)
    return np.asarray(COLOURS[np.where(unknown, After.BACKGROUND, small)], np.uint8)
