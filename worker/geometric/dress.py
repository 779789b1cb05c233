"""Draws a garment on a person by geometry alone: bend, uncover, shade, lay over each other."""

from dataclasses import dataclass

import cv2
import numpy as np

from worker.cloth.garment import BACKGROUND, Garment
from worker.geometric import body as bodies
from worker.geometric import fit, shade, uncover, verdict
from worker.geometric.body import SIDES
from worker.geometric.pattern import take_apart
from worker.geometric.place import Match, Placement, Segment, place
from worker.geometric.tail import hood, tail
from worker.geometric.verdict import Verdict
from worker.geometric.warp import (
    ThinPlateSpline,
    folded_share,
    refuse_folds,
    sampling_map,
    stretched_share,
)
from worker.images.fingers import hand_area
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Part, Pose

_SLACK = (1e-3, 2e-2, 0.2)  # how freely a spline passes its points: the next where the one before folds
_CREASED = 0.03  # share of a part's area that may be turned over before a smoother spline is tried
_HELD, _HELD_WIDTH = 0.25, 0.06  # things that are carried: smallest side of their area, and of its parts
_BESIDE = (Part.BACKGROUND, Part.NECK, Part.LEFT_ARM, Part.RIGHT_ARM)  # where no old garment belongs
_ROUND = (
    0.06  # how far the silhouette that is taken over from the old garment is rounded, in units of Body.size
)
_BESIDE_REACH = 0.15  # how far from the old garment it is looked for, in units of Body.size


@dataclass(frozen=True)
class TryOn:
    """A garment drawn on a person.

    Attributes:
        image: RGB uint8 (1024, 768, 3); equal to the person's picture where `region` is 0.
        region: uint8 (1024, 768), the soft alpha of what changed.
        warped: RGB uint8 (1024, 768, 3), the bent garment alone, on light grey.
        warped_mask: uint8 (1024, 768), its alpha.
        visible: uint8 (1024, 768), the garment's alpha where nothing lies before it.
        verdict: what was measured about the picture, its score, and what may look wrong, in words.
    """

    image: np.ndarray
    region: np.ndarray
    warped: np.ndarray
    warped_mask: np.ndarray
    visible: np.ndarray
    verdict: Verdict

    @property
    def warnings(self) -> list[str]:
        """What may look wrong, in words."""
        return self.verdict.warnings


@dataclass
class Layer:
    """A part of the garment on the canvas: colour float32 (h, w, 3), alpha float32 (h, w).

    `folded` and `stretched` are the shares of it that its bending turned over or stretched to pieces.
    """

    colour: np.ndarray
    alpha: np.ndarray
    folded: float = 0.0
    stretched: float = 0.0


