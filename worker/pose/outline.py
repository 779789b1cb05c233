"""Refines the person's outline on the canvas: from a coarse mask to one that follows the picture's edges."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import cg

from worker.images.arrays import Canvas, Flags, Floats, Image, Mask
from worker.images.frame import HEIGHT, WIDTH, Frame
from worker.images.regions import largest_region
from worker.pose.joints import Landmark, torso_length

SCALE = 2
"""The outline is computed on a canvas downsampled by this factor: four times faster, equally exact."""

INSIDE, OUTSIDE = 0.9, 0.1
"""Coarse values above the first are certainly the person, values below the second certainly not."""

BAND_WIDTH = 9
"""Width of the band around the coarse outline that is decided again, downsampled pixels."""

BRIDGE_WIDTH = 11
"""A connection narrower than this does not make two regions one person, downsampled pixels."""

WINDOW_SIGMA = 10.0
"""Standard deviation of the window in which the local background is measured, downsampled pixels."""

MIN_SHARE = 1e-3
"""Lowest share of the window that must be background, or person, for its colours to be known."""

PLAIN_DEVIATION = 3.0
"""A background that varies less than this (CIELAB) within the window is plain; from twice this, it is not."""

MIN_DIFFERENCE = 1.5
"""A colour that differs from a plain background by more than this many of its deviations is evidence for the
person. A smaller difference is evidence against, unless the person has such colours: a white shirt may have
the colour of the wall."""

COMPRESSION_NOISE = 0.5
"""Added to the deviation (CIELAB): the noise of the picture's compression in an even colour."""

MAX_DIFFERENCE_ODDS = 3.0
"""Limit of the evidence from the difference to a plain background, for or against (log odds)."""

MAX_DEVIATIONS = 3.0
"""Limit of a colour difference, deviations: beyond it, colours are equally unlikely."""

GRABCUT_ODDS = 1.5
"""Evidence of GrabCut's result where the background is not plain, for or against (log odds)."""

GRABCUT_ITERATIONS = 1
"""A second iteration changes almost nothing and takes as long as the first."""

GRABCUT_SHRINK = 2
"""GrabCut's picture is this many times smaller again: its result is one of several odds, and its time grows
with the pixels."""

WINDOW_SHRINK = 4
"""Local colours are measured on a grid this many times coarser: far finer than their window."""

REACH_SHRINK = 8
"""The body's reach is computed on a canvas downsampled by this factor: it fades over many more pixels."""

MOSTLY_PLAIN = 0.97
"""GrabCut is skipped if the band's background is plain to at least this mean degree."""

MAX_COARSE = 0.97
"""Limit of a coarse value's probability: the picture may contradict it."""

PRIOR_WEIGHT = 0.05
"""Weight of a pixel's own odds, relative to 1 for a neighbour of the same colour."""

CONTRAST_WINDOW = 31
"""Width of the window whose mean difference between neighbours defines an edge, downsampled pixels."""

MIN_CONTRAST = 0.3
"""Added to the square of that mean difference: less than about half a CIELAB unit is never an edge."""

SOLVER_TOLERANCE, MAX_SOLVER_STEPS = 1e-3, 1000
"""The prior bounds the matrix's condition number: about forty steps are enough."""

REACH_FADE = 0.3
"""Distance over which the reach of the body fades out, torso lengths."""

