"""The 21 points of a hand, sought around its wrist."""

from typing import Literal

import cv2
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import vision

from worker.images.frame import HEIGHT, WIDTH
from worker.pose.joints import Landmark
from worker.pose.landmarks import MIN_VISIBILITY

POINTS = 21
CROP = 0.7
"""Side of the square that is searched, of the torso's length: a stretched hand and a little more."""
INPUT_SIDE = 384
"""The crop's side in pixels when it is given to the model."""
REACH = 0.25
"""How far from the body's wrist the hand's may lie, of the crop's side."""

_LANDMARKS = {
    "left": (Landmark.L_WRIST, Landmark.L_INDEX, Landmark.L_PINKY),
    "right": (Landmark.R_WRIST, Landmark.R_INDEX, Landmark.R_PINKY),
}


def find_hand(
    landmarker: vision.HandLandmarker,
    canvas: np.ndarray,
    landmarks: np.ndarray,
    side: Literal["left", "right"],
) -> np.ndarray:
    """Return a hand's points, float32 (21, 3): x, y in canvas pixels and confidence; all zero if not seen.

    canvas: RGB uint8 (1024, 768, 3). landmarks: float (33, 4), the body's. MediaPipe and OpenPose number the
    points of a hand alike.
    """
    missing = np.zeros((POINTS, 3), np.float32)
    wrist_index, *fingers = _LANDMARKS[side]
    wrist = landmarks[wrist_index, :2]
    outside = (wrist < 0).any() or (wrist >= (WIDTH, HEIGHT)).any()
    if landmarks[wrist_index, 3] <= MIN_VISIBILITY or outside:
        return missing
    shoulders = landmarks[[Landmark.L_SHOULDER, Landmark.R_SHOULDER], :2].mean(0)
    hips = landmarks[[Landmark.L_HIP, Landmark.R_HIP], :2].mean(0)
    crop_side = CROP * max(float(np.linalg.norm(hips - shoulders)), 100.0)
    corner = landmarks[fingers, :2].mean(0) - crop_side / 2
    scale = INPUT_SIDE / crop_side
    matrix = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]], np.float64)
    crop = cv2.warpAffine(canvas, matrix, (INPUT_SIDE, INPUT_SIDE), borderMode=cv2.BORDER_REPLICATE)
    found = landmarker.detect(mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(crop)))

    hands = []
    for points, handedness in zip(found.hand_landmarks, found.handedness, strict=True):
        hand = np.array([(p.x * crop_side, p.y * crop_side, 0) for p in points], np.float32)
        hand[:, :2] += corner
        hand[:, 2] = handedness[0].score
        if np.linalg.norm(hand[0, :2] - wrist) < REACH * crop_side:
            hands.append(hand)
    return min(hands, key=lambda hand: float(np.linalg.norm(hand[0, :2] - wrist)), default=missing)
