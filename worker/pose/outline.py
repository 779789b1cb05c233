"""The person's outline on the canvas, from a coarse mask to one that follows the picture's edges."""

import cv2
import numpy as np

from worker.frame import HEIGHT, WIDTH, Frame

SCALE = 2
"""The outline is cut on the canvas shrunk this much: four times faster, and the edges lie as well."""
UNSURE = 9
"""Width of the band around the coarse outline that is decided anew, pixels of the shrunk canvas."""
ROUNDS = 2
BRIDGE = 11
"""What is narrower than this does not make two things one person, pixels of the shrunk canvas."""


def refine(coarse: np.ndarray, canvas: np.ndarray, frame: Frame) -> np.ndarray:
    """Return the person's mask, uint8 (1024, 768), 0..255, soft over about two pixels.

    coarse: float32 (1024, 768) 0..1, how likely each pixel is the person. canvas: RGB uint8 (1024, 768, 3).
    GrabCut (Rother et al., 2004) decides a band around the coarse outline by colour; what hangs together
    with the largest part is kept, and nothing outside the photograph.
    """
    size = (WIDTH // SCALE, HEIGHT // SCALE)
    picture = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    likely = cv2.resize(coarse * _photo_region(frame), size, interpolation=cv2.INTER_AREA)
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