def try_on(
    image_rgb: np.ndarray,
    pose: Pose,
    parse: np.ndarray,
    person_mask: np.ndarray,
    garment: Garment,
    *,
    seed: int,
) -> TryOn:
    """Return the person wearing the garment.

    Args:
        image_rgb: the person on the canvas, RGB uint8 (1024, 768, 3).
        pose: the joints.
        parse: CIHP labels, uint8 (1024, 768).
        person_mask: uint8 (1024, 768), 128 and more is person.
        garment: the upper-body garment to put on.
        seed: decides the grain of painted skin and background; the same seed gives the same bytes.

    Raises PoseError when the shoulders are not seen, SynthesisError when the garment would fold over
    itself or tear.
    """
    rng = np.random.default_rng(seed)
    body = bodies.measure(pose, parse, person_mask)
    pattern = take_apart(garment.image, garment.mask, garment.landmarks)
    cloth = np.isin(parse, bodies.CLOTHES)
    placement = place(pattern, body, cloth, parse == Part.DRESS)
    # What stays on below the hem is worn there from here on, like a skirt.
    parse = np.where(hood(parse, body), np.uint8(Part.HAT), parse)
    parse = np.where(tail(parse, body, placement), np.uint8(Part.SKIRT), parse)
    cloth = np.isin(parse, bodies.CLOTHES)

    trunk = _bend(pattern.colour, pattern.trunk, placement.trunk, "trunk")
    sleeves = {
        side: _sleeve(pattern.colour, pattern.sleeves[side].alpha, segments, body.arms[side], cloth)
        for side, segments in placement.sleeves.items()
    }
    bare = np.isin(parse, (Part.LEFT_ARM, Part.RIGHT_ARM))
    covers = {side: layer.alpha for side, layer in sleeves.items()}
    reached = fit.rims(
        trunk.alpha,
        covers,
        cloth,
        bare,
        np.isin(parse, uncover.LOWER),
        parse == Part.NECK,
        parse == Part.COAT,
        body,
        placement,
    )
    for name, layer in {"trunk": trunk, **sleeves}.items():
        own = layer.alpha > 0.5
        # A label's stairs and the old garment's ruffles and puffs are rounded off.
        rounded = _ROUND * body.size
        whole = cv2.GaussianBlur((own | reached[name]).astype(np.float32), (0, 0), rounded) > 0.5
        layer.alpha = np.maximum(layer.alpha, _soft(own | (whole & reached[name])))
    for layer in sleeves.values():
        # Under the seam the trunk goes on, so that nothing shows through two soft edges.
        joint = fit.near(trunk.alpha, 12) & fit.near(layer.alpha, 6)
        trunk.alpha = np.maximum(trunk.alpha, _soft(joint | (trunk.alpha > 0.5)))
    exposure = shade.exposure(image_rgb)
    light = shade.light(image_rgb, cloth) * exposure
    fingers = hand_area(pose.left_hand, parse.shape) | hand_area(pose.right_hand, parse.shape)
    plate = uncover.plate(image_rgb, parse, person_mask, body, placement, light, fingers, rng)
    base, taken = plate.picture, plate.taken

    # From back to front: trunk, arms before the trunk, sleeves, hair and head.
    picture = base.copy()
    garment_alpha = np.zeros(parse.shape, np.float32)
    front = _front_arms(parse, body, placement.cuff, taken & plate.arms)
    _lay(picture, trunk.colour * light[..., None], trunk.alpha)
    garment_alpha = np.maximum(garment_alpha, trunk.alpha)
    _lay(picture, base, front)
    garment_alpha *= 1 - front
    for layer in sleeves.values():
        _lay(picture, layer.colour * light[..., None], layer.alpha)
        garment_alpha = np.maximum(garment_alpha, layer.alpha)
    head = np.maximum(_head(parse, cloth, body), _held(parse, person_mask, cloth, body))
    hands = _hands(parse, body, placement)
    _lay(picture, base, hands)
    _lay(picture, image_rgb.astype(np.float32), head)
    garment_alpha *= (1 - hands) * (1 - head)

    region = np.maximum(garment_alpha, cv2.GaussianBlur(taken.astype(np.float32), (0, 0), 1.0) * (1 - head))
    region = np.where(region < 1 / 255, 0, region)
    out = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    region8 = np.round(region * 255).astype(np.uint8)
    out[region8 == 0] = image_rgb[region8 == 0]

    warped = np.full((*parse.shape, 3), float(BACKGROUND), np.float32)
    mask = np.zeros(parse.shape, np.float32)
    for layer in (trunk, *sleeves.values()):
        _lay(warped, layer.colour, layer.alpha)
        mask = np.maximum(mask, layer.alpha)
    return TryOn(
        out,
        region8,
        np.clip(np.round(warped), 0, 255).astype(np.uint8),
        np.round(mask * 255).astype(np.uint8),
        np.round(garment_alpha * 255).astype(np.uint8),
        verdict.judge(
            {
                "changed": verdict.changed_share(image_rgb, out, region8),
                "colour": verdict.colour_distance(
                    garment.image, garment.mask, out, garment_alpha > 0.95, exposure
                ),
                "outside": verdict.changed_outside(image_rgb, out, region8),
                "left": verdict.left_over(
                    image_rgb,
                    region8,
                    cloth & (head < 0.5),
                    np.isin(parse, _BESIDE),
                    round(_BESIDE_REACH * body.size),
                ),
                "guessed": verdict.guessed_share(
                    plate.ground & (garment_alpha < 0.5) & (head < 0.5) & (hands < 0.5), garment_alpha
                ),
                "hands": verdict.hands_covered(image_rgb, out, pose, np.isin(parse, uncover.LOWER)),
                "folded": max(layer.folded for layer in (trunk, *sleeves.values())),
                "stretched": max(layer.stretched for layer in (trunk, *sleeves.values())),
                "landmarks": verdict.landmark_confidence(garment.landmarks),
                "pose": verdict.pose_confidence(pose),
            },
            _warnings(body),
        ),
    )


