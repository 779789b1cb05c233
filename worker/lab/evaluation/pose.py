"""Measures the pose estimator against published OpenPose joints."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from worker.images.arrays import Canvas, Floats, Image
from worker.images.frame import FILL, HEIGHT
from worker.images.maps import Body25, Pose
from worker.images.shapes import square
from worker.lab.demo.sheet import Panel, sheet
from worker.lab.evaluation import samples
from worker.pose.render import render
from worker.stages.models import Models

GROUPS = {
    "head": (Body25.NOSE, Body25.R_EYE, Body25.L_EYE, Body25.R_EAR, Body25.L_EAR),
    "shoulders and neck": (Body25.NECK, Body25.R_SHOULDER, Body25.L_SHOULDER),
    "elbows": (Body25.R_ELBOW, Body25.L_ELBOW),
    "wrists": (Body25.R_WRIST, Body25.L_WRIST),
    "hips": (Body25.MID_HIP, Body25.R_HIP, Body25.L_HIP),
    "knees": (Body25.R_KNEE, Body25.L_KNEE),
}
"""Name of a group of joints -> its joints."""

EACH = {joint.name: (joint,) for group in GROUPS.values() for joint in group}
"""The same joints, each as its own group."""

_PCK_HEIGHT, _PCK_TORSO = 0.05, 0.2
"""A joint is correct within this share of the picture's height, or of the torso; see `scores`."""


def evaluate(
    folder: Path, models: Models, groups: Mapping[str, Sequence[Body25]] = GROUPS
) -> dict[str, dict[str, Any]]:
    """Return, for each group of joints, how far the estimate is from OpenPose; see `scores`.

    Raises InputValidationError when the folder contains no person.
    """
    pairs = [(truth.body, estimate.body) for _, _, truth, estimate in _poses(folder, models)]
    return scores(pairs, groups)


def scores(
    pairs: Sequence[tuple[Floats, Floats]], groups: Mapping[str, Sequence[Body25]]
) -> dict[str, dict[str, Any]]:
    """Return the scores of each group with at least one joint in the truth.

    Args:
        pairs: (truth, estimate), Body25 joints on the canvas, (25, 3) each.
        groups: name -> joints.

    Returns:
        group -> scores. `joints`: joints in the truth. `missed`: joints of these without an estimate.
        `extra`: estimated joints that are not in the truth; they count nowhere else. `mean_px`, `max_px`:
        errors of the joints in both, canvas pixels. `pck_0.05h`, `pck_0.2torso`: share of the joints in the
        truth whose estimate is within 0.05 of the picture's height, or 0.2 of the torso (neck to mid-hip);
        a missed joint is outside. PCK after Yang and Ramanan, Articulated Human Detection with Flexible
        Mixtures of Parts, TPAMI 2013.
    """
    truth, estimate = (np.stack(bodies).astype(float) for bodies in zip(*pairs, strict=True))
    in_truth, estimated = truth[..., 2] > 0, estimate[..., 2] > 0
    error = np.linalg.norm(truth[..., :2] - estimate[..., :2], axis=-1)
    error = np.where(estimated, error, np.inf)
    torso = np.linalg.norm(truth[:, Body25.NECK, :2] - truth[:, Body25.MID_HIP, :2], axis=-1)
    close_by_height = error <= _PCK_HEIGHT * HEIGHT
    close_by_torso = error <= _PCK_TORSO * torso[:, None]

    rows: dict[str, dict[str, Any]] = {}
    for name, joints in groups.items():
        in_group = np.zeros_like(in_truth)
        in_group[:, list(joints)] = True
        expected = in_group & in_truth
        if not expected.any():
            continue
        errors = error[expected & estimated]
        rows[name] = {
            "joints": int(expected.sum()),
            "missed": int((expected & ~estimated).sum()),
            "extra": int((in_group & ~in_truth & estimated).sum()),
            "mean_px": round(float(errors.mean()), 1) if len(errors) else None,
            "max_px": round(float(errors.max()), 1) if len(errors) else None,
            "pck_0.05h": round(float(close_by_height[expected].mean()), 3),
            "pck_0.2torso": round(float(close_by_torso[expected].mean()), 3),
        }
    return rows


def contact_sheet(folder: Path, models: Models) -> Image:
    """Return each person's photograph, the published rendering, ours, and both as outlines, RGB uint8."""
    panels: list[Panel] = []
    for name, canvas, truth, estimate in _poses(folder, models):
        rendered_truth, rendered_estimate = render(truth), render(estimate)
        published = folder / "openpose-img" / f"{name}_rendered.png"
        panels += [
            (f"{name}: photograph", canvas),
            ("published rendering", samples.picture(published)),
            ("our rendering of our pose", rendered_estimate),
            ("ours (green) and theirs (red)", _outlines(canvas, rendered_truth, rendered_estimate)),
        ]
    return sheet(panels, columns=4)


def _poses(folder: Path, models: Models) -> Iterator[tuple[str, Canvas, Pose, Pose]]:
    """Yield each person's name, canvas, published pose and estimated pose, both on that canvas."""
    for sample in samples.people(folder):
        person = models.of_stage("pose").estimate(sample.photo)
        canvas = person.frame.to_canvas(sample.photo, fill=FILL)
        # The published joints are in photograph pixels, which are not those of the canvas.
        published = [
            np.hstack([person.frame.points_to_canvas(points[:, :2]), points[:, 2:]])
            for points in (sample.pose.body, sample.pose.left_hand, sample.pose.right_hand)
        ]
        yield sample.name, canvas, Pose(*published), person.pose


def _outlines(canvas: Canvas, truth: Canvas, estimate: Canvas) -> Canvas:
    """Return the brightened canvas with the outlines of both renderings, truth red, estimate green."""
    picture = (0.6 * canvas + 0.4 * 255).astype(np.uint8)
    for rendering, colour in ((truth, (220, 0, 0)), (estimate, (0, 150, 0))):
        solid = np.array(rendering.any(2), np.uint8)
        picture[cv2.dilate(solid, square(2)) > solid] = colour
    return picture
