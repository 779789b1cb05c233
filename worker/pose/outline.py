"""The person's outline on the canvas, from a coarse mask to one that follows the picture's edges."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

from worker.images.frame import HEIGHT, WIDTH, Frame
from worker.pose.joints import Landmark

SCALE = 2
"""The outline is cut on the canvas shrunk this much: four times faster, and the edges lie as well."""
UNSURE = 9
"""Width of the band around the coarse outline that is decided anew, pixels of the shrunk canvas."""
BRIDGE = 11
"""What is narrower than this does not make two things one person, pixels of the shrunk canvas."""

NEARBY = 10.0
"""Standard deviation of the window that says how the background looks here, pixels of the shrunk canvas."""
PLAIN = 3.0
"""A background that varies less than this (CIELAB) within the window is plain; twice as much, not at all."""
DIFFERENT = 1.5
"""What differs from a plain background by more than this many of its deviations speaks for the person. What
differs less speaks against it where the person looks otherwise: a white shirt may have the wall's colour."""
NOISE = 0.5
"""Added to the deviation: what the picture's compression makes of an even colour."""
BY_DIFFERENCE = 3.0
"""Most that the difference from a plain background counts, for or against (log odds)."""
FAR = 3.0
"""Beyond this many deviations a colour is as unlike as can be."""
BY_COLOUR = 1.5
"""How much GrabCut's answer counts where the background is not plain (log odds, for or against)."""
ROUNDS = 1
"""GrabCut's rounds: a second one changes nothing to speak of and costs an eighth of a second."""
SUREST = 0.97
"""No coarse value counts for more: the picture may say otherwise."""
PULL = 0.05
"""How strongly a pixel keeps to its own odds, against 1 for a neighbour of the same colour."""
CONTRAST_WINDOW = 31
"""What an edge is, is said by the mean difference between neighbours within this many (shrunk) pixels."""
FAINT = 0.3
"""Added to the mean difference's square: less than about half a CIELAB unit is nowhere an edge."""

# Parts of the body, and how far hair or clothing goes beyond them (of the torso's length).
_BODY = (
    ((Landmark.NOSE, Landmark.L_EAR, Landmark.R_EAR), 0.65),
    ((Landmark.R_SHOULDER, Landmark.L_SHOULDER, Landmark.L_HIP, Landmark.R_HIP), 0.4),
    ((Landmark.R_SHOULDER, Landmark.R_ELBOW, Landmark.R_WRIST, Landmark.R_INDEX), 0.3),
    ((Landmark.L_SHOULDER, Landmark.L_ELBOW, Landmark.L_WRIST, Landmark.L_INDEX), 0.3),
    (
        (
            Landmark.R_HIP,
            Landmark.R_KNEE,
            Landmark.R_ANKLE,
            Landmark.L_ANKLE,
            Landmark.L_KNEE,
            Landmark.L_HIP,
        ),
        0.45,
    ),
)
SOFT_REACH = 0.3
"""Over this much more it fades."""


