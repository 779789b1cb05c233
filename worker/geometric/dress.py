"""Puts a garment on a person by geometry alone: warp, inpaint, shade, composite."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from worker import verdict
from worker.cloth.garment import BACKGROUND, Garment
from worker.cloth.landmarks import GarmentLandmarks
from worker.geometric import body as bodies
from worker.geometric import fit, rating, shade, uncover
from worker.geometric.body import SIDES
from worker.geometric.pattern import Pattern, take_apart
from worker.geometric.place import Match, Placement, Segment, place
from worker.geometric.tail import hood, refuse_coat, tail
from worker.geometric.uncover import Plate
from worker.geometric.warp import fit_spline, folded_share, refuse_folds, sampling_map, stretched_share
from worker.images.arrays import Canvas, Flags, Floats, Labels, Mask
from worker.images.fingers import hand_area
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Part, Pose, has_label
from worker.images.regions import regions_that_touch, without_small_regions
from worker.images.shapes import window
from worker.verdict import Verdict

_SMOOTHINGS = (1e-3, 2e-2, 0.2)  # of the spline: the next one is tried when a part folds
_CREASED = 0.03  # share of a part's area that may be turned over before a smoother spline is tried
_CARRIED, _CARRIED_WIDTH = 0.25, 0.06  # carried things, units of Body.size: side of their area, least width
_BESIDE = (Part.BACKGROUND, Part.NECK, Part.LEFT_ARM, Part.RIGHT_ARM)  # labels without old garment
_ROUNDING = 0.06  # sigma that rounds the silhouette taken over from the old garment, units of Body.size
_BESIDE_REACH = 0.15  # distance from the old garment where remains of it are looked for, units of Body.size
_SHOULDER_RADIUS = 0.9  # of the round of the shoulder that a sleeve may cover, widths of the arm there
_REACH = 45  # pixels around the convex hull of a part's points where the part may be visible
_MARGIN = 120  # pixels around a part's points that it is warped for: as far as `fit.rims` may extend it
_FEATHER_REACH = 12  # pixels over which an area's feathered edge can extend
_MIN_REGION = 0.01  # area of a bare arm, in units of Body.size squared: smaller regions are, say, buttons


@dataclass(frozen=True)
class TryOn:
    """A person wearing a garment.

    Attributes:
        image: RGB uint8 (1024, 768, 3); equal to the person's picture where `region` is 0.
        region: uint8 (1024, 768), the alpha of the change.
        warped: RGB uint8 (1024, 768, 3), the warped garment alone, on light grey.
        warped_mask: uint8 (1024, 768), its alpha.
        visible: uint8 (1024, 768), the garment's alpha where nothing is in front of it.
        verdict: the measured values, the score and the warnings.
    """

    image: Canvas
    region: Mask
    warped: Canvas
    warped_mask: Mask
    visible: Mask
    verdict: Verdict

    @property
    def warnings(self) -> list[str]:
        """What may look wrong, as sentences."""
        return self.verdict.warnings


@dataclass
class Layer:
    """A part of the garment on the canvas: colour float32 (h, w, 3), alpha float32 (h, w).

    `folded` and `stretched` are the shares of it that its warp turned over or tore.
    """

    colour: Floats
    alpha: Floats
    folded: float = 0.0
    stretched: float = 0.0

    @classmethod
    def empty(cls, height: int, width: int) -> "Layer":
        """Return a transparent layer."""
        return cls(np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32))


@dataclass(frozen=True)
class _Person:
    """The person in the photograph.

    Attributes:
        image: RGB uint8 (1024, 768, 3).
        pose: the joints.
        parse: CIHP labels, uint8 (1024, 768); the parts of the old garment that stay on are labelled as hat
            or skirt.
        mask: uint8 (1024, 768), 128 and more is person.
        body: the body's measures.
        cloth: bool (1024, 768), the old garment that is removed.
    """

    image: Canvas
    pose: Pose
    parse: Labels
    mask: Mask
    body: bodies.Body
    cloth: Flags


@dataclass(frozen=True)
class _Composite:
    """The picture with the garment, and the alpha of what is in it.

    Attributes:
        picture: float32 (1024, 768, 3).
        garment: float32 (1024, 768), the visible garment.
        head: float32 (1024, 768), what is in front of everything: head, hair, scarf, carried things.
        hands: float32 (1024, 768), bare arms and hands in front of the garment.
    """

    picture: Floats
    garment: Floats
    head: Floats
    hands: Floats


def try_on(
    image_rgb: Canvas, pose: Pose, parse: Labels, person_mask: Mask, garment: Garment, *, seed: int
) -> TryOn:
    """Return the person wearing the garment.

    Args:
        image_rgb: the person on the canvas, RGB uint8 (1024, 768, 3).
        pose: the joints.
        parse: CIHP labels, uint8 (1024, 768).
        person_mask: uint8 (1024, 768), 128 and more is person.
        garment: the upper-body garment to put on.
        seed: of the grain of inpainted skin and background; the same seed gives the same bytes.

    Raises PoseError when a shoulder is missing, SynthesisError when the garment would fold over itself or
    tear.
    """
    body = bodies.measure(pose, parse, person_mask)
    pattern = take_apart(garment)
    clothes = has_label(parse, bodies.CLOTHES)
    dress = np.count_nonzero(parse == Part.DRESS) / max(1, int(np.count_nonzero(clothes)))
    placement = place(pattern, body, clothes, parse == Part.DRESS)
    # The parts of the old garment that stay on get another label.
    parse = np.where(hood(parse, body), np.uint8(Part.HAT), parse)
    kept = tail(parse, body, placement)
    refuse_coat(parse, kept, body)
    parse = np.where(kept, np.uint8(Part.SKIRT), parse)
    person = _Person(image_rgb, pose, parse, person_mask, body, has_label(parse, bodies.CLOTHES))

    layers = _warped_layers(pattern, person, placement)
    _extend(layers, person, placement)
    exposure = shade.exposure(image_rgb)
    light = shade.light(image_rgb, person.cloth) * exposure
    hands = hand_area(pose.left_hand, parse.shape) | hand_area(pose.right_hand, parse.shape)
    rng = np.random.default_rng(seed)
    plate = uncover.plate(image_rgb, parse, person_mask, body, placement, light, hands, rng)
    composite = _composited(person, placement, layers, light, plate)

    filled = cv2.GaussianBlur(plate.filled.astype(np.float32), (0, 0), 1.0)
    alpha = np.maximum(composite.garment, filled * (1 - composite.head))
    region = np.round(np.where(alpha < 1 / 255, 0, alpha) * 255).astype(np.uint8)
    result = np.clip(np.round(composite.picture), 0, 255).astype(np.uint8)
    np.copyto(result, image_rgb, where=(region == 0)[..., None])
    warped, warped_mask = _garment_alone(layers)
    return TryOn(
        result,
        region,
        warped,
        warped_mask,
        np.round(composite.garment * 255).astype(np.uint8),
        _rated(
            _verdict(person, garment, layers, plate, composite, result, region, exposure),
            dress,
            garment.landmarks,
            body,
        ),
    )


def _warped_layers(pattern: Pattern, person: _Person, placement: Placement) -> dict[str, Layer]:
    """Return the garment's warped parts, from back to front: "trunk", then the sleeves by side."""
    layers = {"trunk": _warped_part(pattern.colour, pattern.trunk, placement.trunk, "trunk")}
    for side, segments in placement.sleeves.items():
        arm = person.body.arms[side]
        layers[side] = _warped_sleeve(
            pattern.colour, pattern.sleeves[side].alpha, segments, arm, person.cloth
        )
    return layers