def _sleeve(
    colour: np.ndarray, alpha: np.ndarray, segments: list[Segment], arm: bodies.Arm | None, cloth: np.ndarray
) -> Layer:
    """Return a sleeve's segments, bent and laid over each other."""
    whole = Layer(np.zeros((HEIGHT, WIDTH, 3), np.float32), np.zeros((HEIGHT, WIDTH), np.float32))
    for segment in segments:
        within = None
        if arm is None:
            # Of an arm that is not seen no more shows than the old garment shows of it.
            within = fit.near(cloth, 10)
        elif segment.first is not None and segment.last is not None:
            stretch = arm.band((HEIGHT, WIDTH), skin=False, first=segment.first, last=segment.last)
            within = fit.near(stretch / 255, 8)
        piece = _bend(colour, alpha, segment.match, "sleeve", within)
        # Colours go on beyond the alpha: the silhouette may let the sleeve grow.
        own = fit.near(piece.alpha, 30) & ~fit.near(whole.alpha, 1)
        if segment is segments[0]:
            own[:] = True
        whole.colour[own] = piece.colour[own]
        _lay(whole.colour, piece.colour, np.where(own, 0, piece.alpha))
        whole.alpha = np.maximum(whole.alpha, piece.alpha)
        whole.folded = max(whole.folded, piece.folded)
        whole.stretched = max(whole.stretched, piece.stretched)
    return whole


