"""Estimates the kind of part that each pixel of a person shows, from positions and colours.

The prior of a part's position comes from the joints, and from a trained network where there is one. The
likelihood of its colour is learnt from the picture itself: skin from the face, hair from above it, garments
from torso and thighs. Both are combined in a few rounds and smoothed over superpixels and along edges.
"""

from collections.abc import Iterable
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import ParsingError
from worker.images.arrays import Canvas, Flags, Floats, Image, Indices, Labels, Mask, Points
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Body25, Part, Pose
from worker.images.regions import regions_that_touch, without_small_regions
from worker.parsing.body import distance, measure
from worker.parsing.colour import BinNumbers, ColourModel, bin_numbers, divergence
from worker.parsing.superpixels import Superpixels

SHRINK = 2
"""The working grid is this many times coarser than the canvas."""

COLOUR_WEIGHT = 0.8
"""Exponent of the colour likelihood when the prior comes from the joints alone."""

COLOUR_WEIGHT_WITH_NETWORK = 0.5
"""The same when a trained network's scores are part of the prior.

This and the next two values were chosen on 20 of the validation photographs and VITON-HD's four people.
"""

JOINT_WEIGHT_WITH_NETWORK = 0.2
"""Exponent of the joints' prior beside the network's scores."""

MIN_NETWORK_SCORE = 0.03
"""Added to the network's scores: it is never certain that a part is absent."""

ROUNDS = 3
"""How many times labels are estimated; between them the colours are learnt again from the last labels."""


class Kind(IntEnum):
    """The kinds of parts that are distinguished; the nearer limb gives the side of the body afterwards."""

    HAIR = 0
    FACE = 1
    NECK = 2
    UPPER = 3
    LOWER = 4
    ARM = 5
    LEG = 6
    SHOE = 7
    OTHER = 8


_SKIN = (Kind.FACE, Kind.NECK, Kind.ARM, Kind.LEG)