def _extend(layers: dict[str, Layer], person: _Person, placement: Placement) -> None:
    """Extend the layers, in place, to the old garment's silhouette and under each other's seams."""
    parse, trunk = person.parse, layers["trunk"]
    sleeves = {side: layer for side, layer in layers.items() if side != "trunk"}
    worn = fit.Worn(
        cloth=person.cloth,
        bare=has_label(parse, (Part.LEFT_ARM, Part.RIGHT_ARM)),
        lower=has_label(parse, uncover.LOWER),
        neck=parse == Part.NECK,
        coat=parse == Part.COAT,
    )
    sleeve_alphas = {side: layer.alpha for side, layer in sleeves.items()}
    rims = fit.rims(trunk.alpha, sleeve_alphas, worn, person.body, placement)
    for name, layer in layers.items():
        own = layer.alpha > 0.5
        # The stairs of label edges and the old garment's ruffles and puffs are rounded off.
        sigma = _ROUNDING * person.body.size
        part = window(rims[name], 4 * sigma)
        extended = own | rims[name]
        if rims[name].any():
            rounded = cv2.GaussianBlur(extended[part].astype(np.float32), (0, 0), sigma) > 0.5
            extended[part] = own[part] | (rounded & rims[name][part])
        layer.alpha = np.maximum(layer.alpha, _feathered(extended))
    for layer in sleeves.values():
        # The trunk continues under the seam, so that nothing shows through two feathered edges.
        joint = fit.within(trunk.alpha, 12) & fit.within(layer.alpha, 6)
        trunk.alpha = np.maximum(trunk.alpha, _feathered(joint | (trunk.alpha > 0.5)))


