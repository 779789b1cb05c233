"""The person's outline on the canvas, from a coarse mask to one that follows the picture's edges."""

import cv2
import numpy as np

from worker.frame import HEIGHT, WIDTH, Frame
from worker.pose.landmarks import Landmark

SCALE = 2
"""The outline is cut on the canvas shrunk this much: four times faster, and the edges lie as well."""
UNSURE = 9
"""Width of the band around the coarse outline that is decided anew, pixels of the shrunk canvas."""
ROUNDS = 2
BRIDGE = 11
"""What is narrower than this does not make two things one person, pixels of the shrunk canvas."""

# Parts of the body, and how far hair or clothing goes beyond them (of the torso's length).
_BODY = (
    ((Landmark.NOSE, Landmark.L_EAR, Landmark.R_EAR), 0.45),
    ((Landmark.R_SHOULDER, Landmark.L_SHOULDER, Landmark.L_HIP, Landmark.R_HIP), 0.25),
    ((Landmark.R_SHOULDER, Landmark.R_ELBOW, Landmark.R_WRIST, Landmark.R_INDEX), 0.2),
    ((Landmark.L_SHOULDER, Landmark.L_ELBOW, Landmark.L_WRIST, Landmark.L_INDEX), 0.2),
    (
        (
            Landmark.R_HIP,
            Landmark.R_KNEE,
            Landmark.R_ANKLE,
            Landmark.L_ANKLE,
            Landmark.L_KNEE,
            Landmark.L_HIP,
        ),
        0.3,
    ),
)
SOFT_REACH = 0.2
"""Over this much more it fades."""


def refine(coarse: np.ndarray, canvas: np.ndarray, frame: Frame, landmarks: np.ndarray) -> np.ndarray:
    """Return the person's mask, uint8 (1024, 768), 0..255, soft over about two pixels.

    coarse: float32 (1024, 768) 0..1, how likely each pixel is a person. canvas: RGB uint8 (1024, 768, 3).
    landmarks: float32 (33, 4), this person's: what is further from the body than clothing and bags reach is
    someone else. GrabCut (Rother et al., 2004) decides a band around the coarse outline by colour; what
    hangs together with the largest part is kept, and nothing outside the photograph.
    """
    size = (WIDTH // SCALE, HEIGHT // SCALE)
    picture = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    own = coarse * _photo_region(frame) * _reach(landmarks)
    likely = cv2.resize(own, size, interpolation=cv2.INTER_AREA)
    person = _largest(_cut(picture, likely))
    soft = cv2.resize(person * 255, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return soft * _photo_region(frame)


def _cut(picture: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """Return where the person is, uint8 0 or 1."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (UNSURE, UNSURE))
    labels = np.where(likely > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.erode(likely, disc) > 0.9] = cv2.GC_FGD
    labels[cv2.dilate(likely, disc) < 0.1] = cv2.GC_BGD
    person = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    if person.all() or not person.any():
        return person.astype(np.uint8)  # Without both colours there is no edge to look for.
    cv2.setRNGSeed(0)  # GrabCut's clusters start at random: the same picture must give the same mask.
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, labels, (0, 0, 1, 1), *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)


def _reach(landmarks: np.ndarray) -> np.ndarray:
    """Return how far each pixel may belong to a body with these landmarks, float32 (1024, 768) 0..1."""
    points = landmarks[:, :2]
    shoulders, hips = (
        points[[Landmark.R_SHOULDER, Landmark.L_SHOULDER]],
        points[[Landmark.R_HIP, Landmark.L_HIP]],
    )
    torso = max(float(np.linalg.norm(shoulders.mean(0) - hips.mean(0))), 1.0)
    nearest = np.full((HEIGHT, WIDTH), np.inf, np.float32)
    for chain, room in _BODY:
        away = np.ones((HEIGHT, WIDTH), np.uint8)
        corners = np.clip(points[list(chain)], -4 * WIDTH, 4 * WIDTH).round().astype(np.int32)
        cv2.fillPoly(away, [corners], 0)
        cv2.polylines(away, [corners], False, 0, 3)
        if not away.all():  # A limb that lies wholly outside the canvas is near to nothing on it.
            distance = cv2.distanceTransform(away, cv2.DIST_L2, 3)
            nearest = np.minimum(nearest, distance - room * torso)
    return np.clip(1 - nearest / (SOFT_REACH * torso), 0, 1)


def _largest(mask: np.ndarray) -> np.ndarray:
    """Return the largest part; what only a narrow bridge joins to it, such as another person, is cut off."""
    bridge = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (BRIDGE, BRIDGE))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.erode(mask, bridge))
    if count < 2:
        return mask
    core = (labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    # Growing back twice as far restores what was shaved off, and hair and fingers that were thinner.
    return cv2.dilate(core, bridge, iterations=2) & mask


def _photo_region(frame: Frame) -> np.ndarray:
    """Return 1 where the canvas shows the photograph and 0 beside it, uint8 (1024, 768)."""
    corners = frame.points_to_canvas(np.array([[0, 0], [frame.photo_width, frame.photo_height]], float))
    (x0, y0), (x1, y1) = np.clip(np.round(corners), 0, (WIDTH, HEIGHT)).astype(int)
    region = np.zeros((HEIGHT, WIDTH), np.uint8)
    region[y0:y1, x0:x1] = 1
    return region