class Scene:
    """One picture on the working grid, cropped to the person.

    Args:
        image_rgb: uint8 (1024, 768, 3).
        pose: the person's joints on the canvas, with both shoulders.
        person_mask: uint8 (1024, 768), the confidence that a pixel is person; 128 and more is person.
        network_scores: float32 (256, 192, kinds), a trained network's confidence of each kind, 0..1.

    Raises ParsingError when the mask is empty or a shoulder is missing.
    """

    def __init__(
        self, image_rgb: Canvas, pose: Pose, person_mask: Mask, network_scores: Floats | None = None
    ) -> None:
        if not (pose.seen(Body25.R_SHOULDER) and pose.seen(Body25.L_SHOULDER)):
            raise ParsingError(
                "The person's parts cannot be separated without both shoulders; use a photograph that "
                "shows the person from the front."
            )
        size = (WIDTH // SHRINK, HEIGHT // SHRINK)
        person = np.asarray(cv2.resize(person_mask, size, interpolation=cv2.INTER_AREA) >= 128)
        self.box = _box(person)
        top, bottom, left, right = self.box
        small = np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        self.rgb: Image = small[top:bottom, left:right]
        self.person: Flags = person[top:bottom, left:right]
        self.body = measure(pose, 1 / SHRINK)
        self.bins = bin_numbers(self.rgb)
        self.network_scores: Floats | None = None
        if network_scores is not None:
            planes = [
                cv2.resize(network_scores[..., kind], size, interpolation=cv2.INTER_LINEAR) for kind in Kind
            ]
            self.network_scores = np.stack([plane[top:bottom, left:right] for plane in planes])
        rows, columns = self.person.shape
        y, x = np.mgrid[top : top + rows, left : left + columns].astype(np.float32)
        self.x, self.y = x + 0.5, y + 0.5
        self._measure_positions()

    def _measure_positions(self) -> None:
        """Compute the coordinates and distance fields of which the priors consist."""
        body, x, y = self.body, self.x, self.y
        head = body.head

        # Python's numbers, unlike NumPy's, leave float32 arrays float32.
        (face_x, face_y), up = body.face_centre.tolist(), body.face_up.tolist()
        across = (-up[1], up[0])
        dx, dy = x - face_x, y - face_y
        self.above = (dx * up[0] + dy * up[1]) / head  # 0 at the face's middle, 0.5 at the hairline
        self.beside = (dx * across[0] + dy * across[1]) / head
        self.face_radius = _length(self.beside * head / body.face_width, self.above / 0.54)
        self.head_distance = _length(dx, dy) / head

        down = ((body.hips - body.neck) / body.torso).tolist()
        left = (down[1], -down[0])
        neck_x, neck_y = body.neck.tolist()
        tx, ty = x - neck_x, y - neck_y
        self.along = (tx * down[0] + ty * down[1]) / body.torso  # 0 at the shoulders, 1 at the hips
        self.lateral = (tx * left[0] + ty * left[1]) / head
        self.half_width = max(float(np.linalg.norm(body.shoulders[0] - body.shoulders[1])) / head / 2, 0.45)

        far = np.full(x.shape, 99, np.float32)
        zero = np.zeros_like(far)
        arms = [(far, zero) if limb is None else distance(limb, x, y) for limb in body.arms]
        legs = [distance(limb, x, y) for limb in body.legs]
        self.arms, self.arm_positions = [arm[0] for arm in arms], [arm[1] for arm in arms]
        self.legs, self.leg_positions = [leg[0] for leg in legs], [leg[1] for leg in legs]
        self.hands = [
            far if hand is None else _length(x - float(hand[0]), y - float(hand[1])) / (0.45 * head)
            for hand in body.hands
        ]
        self.feet = [far if limb is None else distance(limb, x, y)[0] for limb in body.feet]
        self.arm = np.minimum(*self.arms)
        self.hand = np.minimum(*self.hands)
        self.leg = np.minimum(*self.legs)
        self.foot = np.minimum(*self.feet)

    def solve(self) -> Floats:
        """Return each pixel's posterior of the kinds, float32 (kinds, h, w)."""
        whole = ColourModel.of_all(self.bins[self.person])
        skin, hair = self._skin_and_hair()
        clothes = self.person & (self.face_radius > 1.1) & (self._skin_share(skin, hair, whole) < 0.5)
        self.waist, self.contrast = self._waistline(clothes)
        # Below a waistline there is a lower garment, at least as long as shorts; below the hem of a coat
        # or a dress the legs may be bare at once.
        self.bare_legs_from = max(self.waist + 0.3, 1.15) if self.waist < 1.05 else self.waist
        prior = self._prior()[:, self.person]
        bins = self.bins[self.person]
        models = self._first_models(skin, hair, clothes, whole)
        superpixels = Superpixels(self.rgb, self.person)
        colour_weight = COLOUR_WEIGHT if self.network_scores is None else COLOUR_WEIGHT_WITH_NETWORK
        for round_ in range(ROUNDS):
            likelihood = np.stack([models[kind].likelihood(bins) for kind in Kind])
            weighted = prior * (likelihood + 1e-7) ** colour_weight
            of_person = superpixels.smoothed(weighted / weighted.sum(0))
            if round_ < ROUNDS - 1:
                models = self._learnt(of_person, models, whole, skin)
            if round_ == ROUNDS - 2:
                prior = self._covered_from_the_root(prior, of_person)
        posterior = self._smoothed_along_edges(of_person)
        # A trained network knows polo necks, straps and shaded skin better than rules about colours.
        if self.network_scores is None:
            posterior = self._without_foreign_colours(posterior)
        return self._without_islands(posterior)

    def _without_foreign_colours(self, posterior: Floats) -> Floats:
        """Return the posterior with pixels of neither hair's nor skin's colour labelled as clothes.

        A dark polo neck is where a neck may be, a stiff collar where hair may be, a strap where an arm is.
        """
        kinds = np.where(self.person, best_kinds(posterior), -1)
        foreign = self._unlike_skin(kinds)
        low = (kinds == Kind.HAIR) & (self.above < -0.15)
        crown = (kinds == Kind.HAIR) & (self.above > 0.1)
        # Single strands may be black or shine; the blurred picture shows the colour of the hair.
        bins = bin_numbers(np.asarray(cv2.blur(self.rgb, (9, 9)), np.uint8))
        hair = ColourModel.of(bins[crown], np.ones(int(crown.sum())), (1.8, 1.0, 1.0))
        if hair is not None:
            foreign |= low & (hair.likelihood(bins) < 0.02 * hair.density.max())
        mostly_foreign = cv2.blur(foreign.astype(np.float32), (7, 7)) > 0.5
        cleaned = posterior.copy()
        replaceable = np.isin(kinds, (Kind.NECK, Kind.ARM, Kind.HAIR, Kind.FACE))
        cleaned[Kind.UPPER][mostly_foreign & replaceable] += 1
        return cleaned

    def _unlike_skin(self, kinds: Indices) -> Flags:
        """Return the pixels of neck, arms and chin whose colour differs from the face's skin, bool (h, w)."""
        face = kinds == Kind.FACE
        if face.sum() <= 30:
            return np.zeros_like(self.person)
        lab = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
        below_chin = self.above < -0.42
        tone = np.median(lab[face], axis=0)
        # In shadow skin keeps its hue, and its chroma falls with its lightness.
        expected = (tone[1:] - 128) * np.clip(lab[..., :1] / tone[0], 0, 1)
        off = np.linalg.norm(lab[..., 1:] - 128 - expected, axis=-1)
        foreign = off > np.maximum(11, 0.72 * np.linalg.norm(expected, axis=-1))
        foreign |= (lab[..., 0] > 1.05 * tone[0]) & (off > 0.55 * np.linalg.norm(tone[1:] - 128))
        foreign |= lab[..., 0] < 0.36 * tone[0]
        # A hand may wear a glove, which is rarely white.
        glove = (self.hand < 0.9) & (lab[..., 0] < tone[0])
        bare = (kinds == Kind.NECK) & below_chin
        bare |= (kinds == Kind.ARM) & ~glove
        # The chin's shadow and a beard belong to the face; a bright collar below it does not.
        return np.asarray((bare & foreign) | (face & below_chin & (off > 24)))

    def _without_islands(self, posterior: Floats) -> Floats:
        """Return the posterior without regions too small for a part, and without hair away from the head."""
        cleaned = posterior.copy()
        min_pixels = int(np.ceil(0.04 * self.body.head**2))
        head = self.head_distance < 0.9
        throat = self.along < 0.15
        for _ in range(2):
            kinds = np.where(self.person, best_kinds(cleaned), -1)
            for kind in Kind:
                area = kinds == kind
                if not area.any():
                    continue
                valid = without_small_regions(area, min_pixels)
                if kind in (Kind.HAIR, Kind.FACE):
                    valid &= regions_that_touch(area, head)
                elif kind is Kind.NECK:
                    # Skin on the chest that is not connected with the throat is a raised hand.
                    valid &= regions_that_touch(area, throat)
                    cleaned[Kind.ARM][area & ~valid] += 1
                cleaned[kind][area & ~valid] = 0
        return cleaned + 1e-9

    def lower_is_skirt(self, kinds: NDArray[np.int8]) -> bool:
        """Whether the lower garment is a skirt; kinds are those of the working grid.

        It is a skirt when the legs are bare below it and, just above its hem, it also fills the gap
        between the legs. Shorts leave the gap open, trousers leave no bare leg.
        """
        rows, columns = kinds.shape
        garment = self.person & (kinds == Kind.LOWER)
        bare = self.person & (kinds == Kind.LEG)
        top, _, left, _ = self.box
        hems, bare_lengths = [], []
        right_leg, left_leg = (limb.joints for limb in self.body.legs)
        steps = np.linspace(0, 2, 81)  # 0 at the hip, 1 at the knee, 2 at the ankle

        def pick(area: Flags, points: Points) -> Flags:
            x, y = (points - [left, top]).astype(int).T
            inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
            return np.where(inside, area[np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)], False)

        def along(joints: Points) -> Points:
            return np.stack([np.interp(steps, [0, 1, 2], joints[:, i]) for i in range(2)], 1)

        for joints in (right_leg, left_leg):
            covered = steps[pick(garment, along(joints))]
            hems.append(covered.max(initial=0))
            bare_lengths.append(pick(bare, along(joints)).mean())
        if min(bare_lengths) < 0.05:
            return False
        between = pick(garment, along((right_leg + left_leg) / 2))
        hem = min(hems)
        just_above = (steps > hem - 0.25) & (steps < hem - 0.02)
        return bool(just_above.any() and between[just_above].mean() > 0.6)

    # Colours -----------------------------------------------------------------------------------------

    def _skin_and_hair(self) -> tuple[ColourModel, ColourModel | None]:
        """Return the first models of skin, from the middle of the face, and of hair, from around it."""
        cheeks = self.person & (np.hypot(self.beside, self.above + 0.08) < 0.26)
        if cheeks.sum() < 30:
            raise ParsingError(
                "The person's face is not where the pose has it; use a photograph in which the face is "
                "seen from the front and is not covered."
            )
        # Eyes, brows, lips and glasses are in this area too: only colours near the median are used.
        colours = self.rgb[cheeks]
        lab = cv2.cvtColor(colours[None], cv2.COLOR_RGB2LAB)[0].astype(np.float32)
        off = np.abs(lab - np.median(lab, 0)) / np.array([30, 9, 11])
        skin = _lit_and_shaded(colours[np.square(off).sum(-1) < 1.5])
        if skin is None:
            raise ParsingError(
                "The face's skin colour cannot be estimated; use a brighter, sharper photograph."
            )
        crown = self.person & (self.face_radius > 1.12) & (self.head_distance < 0.95) & (self.above > 0.15)
        likely_skin = skin.likelihood(self.bins) > 0.1 * skin.density.max()
        hair = ColourModel.of(self.bins[crown], np.where(likely_skin[crown], 0.1, 1.0))
        return skin, hair

    def _skin_share(self, skin: ColourModel, hair: ColourModel | None, whole: ColourModel) -> Floats:
        """Return each pixel's likelihood of skin relative to skin and anything else, 0..1."""
        as_skin = skin.likelihood(self.bins)
        other = whole.likelihood(self.bins)
        if hair is not None:
            other = np.maximum(other, 0.5 * hair.likelihood(self.bins))
        return np.asarray(as_skin / (as_skin + other + 1e-7))

    def _first_models(
        self, skin: ColourModel, hair: ColourModel | None, clothes: Flags, whole: ColourModel
    ) -> dict[Kind, ColourModel]:
        """Return the models of the first round; each has a share of the whole person's colours."""
        body_skin = skin.mixed(whole, 0.02)
        other = None
        if self.network_scores is not None:
            scores = np.square(self.network_scores[:, self.person])
            upper, lower, shoe, network_hair, other = (
                ColourModel.of(self.bins[self.person], scores[kind])
                for kind in (Kind.UPPER, Kind.LOWER, Kind.SHOE, Kind.HAIR, Kind.OTHER)
            )
            hair = network_hair or hair
        else:
            upper, lower, shoe = self._garment_models(clothes)
        return {
            Kind.HAIR: (hair or whole).mixed(whole, 0.05),
            Kind.FACE: skin.mixed(whole, 0.25),
            Kind.NECK: body_skin,
            Kind.UPPER: (upper or whole).mixed(whole, 0.2),
            Kind.LOWER: (lower or whole).mixed(whole, 0.2),
            Kind.ARM: body_skin,
            Kind.LEG: body_skin,
            Kind.SHOE: (shoe or whole).mixed(whole, 0.3),
            Kind.OTHER: other or whole,
        }

    def _garment_models(
        self, clothes: Flags
    ) -> tuple[ColourModel | None, ColourModel | None, ColourModel | None]:
        """Return the first models of upper and lower clothes and shoes, from their usual positions."""
        inside = clothes & (np.abs(self.lateral) < 0.75 * self.half_width)
        upper = ColourModel.of(
            *self._sample(inside & (self.along > 0.22) & (self.along < self.waist - 0.08) & (self.hand > 1))
        )
        # Directly below the waist even pixels of skin's colour are garment.
        belt = self.person & (self.along > self.waist + 0.06) & (self.along < self.bare_legs_from - 0.02)
        below = (clothes & (self.along > self.waist + 0.08)) | (belt & (self.arm > 1.2))
        lower = ColourModel.of(*self._sample(below & (self.leg < 1.3) & (self.foot > 1.2) & (self.hand > 1)))
        shoe = ColourModel.of(*self._sample(clothes & (self.foot < 1)))
        return upper, lower, shoe

    def _sample(self, chosen: Flags) -> tuple[BinNumbers, Floats]:
        return self.bins[chosen], np.ones(int(chosen.sum()))

    def _learnt(
        self,
        posterior: Floats,
        models: dict[Kind, ColourModel],
        whole: ColourModel,
        skin: ColourModel,
    ) -> dict[Kind, ColourModel]:
        """Return the colour models learnt from the last posterior of the person's pixels, (kinds, n)."""
        bins = self.bins[self.person]
        weights = np.square(posterior)
        learnt = dict(models)
        for kind, share in (
            (Kind.HAIR, 0.05),
            (Kind.UPPER, 0.15),
            (Kind.LOWER, 0.15),
            (Kind.SHOE, 0.2),
        ):
            model = ColourModel.of(bins, weights[kind])
            if model is not None:
                learnt[kind] = model.mixed(whole, share)
        limbs = ColourModel.of(bins, weights[list(_SKIN)].sum(0), (1.6, 1.0, 1.0))
        if limbs is not None:
            # The face stays in the mixture: a shaded limb may extend skin's colours, not replace them.
            body_skin = skin.mixed(limbs, 0.5).mixed(whole, 0.02)
            for kind in (Kind.NECK, Kind.ARM, Kind.LEG):
                learnt[kind] = body_skin
            learnt[Kind.FACE] = skin.mixed(limbs, 0.5).mixed(whole, 0.2)
        return learnt

    def _waistline(self, clothes: Flags) -> tuple[float, float]:
        """Return where along the torso the upper garment ends, and how much the colours differ there, 0..1.

        Every height is tried. The one is taken where the colours of the clothes above and below differ most
        (Jensen-Shannon divergence), weighted by the usual positions of waistlines.
        """
        steps = np.arange(0.05, 3.0, 0.025)
        near = clothes & (np.abs(self.lateral) < 0.8 * self.half_width) & (self.hand > 1) & (self.foot > 1.2)
        lab = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2LAB)[near].astype(int)
        colour = ((lab[:, 0] >> 4) * 32 + (lab[:, 1] >> 3)) * 32 + (lab[:, 2] >> 3)
        row = np.digitize(self.along[near], steps)
        inside = (row > 0) & (row < len(steps))
        used, colour = np.unique(colour[inside], return_inverse=True)
        if len(used) == 0:
            return 0.82, 0.0
        table = np.zeros((len(steps), len(used)))
        np.add.at(table, (row[inside], colour), 1)
        above = table.cumsum(0)
        below = above[-1] - above
        # Few pixels on one side lower the difference: shoes and floor must not outweigh the waist.
        size = np.minimum(above.sum(1), below.sum(1))
        differs = divergence(above, below) * np.clip(size / (0.12 * above[-1].sum()), 0, 1)
        usual = np.exp(-0.5 * ((steps - 0.82) / 0.16) ** 2) + 0.12 * ((steps > 0.45) & (steps < 2.0))
        score = differs + 0.25 * np.log(usual + 1e-6)
        best = int(score.argmax())
        shown = (HEIGHT / SHRINK - self.body.neck[1]) / self.body.torso
        if shown < 1.1 and differs[best] < 0.35:
            # The picture ends at the hips: the visible part of a suit or a coat is one garment.
            return float(shown) + 0.5, 0.0
        if differs[best] < 0.12:
            return 0.82, 0.0
        return float(steps[best]), float(differs[best])

    # Priors ------------------------------------------------------------------------------------------

    def _prior(self) -> Floats:
        """Return each pixel's prior of the kinds, float32 (kinds, h, w)."""
        prior = np.full((len(Kind), *self.x.shape), 1e-4, np.float32)
        below_chin = np.clip((-self.above - 0.45) / 0.1, 0, 1)
        prior[Kind.FACE] += _smooth_step(1.08 - self.face_radius, 0.06)
        self._add_hair(prior, below_chin)
        self._add_neck(prior, below_chin)
        self._add_arms_and_upper_garment(prior, below_chin)
        self._add_lower_body(prior)
        prior[Kind.OTHER] += 0.01
        if self.network_scores is not None:
            prior = self._with_network_scores(prior, self.network_scores)
        return np.asarray(prior / prior.sum(0))

    def _add_hair(self, prior: Floats, below_chin: Floats) -> None:
        """Add the prior of hair in place: it frames the face and may hang beside the neck on the chest."""
        shell = _smooth_step(1.0 - self.head_distance, 0.08) * _smooth_step(self.face_radius - 0.85, 0.08)
        hanging = np.exp(-np.clip(-self.above - 0.5, 0, None) / 0.8) * _smooth_step(
            0.85 - np.abs(self.beside), 0.1
        )
        hanging *= _smooth_step(0.6 - self.above, 0.1) * _smooth_step(self.face_radius - 0.95, 0.06)
        # Dark pixels under the chin are its shadow.
        throat_shadow = 1 - 0.95 * below_chin * _smooth_step(0.29 - np.abs(self.beside), 0.06)
        fringe = 0.3 * _smooth_step(self.above - 0.24, 0.08) * _smooth_step(1.08 - self.face_radius, 0.06)
        prior[Kind.HAIR] += fringe
        prior[Kind.HAIR] += throat_shadow * np.maximum(0.8 * shell * (1 - 0.6 * below_chin), 0.45 * hanging)

    def _add_neck(self, prior: Floats, below_chin: Floats) -> None:
        """Add in place the prior of the neck and of the part of the chest that a neckline shows."""
        in_width = _smooth_step(self.half_width - np.abs(self.lateral), 0.1)
        throat = (
            below_chin
            * _smooth_step(0.4 - np.abs(self.lateral), 0.08)
            * _smooth_step(0.02 - self.along, 0.04)
        )
        chest = _smooth_step(0.4 - self.along, 0.08) * in_width * below_chin
        belly = in_width * below_chin * (self.along < 1.2)
        prior[Kind.NECK] += np.maximum.reduce([0.9 * throat, 0.5 * chest, 0.05 * belly])

    def _add_arms_and_upper_garment(self, prior: Floats, below_chin: Floats) -> None:
        """Add in place the priors of bare arms and of the upper garment on trunk, sleeves and collar."""
        sleeve = _smooth_step(1.9 - self.arm, 0.2)
        prior[Kind.ARM] += np.maximum(
            0.7 * _smooth_step(1.25 - self.arm, 0.15),
            0.9
            * _smooth_step(1.1 - self.hand, 0.15)
            * (1 - 0.8 * _smooth_step(0.85 - self.leg, 0.2) * _smooth_step(self.hand - 0.65, 0.1)),
        )
        over = _smooth_step(self.waist - self.along, self._waist_width())
        trunk = _smooth_step(self.half_width + 0.35 - np.abs(self.lateral), 0.15) * _smooth_step(
            self.along + 0.15, 0.04
        )
        prior[Kind.UPPER] += np.maximum(
            np.maximum(0.6 * sleeve * (1 - 0.7 * _smooth_step(0.8 - self.hand, 0.1)), 0.9 * over * trunk),
            0.08 * trunk * (self.along < 2),
        )
        # Collars, hoods and polo necks reach up to the chin.
        collar = (
            below_chin * _smooth_step(0.6 - np.abs(self.lateral), 0.1) * _smooth_step(0.05 - self.along, 0.05)
        )
        prior[Kind.UPPER] += 0.2 * collar

    def _add_lower_body(self, prior: Floats) -> None:
        """Add in place the priors of the lower garment, bare legs and shoes."""
        under = _smooth_step(self.along - self.waist, self._waist_width())
        skirt = _smooth_step(self.half_width + 0.7 - np.abs(self.lateral), 0.25)
        covered = np.maximum(_smooth_step(1.7 - self.leg, 0.25), skirt * (self.along < 2.2))
        prior[Kind.LOWER] += 0.8 * np.maximum(under, 0.03 * (self.along > 0.4)) * covered
        prior[Kind.LEG] += (
            0.7 * _smooth_step(1.2 - self.leg, 0.15) * _smooth_step(self.along - self.bare_legs_from, 0.05)
        )
        prior[Kind.SHOE] += 0.9 * _smooth_step(1.15 - self.foot, 0.15)

    def _waist_width(self) -> float:
        """Return how gradual the change of garments at the waist is, torso lengths."""
        return 0.06 + 0.1 * (1 - self.contrast)

    def _with_network_scores(self, joint_prior: Floats, network_scores: Floats) -> Floats:
        """Return the prior from the joints' prior and the network's scores."""
        prior = (network_scores + MIN_NETWORK_SCORE) * joint_prior**JOINT_WEIGHT_WITH_NETWORK
        # Skin where a forearm is raised in front of the throat belongs to the arm.
        raised = [
            _smooth_step(1.2 - arm, 0.2) * (position > 1)
            for arm, position in zip(self.arms, self.arm_positions, strict=True)
        ]
        moved = np.maximum(*raised) * prior[Kind.NECK]
        prior[Kind.ARM] += moved
        prior[Kind.NECK] -= moved
        # The network detects lace or fringed sleeves as bags at the shoulder: real bags hang lower.
        apart = [_length(self.x - x, self.y - y) for x, y in self.body.shoulders.tolist()]
        prior[Kind.OTHER] *= 1 - 0.8 * _smooth_step(1.4 - np.minimum(*apart) / self.body.head, 0.3)
        return np.asarray(prior)

    def _covered_from_the_root(self, prior: Floats, posterior: Floats) -> Floats:
        """Return the prior with the limbs bare only beyond the end of their sleeve or trouser leg.

        A limb is covered from its root to one position and bare beyond it. For each limb the position is
        chosen that agrees best with the posterior. This separates blond hair on a shoulder from a bare
        arm, and skin-coloured shorts from thighs.
        """
        prior = prior.copy()
        right_arm, left_arm = self.arms[0] <= self.arms[1], self.arms[1] < self.arms[0]
        arm_position = np.where(right_arm, *self.arm_positions)
        leg_position = np.where(self.legs[0] <= self.legs[1], *self.leg_positions)
        sleeve = (Kind.ARM, [Kind.UPPER, Kind.HAIR], self.arm, arm_position, 0.03)
        # Both trouser legs, or a skirt, end at one height; each sleeve may be pushed up separately.
        hem = (Kind.LEG, [Kind.UPPER, Kind.LOWER], self.leg, leg_position, 0.2)
        everywhere = np.ones_like(right_arm)
        for on_limb, (bare, covers, apart, position, floor) in (
            (right_arm, sleeve),
            (left_arm, sleeve),
            (everywhere, hem),
        ):
            limb, along = on_limb[self.person], position[self.person]
            near = limb & (apart[self.person] < 0.9)
            step = (along[near] * 20).astype(int)
            bareness = posterior[bare, near] - posterior[covers][:, near].sum(0)
            # The gain of labelling a step bare instead of covered; all steps beyond the end are bare.
            gain = np.append(np.bincount(step, bareness, minlength=1), 0)
            end = float(gain[::-1].cumsum()[::-1].argmax()) / 20
            beyond = floor + (1 - floor) * _smooth_step(along - end + 0.05, 0.12)
            prior[bare] *= np.where(limb, beyond, 1)
        return np.asarray(prior / prior.sum(0))

    # Smoothing ---------------------------------------------------------------------------------------

    def _smoothed_along_edges(self, posterior: Floats) -> Floats:
        """Return the posterior of the person's pixels, (kinds, n), on the working grid, (kinds, h, w)."""
        planes = np.zeros((len(Kind), *self.person.shape), np.float32)
        for plane, values in zip(planes, posterior, strict=True):
            plane[self.person] = values
        return _guided(self.rgb, planes, self.person)

    def kinds_at_full_size(self, posterior: Floats) -> Labels:
        """Return the most probable kind of each pixel of the canvas, uint8 (1024, 768).

        posterior: of the working grid, (kinds, h, w). Around it the kind is OTHER.
        """
        top, _, left, _ = self.box
        rows, columns = posterior.shape[1:]
        size = (SHRINK * columns, SHRINK * rows)
        kinds = np.full((HEIGHT, WIDTH), Kind.OTHER, np.uint8)
        window = kinds[SHRINK * top : SHRINK * (top + rows), SHRINK * left : SHRINK * (left + columns)]
        window[:] = best_kinds(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in posterior)
        return kinds

    def check(self, labels: Labels) -> None:
        """Raise ParsingError when too little of the CIHP labels, uint8 (1024, 768), is upper garment."""
        body = self.body
        width = float(np.linalg.norm(body.shoulders[0] - body.shoulders[1]))
        shown = min(body.torso, max(HEIGHT / SHRINK - float(body.neck[1]), 0))
        trunk = max(width, 0.9 * body.head) * shown * SHRINK**2
        if np.isin(labels, (Part.UPPER_CLOTHES, Part.DRESS, Part.COAT)).sum() < 0.2 * trunk:
            raise ParsingError(
                "No upper garment was found on the person; use a photograph in which bags, arms or long hair "
                "do not cover the chest."
            )

    # Names -------------------------------------------------------------------------------------------

    def name_sides(self, kinds: Labels) -> Labels:
        """Return the CIHP labels, uint8 (1024, 768), of kinds (1024, 768); the nearer limb gives the side."""
        part_of = np.zeros(len(Kind), np.uint8)
        part_of[[Kind.HAIR, Kind.FACE, Kind.NECK]] = Part.HAIR, Part.FACE, Part.NECK
        part_of[[Kind.UPPER, Kind.LOWER]] = Part.UPPER_CLOTHES, Part.PANTS
        part_of[[Kind.ARM, Kind.LEG, Kind.SHOE]] = Part.RIGHT_ARM, Part.RIGHT_LEG, Part.RIGHT_SHOE
        labels = part_of[kinds]
        for kind, distances, left in (
            (Kind.ARM, self.arms, Part.LEFT_ARM),
            (Kind.LEG, self.legs, Part.LEFT_LEG),
            (Kind.SHOE, self.feet, Part.LEFT_SHOE),
        ):
            left_is_nearer = self._flags_at_full_size(distances[1] < distances[0])
            labels[(kinds == kind) & left_is_nearer] = left
        return labels

    def _flags_at_full_size(self, flags: Flags) -> Flags:
        """Return the working grid's flags on the canvas, bool (1024, 768); False around them."""
        full = np.zeros((HEIGHT, WIDTH), bool)
        top, _, left, _ = self.box
        big = flags.repeat(SHRINK, 0).repeat(SHRINK, 1)
        rows = min(big.shape[0], HEIGHT - SHRINK * top)
        columns = min(big.shape[1], WIDTH - SHRINK * left)
        full[SHRINK * top : SHRINK * top + rows, SHRINK * left : SHRINK * left + columns] = big[
            :rows, :columns
        ]
        return full