def _bend(
    colour: np.ndarray, alpha: np.ndarray, match: Match, part: str, within: np.ndarray | None = None
) -> Layer:
    """Return a part of the garment bent so that its points lie where the body has them.

    Raises SynthesisError when it would fold over itself or tear where it is seen.
    """
    height, width = alpha.shape
    margin = 40
    low = np.floor(match.body.min(0) - margin).astype(int)
    high = np.ceil(match.body.max(0) + margin).astype(int)
    x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
    x1, y1 = min(width, int(high[0])), min(height, int(high[1]))
    layer = Layer(np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32))
    if x1 - x0 < 8 or y1 - y0 < 8:
        return layer
    for slack in _SLACK:
        positions = sampling_map(ThinPlateSpline(match.body, match.garment, slack=slack), (x0, y0, x1, y1))
        px, py = np.ascontiguousarray(positions[..., 0]), np.ascontiguousarray(positions[..., 1])
        share = cv2.remap(alpha, px, py, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        if within is not None:
            share *= _soft(within[y0:y1, x0:x1])
        if folded_share(positions, share > 0.5) < _CREASED:
            break
    refuse_folds(positions, share > 0.5, part)
    drawn = cv2.remap(colour, px, py, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    layer.colour[y0:y1, x0:x1] = drawn
    layer.alpha[y0:y1, x0:x1] = share
    layer.folded = folded_share(positions, share > 0.5)
    layer.stretched = stretched_share(positions, share > 0.5)
    return layer


def _lay(picture: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> None:
    """Lay a colour over the picture, in place."""
    where = alpha > 0
    a = alpha[where][:, None]
    picture[where] = a * colour[where] + (1 - a) * picture[where]


def _soft(area: np.ndarray, sigma: float = 1.2) -> np.ndarray:
    """Return an area's smoothed alpha, float32: label maps have stairs for edges."""
    blurred = cv2.GaussianBlur(area.astype(np.float32), (0, 0), 2.5)
    return np.clip((blurred - 0.5) * 2.5 / sigma + 0.5, 0, 1)


def _bare_arms(parse: np.ndarray, body: bodies.Body) -> np.ndarray:
    """Return where bare arms, hands or gloves are, without specks such as buttons, bool."""
    area = np.isin(parse, (Part.LEFT_ARM, Part.RIGHT_ARM, Part.GLOVE))
    _, islands, stats, _ = cv2.connectedComponentsWithStats(area.astype(np.uint8))
    return area & (stats[:, cv2.CC_STAT_AREA] > 0.01 * body.size**2)[islands]


def _front_arms(
    parse: np.ndarray, body: bodies.Body, cuff: dict[str, float], painted: np.ndarray
) -> np.ndarray:
    """Return where arms lie before the trunk: bare ones as labelled, painted ones where a sleeve was.

    painted: bool (1024, 768), where bare arms were painted.
    """
    area = _bare_arms(parse, body)
    for side in SIDES:
        arm = body.arms[side]
        if arm is not None and side in cuff:
            # A bare shoulder lies under the new sleeve and the trunk that it is sewn to.
            area &= ~_shoulder(arm, cuff[side], body)
            area &= arm.band((HEIGHT, WIDTH), skin=False, last=cuff[side]) == 0
        # An arm whose forearm is behind the back lies behind the trunk.
        if arm is not None and not arm.hidden:
            area |= painted & (
                arm.band(parse.shape, skin=True, first=max(0.4, cuff.get(side, 0.0) - 0.1)) > 0
            )
    return _soft(area)


def _shoulder(arm: bodies.Arm, cuff: float, body: bodies.Body) -> np.ndarray:
    """Return the round of the shoulder that a sleeve covers, bool."""
    upper = arm.band((HEIGHT, WIDTH), skin=False, last=min(0.6 * cuff, 0.3))
    return fit.near(upper / 255, 0.3 * body.size)


def _hands(parse: np.ndarray, body: bodies.Body, placement: Placement) -> np.ndarray:
    """Return the bare arms that no sleeve covers: they lie before everything."""
    area = _bare_arms(parse, body)
    for side in SIDES:
        arm = body.arms[side]
        if arm is not None and placement.longer.get(side, False):
            covered = arm.band(parse.shape, skin=False, last=placement.cuff[side] + 0.03)
            area &= cv2.dilate(covered, np.ones((25, 25), np.uint8)) == 0
            area &= ~_shoulder(arm, placement.cuff[side], body)
    return _soft(area) if placement.sleeves else np.zeros(parse.shape, np.float32)


def _head(parse: np.ndarray, cloth: np.ndarray, body: bodies.Body) -> np.ndarray:
    """Return the head and what hangs from it over the garment, hair or a scarf, float32 (h, w)."""
    head = np.isin(parse, (Part.HAIR, Part.FACE, Part.HAT, Part.SUNGLASSES, Part.SCARF))
    # Glasses that hang from the old garment, and buttons taken for hair, go with it.
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(head.astype(np.uint8))
    head &= (stats[:, cv2.CC_STAT_TOP] < body.neck[1])[pieces]
    face = np.flatnonzero((parse == Part.FACE).any(1))
    if len(face):
        head[face[-1] + 1 :] &= parse[face[-1] + 1 :] != Part.SUNGLASSES
    # At a chin or a lock before the old garment the outermost pixels show that garment's colour.
    chin = (parse == Part.FACE) & uncover.grown(cloth, uncover.SKIN_RIM)
    return _soft(head & ~uncover.grown(cloth, uncover.RIM) & ~chin)


def _held(parse: np.ndarray, person: np.ndarray, cloth: np.ndarray, body: bodies.Body) -> np.ndarray:
    """Return the bags and other things that are carried before the body, float32 (h, w).

    They are no part of a person and inside the outline of one.
    """
    size = round(_HELD_WIDTH * body.size)
    things = ((parse == Part.BACKGROUND) & (person >= 128)).astype(np.uint8)
    things = cv2.morphologyEx(things, cv2.MORPH_OPEN, np.ones((size, size), np.uint8))
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(things)
    large = stats[:, cv2.CC_STAT_AREA] > (_HELD * body.size) ** 2
    large[0] = False
    return _soft(large[pieces] & ~uncover.grown(cloth, uncover.RIM))


def _warnings(body: bodies.Body) -> list[str]:
    out = []
    if not body.facing:
        out.append("The person is seen from behind; the garment's front was drawn.")
    if any(arm is None for arm in body.arms.values()):
        out.append("An arm is not seen; its sleeve is drawn where the old garment is.")
    return out