def _composited(
    person: _Person, placement: Placement, layers: dict[str, Layer], light: Floats, plate: Plate
) -> _Composite:
    """Return the layers composited on the person without the old garment.

    From back to front: trunk, arms in front of the trunk, sleeves, hands, hair and head.
    """
    parse, body, base = person.parse, person.body, plate.picture
    picture = base.copy()
    garment = np.zeros(parse.shape, np.float32)
    front = _front_arms(parse, body, placement.cuff, plate.filled & plate.arms)
    for name, layer in layers.items():
        _composite(picture, layer.colour, layer.alpha, light)
        garment = np.maximum(garment, layer.alpha)
        if name == "trunk":
            _composite(picture, base, front)
            garment *= 1 - front
    head = np.maximum(_head(parse, person.cloth, body), _carried(parse, person.mask, person.cloth, body))
    hands = _hands(parse, body, placement)
    _composite(picture, base, hands)
    _composite(picture, person.image.astype(np.float32), head)
    garment *= (1 - hands) * (1 - head)
    return _Composite(picture, garment, head, hands)


def _garment_alone(layers: dict[str, Layer]) -> tuple[Canvas, Mask]:
    """Return the warped garment on light grey, RGB uint8 (1024, 768, 3), and its alpha, uint8 (1024, 768)."""
    picture = np.full((HEIGHT, WIDTH, 3), float(BACKGROUND), np.float32)
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    for layer in layers.values():
        _composite(picture, layer.colour, layer.alpha)
        alpha = np.maximum(alpha, layer.alpha)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8), np.round(alpha * 255).astype(np.uint8)


def _verdict(
    person: _Person,
    garment: Garment,
    layers: dict[str, Layer],
    plate: Plate,
    composite: _Composite,
    result: Canvas,
    region: Mask,
    exposure: float,
) -> Verdict:
    before, worn = person.image, composite.garment
    not_head = composite.head < 0.5
    guessed = plate.guessed & (worn < 0.5) & not_head & (composite.hands < 0.5)
    reach = round(_BESIDE_REACH * person.body.size)
    beside = has_label(person.parse, _BESIDE)
    lower = has_label(person.parse, uncover.LOWER)
    return verdict.judge(
        {
            "changed": verdict.changed_share(before, result, region),
            "colour": verdict.colour_distance(garment.image, garment.mask, result, worn > 0.95, exposure),
            "outside": verdict.changed_outside(before, result, region),
            "left": verdict.left_over(before, region, person.cloth & not_head, beside, reach),
            "guessed": verdict.guessed_share(guessed, worn),
            "hands": verdict.hands_covered(before, result, person.pose, lower),
            "folded": max(layer.folded for layer in layers.values()),
            "stretched": max(layer.stretched for layer in layers.values()),
            "landmarks": verdict.landmark_confidence(garment.landmarks),
            "pose": verdict.pose_confidence(person.pose),
        },
        _warnings(person.body),
    )


def _rated(checked: Verdict, dress: float, landmarks: GarmentLandmarks, body: bodies.Body) -> Verdict:
    """Return the verdict with the probability that the picture can be shown.

    dress: share of the old garment that is a dress, 0..1.
    """
    points = landmarks.points
    shoulders, chest = (
        float(np.linalg.norm(points[f"l_{name}"] - points[f"r_{name}"])) for name in ("shoulder", "armpit")
    )
    values = {
        "guessed": checked.checks["guessed"].value,
        "stretched": checked.checks["stretched"].value,
        "kept_dress": dress,
        "long_sleeves": float(landmarks.sleeve == "long"),
        "shoulder_width": shoulders / max(chest, 1.0),
        "body_size": body.size / WIDTH,
    }
    return replace(checked, probability=rating.probability(values), reason=rating.reason(values))


