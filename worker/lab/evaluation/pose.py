"""Measures the pose estimator against published OpenPose joints."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from worker.images.frame import FILL, HEIGHT
from worker.images.maps import Body25, Pose
from worker.lab.demo.sheet import sheet
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
EACH = {joint.name: (joint,) for group in GROUPS.values() for joint in group}
"""The same joints, each a group of its own."""


def evaluate(
    folder: Path, models: Models, groups: Mapping[str, Sequence[Body25]] = GROUPS
) -> dict[str, dict[str, Any]]:
    """Return, for each group of joints, how far the estimate is from OpenPose; see `scores`."""
    pairs = [(truth.body, found.body) for _, _, truth, found in _poses(folder, models)]
    return scores(pairs, groups)


def scores(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], groups: Mapping[str, Sequence[Body25]]
) -> dict[str, dict[str, Any]]:
    """Return the scores of each group that has a joint, of (truth, found) Body25 joints on the canvas.

    joints: how many OpenPose sees. missed: how many of them the estimate lacks. extra: how many it has that
    OpenPose does not see (they count nowhere else). mean_px, max_px: of the joints that both have, canvas
    pixels. pck_0.05h, pck_0.2torso: PCK@a, the share of joints that OpenPose sees which the estimate has
    within a: 0.05 of the picture's height, or 0.2 of the torso (neck to mid-hip), after Yang and Ramanan,
    Articulated Human Detection with Flexible Mixtures of Parts, TPAMI 2013. A missed joint is outside.
    """
    truth, found = (np.stack(bodies).astype(float) for bodies in zip(*pairs, strict=True))
    known, had = truth[..., 2] > 0, found[..., 2] > 0
    error = np.linalg.norm(truth[..., :2] - found[..., :2], axis=-1)
    error = np.where(had, error, np.inf)
    torso = np.linalg.norm(truth[:, Body25.NECK, :2] - truth[:, Body25.MID_HIP, :2], axis=-1)
    close, close_by_torso = error <= 0.05 * HEIGHT, error <= 0.2 * torso[:, None]

    rows: dict[str, dict[str, Any]] = {}
    for name, joints in groups.items():
        asked = np.zeros_like(known)
        asked[:, list(joints)] = True
        seen = asked & known
        if not seen.any():
            continue
        both = error[seen & had]
        rows[name] = {
            "joints": int(seen.sum()),
            "missed": int((seen & ~had).sum()),
            "extra": int((asked & ~known & had).sum()),
            "mean_px": round(float(both.mean()), 1) if len(both) else None,
            "max_px": round(float(both.max()), 1) if len(both) else None,
            "pck_0.05h": round(float(close[seen].mean()), 3),
            "pck_0.2torso": round(float(close_by_torso[seen].mean()), 3),
        }
    return rows


def contact_sheet(folder: Path, models: Models) -> np.ndarray:
    """Return each person's photograph, published rendering, ours, and both as outlines, RGB uint8."""
    panels = []
    for name, canvas, truth, found in _poses(folder, models):
        theirs, ours = render(truth), render(found)
        published = folder / "openpose-img" / f"{name}_rendered.png"
        panels += [
            (f"{name}: photograph", canvas),
            ("published rendering", samples.picture(published)),
            ("our rendering of our pose", ours),
            ("ours (green) and theirs (red)", _outlines(canvas, theirs, ours)),
        ]
    return sheet(panels, columns=4)


def _poses(folder: Path, models: Models) -> Iterator[tuple[str, np.ndarray, Pose, Pose]]:
    """Yield each person's name, canvas, published pose and estimated pose, both on that canvas."""
    for person in samples.people(folder):
        found = models.of_stage("pose").estimate(person.photo)
        canvas = found.frame.to_canvas(person.photo, fill=FILL)
        # The published joints are in the photograph's pixels, which here are not those of the canvas.
        there = [
            np.hstack([found.frame.points_to_canvas(points[:, :2]), points[:, 2:]])
            for points in (person.pose.body, person.pose.left_hand, person.pose.right_hand)
        ]
        yield person.name, canvas, Pose(*there), found.pose


def _outlines(canvas: np.ndarray, theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    picture = (0.6 * canvas + 0.4 * 255).astype(np.uint8)
    for drawing, colour in ((theirs, (220, 0, 0)), (ours, (0, 150, 0))):
        drawn = np.array(drawing.any(2), np.uint8)
        picture[cv2.dilate(drawn, np.ones((5, 5), np.uint8)) > drawn] = colour
    return picture
