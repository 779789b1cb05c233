"""Finds the 21 landmarks of a hand in a crop around its wrist."""

from typing import Literal

import cv2
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import vision

from worker.images.arrays import Canvas, Floats
from worker.images.frame import HEIGHT, WIDTH
from worker.pose.joints import Landmark, torso_length
from worker.pose.landmarks import MIN_VISIBILITY

POINTS = 21

CROP = 0.7
"""Side of the square crop, torso lengths: a stretched hand and some room."""

MIN_TORSO = 100.0
"""Lowest torso length for the size of the crop, canvas pixels: a leaning torso appears short."""

INPUT_SIDE = 384
"""Side of the crop when the model gets it, pixels."""

MAX_WRIST_DISTANCE = 0.25
"""Largest distance between the wrist of the hand and that of the body, sides of the crop."""

_LANDMARKS = {
    "left": (Landmark.L_WRIST, Landmark.L_INDEX, Landmark.L_PINKY),
    "right": (Landmark.R_WRIST, Landmark.R_INDEX, Landmark.R_PINKY),
}


def find_hand(
    landmarker: vision.HandLandmarker,
    canvas: Canvas,
    landmarks: Floats,
    side: Literal["left", "right"],
) -> Floats:
    """Return a hand's landmarks, float32 (21, 3): x, y in canvas pixels and confidence; zeros if not found.

    MediaPipe and OpenPose number the landmarks of a hand in the same way.

    Args:
        landmarker: MediaPipe's hand landmarker.
        canvas: RGB uint8 (1024, 768, 3).
        landmarks: float (33, 4), the body's.
        side: the person's own side.
    """
    missing = np.zeros((POINTS, 3), np.float32)
    wrist_index, *fingers = _LANDMARKS[side]
    wrist = landmarks[wrist_index, :2]
    outside = (wrist < 0).any() or (wrist >= (WIDTH, HEIGHT)).any()
    if landmarks[wrist_index, 3] <= MIN_VISIBILITY or outside:
        return missing
    crop_side = CROP * max(torso_length(landmarks), MIN_TORSO)
    corner = landmarks[fingers, :2].mean(0) - crop_side / 2
    scale = INPUT_SIDE / crop_side
    matrix = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]], np.float64)
    crop = cv2.warpAffine(canvas, matrix, (INPUT_SIDE, INPUT_SIDE), borderMode=cv2.BORDER_REPLICATE)
    result = landmarker.detect(mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(crop)))

    hands = []
    for points, handedness in zip(result.hand_landmarks, result.handedness, strict=True):
        hand = np.array([(p.x * crop_side, p.y * crop_side, 0) for p in points], np.float32)
        hand[:, :2] += corner
        hand[:, 2] = handedness[0].score
        if np.linalg.norm(hand[0, :2] - wrist) < MAX_WRIST_DISTANCE * crop_side:
            hands.append(hand)
    return min(hands, key=lambda hand: float(np.linalg.norm(hand[0, :2] - wrist)), default=missing)
