"""Measures the pose estimator against published OpenPose joints."""

from pathlib import Path
from typing import Any

import numpy as np

from worker.evaluation import samples
from worker.frame import HEIGHT
from worker.maps import Body25
from worker.models import Models

GROUPS = {
    "head": (Body25.NOSE, Body25.R_EYE, Body25.L_EYE, Body25.R_EAR, Body25.L_EAR),
    "shoulders and neck": (Body25.NECK, Body25.R_SHOULDER, Body25.L_SHOULDER),
    "elbows": (Body25.R_ELBOW, Body25.L_ELBOW),
    "wrists": (Body25.R_WRIST, Body25.L_WRIST),
    "hips": (Body25.MID_HIP, Body25.R_HIP, Body25.L_HIP),
    "knees": (Body25.R_KNEE, Body25.L_KNEE),
}


def evaluate(folder: Path, models: Models) -> dict[str, Any]:
    """Return, for each group of joints, how far the estimate is from OpenPose, in canvas pixels.

    PCK@a is the share of joints that OpenPose sees and the estimate has within a: 0.05 of the picture's
    height, or 0.2 of the torso (neck to mid-hip), after Yang and Ramanan, TPAMI 2013.
    """
    errors: dict[str, list[float]] = {name: [] for name in GROUPS}
    torso_lengths: dict[str, list[float]] = {name: [] for name in GROUPS}
    for person in samples.people(folder):
        found = models.pose_estimator.estimate(person.photo)
        truth = person.pose
        # The published joints are in the photograph's pixels, which here are not those of the canvas.
        there = found.frame.points_to_canvas(truth.body[:, :2])
        torso = float(np.linalg.norm(there[Body25.NECK] - there[Body25.MID_HIP]))
        for name, joints in GROUPS.items():
            for joint in joints:
                if not truth.seen(joint):
                    continue
                seen = found.pose.seen(joint)
                error = np.linalg.norm(found.pose.xy(joint) - there[joint]) if seen else np.inf
                errors[name].append(float(error))
                torso_lengths[name].append(torso)
    return {
        name: {
            "joints": len(values),
            "missed": int(np.isinf(values).sum()),
            "mean_px": round(float(np.mean(finite)), 1) if (finite := _finite(values)) else None,
            "max_px": round(max(finite), 1) if finite else None,
            "pck_0.05h": round(float(np.mean(np.array(values) <= 0.05 * HEIGHT)), 3),
            "pck_0.2torso": round(float(np.mean(np.array(values) <= 0.2 * np.array(torso_lengths[name]))), 3),
        }
        for name, values in errors.items()
        if values
    }


def _finite(values: list[float]) -> list[float]:
    return [value for value in values if np.isfinite(value)]