def _warped_sleeve(
    colour: Canvas, alpha: Floats, segments: list[Segment], arm: bodies.Arm | None, cloth: Flags
) -> Layer:
    """Return a sleeve: its segments warped and composited."""
    whole = Layer.empty(HEIGHT, WIDTH)
    for segment in segments:
        visible = None
        if arm is None:
            # Of the sleeve on a hidden arm only what the old garment shows is visible.
            visible = fit.within(cloth, 10)
        elif segment.first is not None and segment.last is not None:
            band = arm.band((HEIGHT, WIDTH), skin=False, first=segment.first, last=segment.last)
            if segment.first == 0.0:
                # The band begins at the joint; the sleeve begins above it.
                radius = round(_SHOULDER_RADIUS * float(arm.outer[0] + arm.inner[0]))
                cv2.circle(band, tuple(int(v) for v in arm.centre[0]), radius, 255, -1)
            visible = fit.within(band / 255, 8)
        piece = _warped_part(colour, alpha, segment.match, "sleeve", visible)
        # Colours continue beyond the alpha, because the sleeve may be extended later.
        if segment is segments[0]:
            whole.colour = piece.colour
        else:
            own = fit.within(piece.alpha, 30) & ~fit.within(whole.alpha, 1)
            np.copyto(whole.colour, piece.colour, where=own[..., None])
            _composite(whole.colour, piece.colour, np.where(own, 0, piece.alpha))
        whole.alpha = np.maximum(whole.alpha, piece.alpha)
        whole.folded = max(whole.folded, piece.folded)
        whole.stretched = max(whole.stretched, piece.stretched)
    return whole