def _box(person: Flags) -> tuple[int, int, int, int]:
    """Return the person's box on the working grid with a margin: top, bottom, left, right."""
    rows, columns = np.flatnonzero(person.any(1)), np.flatnonzero(person.any(0))
    if len(rows) < 20 or len(columns) < 20 or person.sum() < 1000:
        raise ParsingError("The person's mask is empty; use a photograph that shows the person larger.")
    return max(rows[0] - 4, 0), rows[-1] + 5, max(columns[0] - 4, 0), columns[-1] + 5


def _lit_and_shaded(rgb: NDArray[np.uint8]) -> ColourModel | None:
    """Return the colour model of a surface with these pixels, uint8 (n, 3), under more and less light."""
    light = np.array([0.35, 0.5, 0.7, 0.85, 1, 1.2, 1.45, 1.75])
    weights = np.array([0.08, 0.15, 0.3, 0.6, 1, 0.6, 0.3, 0.12])
    # Light scales linear intensities; the pixels are gamma-coded.
    scaled = np.clip(rgb[None] * light[:, None, None] ** (1 / 2.2), 0, 255).astype(np.uint8)
    return ColourModel.of(bin_numbers(scaled).ravel(), np.repeat(weights, len(rgb)), spread=(1.8, 0.9, 1.1))