# Parts of the body, and how far hair or clothing may reach beyond them, torso lengths.
_BODY_PARTS = (
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


def refine(coarse: Floats, canvas: Canvas, frame: Frame, landmarks: Floats) -> Mask:
    """Return the person's mask, uint8 (1024, 768), 0..255, feathered over about two pixels.

    A band around the coarse outline is decided again. The largest connected region is kept, and nothing
    outside the photograph. Pixels further from the body than a poncho or a bag reaches are other people.

    Args:
        coarse: float32 (1024, 768) 0..1, the probability that a pixel is a person.
        canvas: RGB uint8 (1024, 768, 3).
        frame: the position of the photograph on the canvas.
        landmarks: float32 (33, 4), this person's, canvas pixels.
    """
    size = (WIDTH // SCALE, HEIGHT // SCALE)
    picture = np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.uint8)
    reachable = coarse * _photo_region(frame) * _reach(landmarks)
    probability = np.asarray(cv2.resize(reachable, size, interpolation=cv2.INTER_AREA), np.float32)
    person = _without_other_people(_segment(picture, probability))
    feathered = cv2.resize(person * 255, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return np.asarray(feathered * _photo_region(frame), np.uint8)


def _segment(picture: Image, probability: Floats) -> Mask:
    """Return where the person is, uint8 0 or 1.

    Each pixel of the band gets log odds: those of the coarse mask, and those of its colour. In front of a
    plain background these come from the difference to the local background, elsewhere from GrabCut (Rother
    et al., 2004). GrabCut alone fails where clothing and background are similar: it assigns the shaded side
    of a white shirt to a grey wall. Then the odds are smoothed within the picture's edges, also faint ones.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (BAND_WIDTH, BAND_WIDTH))
    inside = cv2.erode(probability, disc) > INSIDE
    outside = cv2.dilate(probability, disc) < OUTSIDE
    band = ~(inside | outside)
    if not (inside.any() and outside.any() and band.any()):
        return (probability > 0.5).astype(np.uint8)  # Without both colours there is no edge to find.
    lab = np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    coarse = np.clip(probability, 1 - MAX_COARSE, MAX_COARSE)
    odds = np.log(coarse / (1 - coarse))
    background = _local_colours(lab, outside)
    plain = np.clip(2 - background.deviation / PLAIN_DEVIATION, 0, 1) * background.known
    odds += plain * _difference_odds(background, _local_colours(lab, inside))
    if plain[band].mean() < MOSTLY_PLAIN:
        foreground = _grabcut(picture, probability, inside, outside)
        odds += (1 - plain) * GRABCUT_ODDS * (2 * foreground - 1)
    smooth = _smooth(1 / (1 + np.exp(-odds)), lab, inside, outside)
    return (smooth > 0.5).astype(np.uint8)


@dataclass(frozen=True)
class _LocalColours:
    """The difference of each pixel to an area's local colours.

    Attributes:
        known: bool (h, w), whether part of the area is within the window.
        deviation: float32 (h, w), the standard deviation of the area's colours within the window (CIELAB).
        distance: float32 (h, w), the distance to their mean, deviations.
    """

    known: Flags
    deviation: Floats
    distance: Floats


def _local_colours(lab: Floats, area: Flags) -> _LocalColours:
    """Return the difference of each pixel to the area around it: the light on a wall may vary."""

    height, width = area.shape
    size = (width // WINDOW_SHRINK, height // WINDOW_SHRINK)

    def windowed(values: Floats) -> Floats:
        coarse = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(coarse, (0, 0), WINDOW_SIGMA / WINDOW_SHRINK))

    def fine(values: Floats) -> Floats:
        return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR))

    member = area.astype(np.float32)
    share = windowed(member)
    positive_share = np.maximum(share, 1e-6)
    mean = windowed(lab * member[..., None]) / positive_share[..., None]
    squares = windowed(_squared_length(lab) * member) / positive_share
    variance = np.maximum(squares - _squared_length(mean), 0)
    deviation = fine(np.sqrt(variance)) + COMPRESSION_NOISE
    distance = np.sqrt(_squared_length(lab - fine(mean))) / deviation
    return _LocalColours(fine(share) > MIN_SHARE, deviation, distance)


def _squared_length(vectors: Floats) -> Floats:
    """Return the squared length of each vector along the last axis."""
    return np.asarray(np.einsum("...i,...i->...", vectors, vectors))


def _difference_odds(background: _LocalColours, person: _LocalColours) -> Floats:
    """Return the log odds that a pixel belongs to the person and not to a plain background."""
    # The log likelihood ratio of the colour, with a normal distribution for both.
    ratio = (
        np.minimum(background.distance, MAX_DEVIATIONS) ** 2
        - np.minimum(person.distance, MAX_DEVIATIONS) ** 2
    ) / 2
    ratio -= np.log(person.deviation / background.deviation)
    similar = np.where(person.known, np.clip(ratio, -MAX_DIFFERENCE_ODDS, 0), 0)
    different = np.minimum(background.distance - MIN_DIFFERENCE, MAX_DIFFERENCE_ODDS)
    return np.where(background.distance > MIN_DIFFERENCE, different, similar)


def _grabcut(picture: Image, probability: Floats, inside: Flags, outside: Flags) -> Floats:
    """Return to which degree each pixel is the person by GrabCut's two colour models, float32 0..1."""
    height, width = probability.shape
    size = (width // GRABCUT_SHRINK, height // GRABCUT_SHRINK)

    def shrunk(values: Floats | Flags) -> Floats:
        return np.asarray(cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA))

    labels = np.where(shrunk(probability) > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[shrunk(inside) == 1] = cv2.GC_FGD
    labels[shrunk(outside) == 1] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # GrabCut initialises its clusters at random: the same picture must give the same mask.
    models = np.zeros((1, 65)), np.zeros((1, 65))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    cv2.grabCut(small, labels, (0, 0, 1, 1), *models, GRABCUT_ITERATIONS, cv2.GC_INIT_WITH_MASK)
    person = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return np.asarray(cv2.resize(person, (width, height), interpolation=cv2.INTER_LINEAR))


def _smooth(prior: Floats, lab: Floats, inside: Flags, outside: Flags) -> Floats:
    """Return the probability of the person, smoothed within edges: a random walker with priors.

    Grady, "Multilabel random walker image segmentation using prior models", 2005. The probability is 1
    inside and 0 outside. In between it minimises the weighted squares of the differences between neighbours
    and of the differences to `prior`.
    """
    band = ~(inside | outside)
    matrix, right, diagonal = _random_walker_equations(prior, _edge_weights(lab), band, inside)
    solution, failed = cg(
        matrix,
        right,
        x0=prior[band].astype(float),
        rtol=SOLVER_TOLERANCE,
        maxiter=MAX_SOLVER_STEPS,
        M=sparse.diags(1 / diagonal),
    )
    if failed:
        raise ArithmeticError(f"The outline's equations were not solved in {failed} steps")
    smooth = inside.astype(np.float32)
    smooth[band] = solution
    return smooth


def _edge_weights(lab: Floats) -> tuple[Floats, Floats]:
    """Return the weight of each pair of neighbours, (h, w - 1) to the right and (h - 1, w) down.

    A difference counts relative to the contrast around it, so that a faint edge on an even wall is an edge.
    """
    to_right = _squared_length(lab[:, 1:] - lab[:, :-1])
    down = _squared_length(lab[1:] - lab[:-1])
    contrast = np.zeros(lab.shape[:2], np.float32)
    contrast[:, 1:] += to_right
    contrast[1:] += down
    # The mean of the differences, not of their squares: a strong edge must not hide faint ones.
    typical = cv2.blur(np.sqrt(contrast / 2), (CONTRAST_WINDOW, CONTRAST_WINDOW)) ** 2 + MIN_CONTRAST
    return np.exp(-to_right / (2 * typical[:, 1:])), np.exp(-down / (2 * typical[1:]))


def _random_walker_equations(
    prior: Floats, edge_weights: tuple[Floats, Floats], band: Flags, inside: Flags
) -> tuple[Any, NDArray[np.float64], NDArray[np.float64]]:
    """Return the sparse matrix of the band's pixels, the right side, and the matrix's diagonal."""
    count = int(band.sum())
    number = np.full(band.shape, -1)
    number[band] = np.arange(count)
    diagonal = np.full(count, PRIOR_WEIGHT)
    right = PRIOR_WEIGHT * prior[band].astype(float)
    rows, columns, values = [], [], []
    every, first, last = slice(None), slice(None, -1), slice(1, None)
    left_to_right, downward = ((every, first), (every, last)), ((first, every), (last, every))
    for (one, other), weight in (
        (left_to_right, edge_weights[0]),
        (left_to_right[::-1], edge_weights[0]),
        (downward, edge_weights[1]),
        (downward[::-1], edge_weights[1]),
    ):
        in_band = band[one]
        row, column = number[one][in_band], number[other][in_band]
        pair_weight = weight[in_band].astype(float)
        diagonal += np.bincount(row, pair_weight, count)
        fixed = column < 0  # The neighbour is outside the band: its probability is known.
        right += np.bincount(row[fixed], (pair_weight * inside[other][in_band])[fixed], count)
        rows.append(row[~fixed])
        columns.append(column[~fixed])
        values.append(-pair_weight[~fixed])
    positions = (np.concatenate(rows), np.concatenate(columns))
    off_diagonal = sparse.csr_matrix((np.concatenate(values), positions), (count, count))
    return off_diagonal + sparse.diags(diagonal), right, diagonal


def _reach(landmarks: Floats) -> Floats:
    """Return to which degree each pixel may belong to this body, float32 (1024, 768) 0..1."""
    size = (WIDTH // REACH_SHRINK, HEIGHT // REACH_SHRINK)
    points = landmarks[:, :2] / REACH_SHRINK
    torso = max(torso_length(landmarks), 1.0) / REACH_SHRINK
    excess = np.full(size[::-1], np.inf, np.float32)
    for part, reach in _BODY_PARTS:
        away = np.ones(size[::-1], np.uint8)
        # OpenCV's drawing functions overflow on coordinates that are far outside the canvas.
        corners = np.clip(points[list(part)], -4 * WIDTH, 4 * WIDTH).round().astype(np.int32)
        cv2.fillPoly(away, [corners], 0)
        cv2.polylines(away, [corners], False, 0)
        if not away.all():  # A limb completely outside the canvas has no distance on it.
            distance = cv2.distanceTransform(away, cv2.DIST_L2, 5)
            excess = np.minimum(excess, distance - reach * torso)
    degree = np.clip(1 - excess / (REACH_FADE * torso), 0, 1).astype(np.float32)
    return np.asarray(cv2.resize(degree, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))


def _without_other_people(mask: Mask) -> Mask:
    """Return the largest region; what only a narrow bridge connects, such as another person, is cut off."""
    bridge = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (BRIDGE_WIDTH, BRIDGE_WIDTH))
    core = largest_region(cv2.erode(mask, bridge) > 0)
    if not core.any():
        return mask
    # Dilating twice as far restores what the erosion removed, and hair and fingers that were thinner.
    grown = np.asarray(cv2.dilate(core.astype(np.uint8), bridge, iterations=2), np.uint8)
    return grown & mask


def _photo_region(frame: Frame) -> Mask:
    """Return 1 where the canvas shows the photograph, else 0, uint8 (1024, 768)."""
    corners = frame.points_to_canvas(np.array([[0, 0], [frame.photo_width, frame.photo_height]], float))
    (x0, y0), (x1, y1) = np.clip(np.round(corners), 0, (WIDTH, HEIGHT)).astype(int)
    region = np.zeros((HEIGHT, WIDTH), np.uint8)
    region[y0:y1, x0:x1] = 1
    return region