def _warped_part(
    colour: Canvas, alpha: Floats, match: Match, part: str, visible: Flags | None = None
) -> Layer:
    """Return a part of the garment warped so that its points are where the body has them.

    visible: bool (h, w), where on the canvas it may be visible; None for everywhere.

    Raises SynthesisError when it would fold over itself or tear where it is visible.
    """
    height, width = alpha.shape
    margin = _MARGIN
    low = np.floor(match.body.min(0) - margin).astype(int)
    high = np.ceil(match.body.max(0) + margin).astype(int)
    x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
    x1, y1 = min(width, int(high[0])), min(height, int(high[1]))
    layer = Layer.empty(height, width)
    if x1 - x0 < 8 or y1 - y0 < 8:
        return layer
    hull = cv2.convexHull(np.round(match.body - (x0, y0)).astype(np.int32))
    covered = cv2.fillConvexPoly(np.zeros((y1 - y0, x1 - x0), np.uint8), hull, 1)
    near = fit.within(np.asarray(covered > 0), _REACH)
    for smoothing in _SMOOTHINGS:
        positions = sampling_map(fit_spline(match.body, match.garment, smoothing=smoothing), (x0, y0, x1, y1))
        px, py = np.ascontiguousarray(positions[..., 0]), np.ascontiguousarray(positions[..., 1])
        share = np.asarray(
            cv2.remap(alpha, px, py, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        )
        # Far from its points a spline is arbitrary.
        share = share * near
        if visible is not None:
            share = share * _feathered(visible[y0:y1, x0:x1])
        inside = np.asarray(share > 0.5)
        if folded_share(positions, inside) < _CREASED:
            break
    refuse_folds(positions, inside, part)
    layer.colour[y0:y1, x0:x1] = cv2.remap(colour, px, py, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    layer.alpha[y0:y1, x0:x1] = share
    layer.folded = folded_share(positions, inside)
    layer.stretched = stretched_share(positions, inside)
    return layer


def _composite(picture: Floats, colour: Floats, alpha: Floats, light: Floats | None = None) -> None:
    """Composite a colour on the picture, in place; `light`, (h, w), multiplies the colour."""
    part = window(alpha > 0)
    change = colour[part] * light[part][..., None] if light is not None else colour[part].astype(np.float32)
    change -= picture[part]
    change *= alpha[part][..., None]
    picture[part] += change


def _feathered(area: Flags, sigma: float = 1.2) -> Floats:
    """Return an area's alpha with smooth edges, float32: label maps have stairs for edges."""
    part = window(area, _FEATHER_REACH)
    feathered = np.zeros(area.shape, np.float32)
    if area.any():
        blurred = cv2.GaussianBlur(area[part].astype(np.float32), (0, 0), 2.5)
        feathered[part] = np.clip((blurred - 0.5) * 2.5 / sigma + 0.5, 0, 1)
    return feathered


def _bare_arms(parse: Labels, body: bodies.Body) -> Flags:
    """Return where bare arms, hands or gloves are, without small regions such as buttons, bool."""
    area = has_label(parse, (Part.LEFT_ARM, Part.RIGHT_ARM, Part.GLOVE))
    return without_small_regions(area, int(_MIN_REGION * body.size**2) + 1)


def _front_arms(parse: Labels, body: bodies.Body, cuff: dict[str, float], inpainted: Flags) -> Floats:
    """Return the alpha of arms in front of the trunk: bare ones by label, inpainted ones where a sleeve was.

    inpainted: bool (1024, 768), where bare arms were inpainted.
    """
    area = _bare_arms(parse, body)
    for side in SIDES:
        arm = body.arms[side]
        if arm is not None and side in cuff:
            # A bare shoulder is under the new sleeve and the trunk to which it is sewn.
            area &= ~_shoulder(arm, cuff[side], body)
            area &= arm.band((HEIGHT, WIDTH), skin=False, last=cuff[side]) == 0
        # An arm whose forearm is behind the back is behind the trunk.
        if arm is not None and not arm.hidden:
            first = max(0.4, cuff.get(side, 0.0) - 0.1)
            area |= inpainted & (arm.band((HEIGHT, WIDTH), skin=True, first=first) > 0)
    return _feathered(area)


def _shoulder(arm: bodies.Arm, cuff: float, body: bodies.Body) -> Flags:
    """Return the round of the shoulder that a sleeve covers, bool."""
    upper = arm.band((HEIGHT, WIDTH), skin=False, last=min(0.6 * cuff, 0.3))
    return fit.within(upper / 255, 0.3 * body.size)


def _hands(parse: Labels, body: bodies.Body, placement: Placement) -> Floats:
    """Return the alpha of the bare arms that no sleeve covers: they are in front of everything."""
    area = _bare_arms(parse, body)
    for side in SIDES:
        arm = body.arms[side]
        if arm is not None and placement.longer.get(side, False):
            covered = arm.band((HEIGHT, WIDTH), skin=False, last=placement.cuff[side] + 0.03)
            area &= cv2.dilate(covered, np.ones((25, 25), np.uint8)) == 0
            area &= ~_shoulder(arm, placement.cuff[side], body)
    return _feathered(area) if placement.sleeves else np.zeros(parse.shape, np.float32)


def _head(parse: Labels, cloth: Flags, body: bodies.Body) -> Floats:
    """Return the alpha of the head and of what hangs in front of the garment, hair or a scarf."""
    head = has_label(parse, (Part.HAIR, Part.FACE, Part.HAT, Part.SUNGLASSES, Part.SCARF))
    # Glasses that hang on the old garment, and buttons labelled as hair, are removed with it.
    above_shoulders = np.broadcast_to(np.arange(len(parse))[:, None] < body.neck[1], parse.shape)
    head = regions_that_touch(head, above_shoulders)
    face = np.flatnonzero((parse == Part.FACE).any(1))
    if len(face):
        head[face[-1] + 1 :] &= parse[face[-1] + 1 :] != Part.SUNGLASSES
    # Where chin or hair meet the old garment, the outermost pixels have that garment's colour.
    chin = (parse == Part.FACE) & uncover.dilated(cloth, uncover.SKIN_RIM)
    return _feathered(head & ~uncover.dilated(cloth, uncover.RIM) & ~chin)


def _carried(parse: Labels, person: Mask, cloth: Flags, body: bodies.Body) -> Floats:
    """Return the alpha of bags and other things carried in front of the body, float32 (h, w).

    They have the label background inside the person's mask.
    """
    width = round(_CARRIED_WIDTH * body.size)
    things = ((parse == Part.BACKGROUND) & (person >= 128)).astype(np.uint8)
    opened = cv2.morphologyEx(things, cv2.MORPH_OPEN, np.ones((width, width), np.uint8)) > 0
    large = without_small_regions(np.asarray(opened), int((_CARRIED * body.size) ** 2) + 1)
    return _feathered(large & ~uncover.dilated(cloth, uncover.RIM))


def _warnings(body: bodies.Body) -> list[str]:
    warnings = []
    if not body.facing:
        warnings.append("The person is seen from behind; the garment's front is shown.")
    if any(arm is None for arm in body.arms.values()):
        warnings.append("An arm is not visible; its sleeve is placed where the old garment is.")
    return warnings