def best_kinds(posterior: Iterable[Floats]) -> NDArray[np.int8]:
    """Return the number of the plane, (h, w) each, with the highest value at each pixel, int8 (h, w)."""
    planes = iter(posterior)
    highest = np.array(next(planes))
    kinds = np.zeros(highest.shape, np.int8)
    for kind, plane in enumerate(planes, start=1):
        kinds[plane > highest] = kind
        np.maximum(highest, plane, out=highest)
    return kinds


def _length(x: Floats, y: Floats) -> Floats:
    """Return the length of vectors: np.hypot guards against overflow and takes several times as long."""
    return np.asarray(np.sqrt(x * x + y * y))


def _smooth_step(value: Floats, width: float) -> Floats:
    """Return a logistic step at zero, 0..1, that rises within about `width`."""
    return np.asarray(1 / (1 + np.exp(np.clip(-value / (0.5 * width), -30, 30))))


def _guided(rgb: Image, posterior: Floats, inside: Flags, radius: int = 4) -> Floats:
    """Return the posterior smoothed along the picture's edges within the mask `inside`.

    Guided filter (He, Sun, Tang, "Guided Image Filtering", ECCV 2010) with means over the mask only.
    """
    guide = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    mask = inside.astype(np.float32)
    kernel = (2 * radius + 1,) * 2

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, kernel))

    count = np.maximum(mean(mask), 1e-3)
    mean_guide = mean(guide * mask) / count
    variance = mean(guide * guide * mask) / count - mean_guide**2
    smooth = np.empty_like(posterior)
    for plane, smoothed in zip(posterior, smooth, strict=True):
        share = plane * mask
        mean_share = mean(share) / count
        slope = (mean(guide * share) / count - mean_guide * mean_share) / (variance + 1e-3)
        offset = mean_share - slope * mean_guide
        np.maximum((mean(slope * mask) * guide + mean(offset * mask)) / count, 1e-6, out=smoothed)
    return np.asarray(smooth / smooth.sum(0))