def refine(coarse: np.ndarray, canvas: np.ndarray, frame: Frame, landmarks: np.ndarray) -> np.ndarray:
    """Return the person's mask, uint8 (1024, 768), 0..255, soft over about two pixels.

    coarse: float32 (1024, 768) 0..1, how likely each pixel is a person. canvas: RGB uint8 (1024, 768, 3).
    landmarks: float32 (33, 4), this person's: what is further from the body than a poncho and bags reach is
    someone else. A band around the coarse outline is decided anew; what hangs together with the largest part
    is kept, and nothing outside the photograph.
    """
    size = (WIDTH // SCALE, HEIGHT // SCALE)
    picture = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    own = coarse * _photo_region(frame) * _reach(landmarks)
    likely = cv2.resize(own, size, interpolation=cv2.INTER_AREA)
    person = _largest(_cut(picture, likely))
    soft = cv2.resize(person * 255, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return soft * _photo_region(frame)


def _cut(picture: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """Return where the person is, uint8 0 or 1.

    Each pixel of the band has odds: the coarse mask's, and what its colour says. Before a plain background
    that is how far it differs from the background nearby, elsewhere what GrabCut finds (Rother et al., 2004).
    GrabCut alone fails where clothing and background are alike: it takes the shaded side of a white shirt for
    a grey wall. Then the odds are smoothed within the picture's edges, faint ones too.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (UNSURE, UNSURE))
    inside = cv2.erode(likely, disc) > 0.9
    outside = cv2.dilate(likely, disc) < 0.1
    band = ~(inside | outside)
    if not (inside.any() and outside.any() and band.any()):
        return (likely > 0.5).astype(np.uint8)  # Without both colours there is no edge to look for.
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    coarse = np.clip(likely, 1 - SUREST, SUREST)
    odds = np.log(coarse / (1 - coarse))
    ground = _differences(lab, outside)
    plain = np.clip(2 - ground.deviation / PLAIN, 0, 1) * ground.known
    odds += plain * _by_difference(ground, _differences(lab, inside))
    if plain[band].mean() < SUREST:
        odds += (1 - plain) * BY_COLOUR * np.where(_grabcut(picture, likely, inside, outside), 1, -1)
    share = _smooth(1 / (1 + np.exp(-odds)), lab, inside, outside)
    return (share > 0.5).astype(np.uint8)


@dataclass(frozen=True)
class _Differences:
    """How far each pixel differs from an area's colours nearby.

    Attributes:
        known: bool (h, w), whether some of the area is within the window.
        deviation: float32 (h, w), the standard deviation of the area's colours within the window (CIELAB).
        distance: float32 (h, w), from their mean, in deviations.
    """

    known: np.ndarray
    deviation: np.ndarray
    distance: np.ndarray


def _differences(lab: np.ndarray, area: np.ndarray) -> _Differences:
    """Return how far each pixel differs from the area nearby: a wall's light may change over the picture."""

    def nearby(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), NEARBY)

    share = area.astype(np.float32)
    amount = nearby(share)
    some = np.maximum(amount, 1e-6)
    mean = nearby(lab * share[..., None]) / some[..., None]
    deviation = np.sqrt(nearby((lab - mean) ** 2 * share[..., None]).sum(2) / some) + NOISE
    return _Differences(amount > 1e-3, deviation, np.linalg.norm(lab - mean, axis=2) / deviation)


def _by_difference(ground: _Differences, person: _Differences) -> np.ndarray:
    """Return the log odds that a pixel is the person's rather than a plain background's."""
    # How much likelier the colour is as one of the person's than as one of the background's, both normal.
    ratio = (np.minimum(ground.distance, FAR) ** 2 - np.minimum(person.distance, FAR) ** 2) / 2
    ratio -= np.log(person.deviation / ground.deviation)
    alike = np.where(person.known, np.clip(ratio, -BY_DIFFERENCE, 0), 0)
    return np.where(
        ground.distance > DIFFERENT, np.minimum(ground.distance - DIFFERENT, BY_DIFFERENCE), alike
    )


def _grabcut(picture: np.ndarray, likely: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return where the person is by two colour models, bool."""
    labels = np.where(likely > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[inside] = cv2.GC_FGD
    labels[outside] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # GrabCut's clusters start at random: the same picture must give the same mask.
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, labels, (0, 0, 1, 1), *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def _smooth(share: np.ndarray, lab: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return the person's share of each pixel, smoothed within edges: a random walker with priors.

    Grady, "Multilabel random walker image segmentation using prior models", 2005: 1 inside and 0 outside are
    given, and between them the shares minimise the weighted squares of the differences between neighbours and
    from `share`. An edge counts by the contrast about it, so that a faint one on an even wall is one.
    """
    steps = [((lab[:, 1:] - lab[:, :-1]) ** 2).sum(2), ((lab[1:] - lab[:-1]) ** 2).sum(2)]
    contrast = np.zeros(share.shape, np.float32)
    contrast[:, 1:] += steps[0]
    contrast[1:] += steps[1]
    # The mean of the differences, not of their squares: a strong edge must not drown faint ones.
    typical = cv2.blur(np.sqrt(contrast / 2), (CONTRAST_WINDOW, CONTRAST_WINDOW)) ** 2 + FAINT
    weights = [np.exp(-steps[0] / (2 * typical[:, 1:])), np.exp(-steps[1] / (2 * typical[1:]))]

    band = ~(inside | outside)
    count = int(band.sum())
    number = np.full(band.shape, -1)
    number[band] = np.arange(count)
    diagonal = np.full(count, PULL)
    right = PULL * share[band].astype(float)
    rows, columns, values = [], [], []
    everything, first, last = slice(None), slice(None, -1), slice(1, None)
    left_to_right, down = ((everything, first), (everything, last)), ((first,), (last,))
    for (one, other), weight in (
        (left_to_right, weights[0]),
        (left_to_right[::-1], weights[0]),
        (down, weights[1]),
        (down[::-1], weights[1]),
    ):
        own = band[one]
        row, column, joined = number[one][own], number[other][own], weight[own].astype(float)
        diagonal += np.bincount(row, joined, count)
        fixed = column < 0
        right += np.bincount(row[fixed], (joined * inside[other][own])[fixed], count)
        rows.append(row[~fixed])
        columns.append(column[~fixed])
        values.append(-joined[~fixed])
    where = (np.concatenate(rows), np.concatenate(columns))
    matrix = sparse.csr_matrix((np.concatenate(values), where), (count, count)) + sparse.diags(diagonal)
    # The pull bounds the matrix's condition: some forty steps are enough.
    solved, failed = cg(
        matrix, right, x0=share[band].astype(float), rtol=1e-3, maxiter=1000, M=sparse.diags(1 / diagonal)
    )
    if failed:
        raise ArithmeticError(f"The outline's equations were not solved in {failed} steps")
    smooth = inside.astype(np.float32)
    smooth[band] = solved
    return smooth


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
