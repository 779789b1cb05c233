"""Weighs what each pixel of a person may be: where parts lie against what they look like.

Where a part may lie comes from the joints, and from a trained network where there is one; what it looks
like is learnt from the picture itself: skin from the face, hair from above it, garments from torso and
thighs. Both are weighed against each other in a few rounds, smoothed over superpixels and along edges.
"""

from enum import IntEnum

import cv2
import numpy as np
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import splu
from skimage.segmentation import slic

from config.errors import ParsingError
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Body25, Part, Pose
from worker.parsing.body import distance, measure
from worker.parsing.colour import ColourModel, bin_numbers, divergence

SHRINK = 2
"""The work is done on a grid this many times coarser than the canvas."""

_COLOURS_SAY = 0.8
"""How much colours weigh against places that the joints alone tell."""

_DOUBT, _JOINTS_SAY_BESIDE, _COLOURS_SAY_BESIDE = 0.03, 0.2, 0.5
"""How sure a trained network never is that a part is not there; how much joints and colours weigh beside it.

Chosen on 20 of the validation photographs and VITON-HD's four people.
"""

_ROUNDS = 3
"""How often colours are learnt anew from the labels found."""


class Kind(IntEnum):
    """What a pixel is weighed as; side by side of the body is told by the nearer limb afterwards."""

    HAIR = 0
    FACE = 1
    NECK = 2
    UPPER = 3
    LOWER = 4
    ARM = 5
    LEG = 6
    SHOE = 7
    OTHER = 8


_C = Kind
_SKIN = (_C.FACE, _C.NECK, _C.ARM, _C.LEG)


class Scene:
    """One picture on the working grid, cropped to the person.

    Args:
        image_rgb: uint8 (1024, 768, 3).
        pose: the person's joints on the canvas, both shoulders among them.
        person_mask: uint8 (1024, 768), 255 where the person is sure to be; 128 and more is person.
        seen: float32 (256, 192, kinds), how sure a trained network is of each kind, 0..1.

    Raises ParsingError when the mask is empty or shoulders are missing.
    """

    def __init__(
        self, image_rgb: np.ndarray, pose: Pose, person_mask: np.ndarray, seen: np.ndarray | None = None
    ) -> None:
        if not (pose.seen(Body25.R_SHOULDER) and pose.seen(Body25.L_SHOULDER)):
            raise ParsingError(
                "The person's parts cannot be told apart without both shoulders; use a photograph that "
                "shows the person from the front."
            )
        size = (WIDTH // SHRINK, HEIGHT // SHRINK)
        person = cv2.resize(person_mask, size, interpolation=cv2.INTER_AREA) >= 128
        self.box = _box(person)
        top, bottom, left, right = self.box
        self.rgb = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA)[top:bottom, left:right]
        self.person = person[top:bottom, left:right]
        self.body = measure(pose, 1 / SHRINK)
        self.bins = bin_numbers(self.rgb)
        self.seen = None
        if seen is not None:
            self.seen = cv2.resize(seen, size, interpolation=cv2.INTER_LINEAR)[top:bottom, left:right]
        rows, columns = self.person.shape
        y, x = np.mgrid[top : top + rows, left : left + columns].astype(np.float32)
        self.x, self.y = x + 0.5, y + 0.5
        self._measure_places()

    def _measure_places(self) -> None:
        """Work out the distance fields that the geometric priors are made of."""
        body, x, y = self.body, self.x, self.y
        head = body.head

        up, across = body.face_up, np.array([-body.face_up[1], body.face_up[0]])
        dx, dy = x - body.face_centre[0], y - body.face_centre[1]
        self.above = (dx * up[0] + dy * up[1]) / head  # 0 at the face's middle, 0.5 at the hairline
        self.beside = (dx * across[0] + dy * across[1]) / head
        self.face_radius = np.hypot(self.beside * head / body.face_width, self.above / 0.54)
        self.head_distance = np.hypot(dx, dy) / head

        down = (body.hips - body.neck) / body.torso
        left = np.array([down[1], -down[0]])
        tx, ty = x - body.neck[0], y - body.neck[1]
        self.along = (tx * down[0] + ty * down[1]) / body.torso  # 0 at the shoulders, 1 at the hips
        self.lateral = (tx * left[0] + ty * left[1]) / head
        self.half_width = max(float(np.linalg.norm(body.shoulders[0] - body.shoulders[1])) / head / 2, 0.45)

        far = np.full(x.shape, 99, np.float32)
        zero = np.zeros_like(far)
        arms = [(far, zero) if limb is None else distance(limb, x, y) for limb in body.arms]
        legs = [distance(limb, x, y) for limb in body.legs]
        self.arms, self.arm_places = [arm[0] for arm in arms], [arm[1] for arm in arms]
        self.legs, self.leg_places = [leg[0] for leg in legs], [leg[1] for leg in legs]
        self.hands = [
            far if hand is None else (np.hypot(x - hand[0], y - hand[1]) / (0.45 * head)).astype(np.float32)
            for hand in body.hands
        ]
        self.feet = [far if limb is None else distance(limb, x, y)[0] for limb in body.feet]
        self.arm = np.minimum(*self.arms)
        self.hand = np.minimum(*self.hands)
        self.leg = np.minimum(*self.legs)
        self.foot = np.minimum(*self.feet)

    def solve(self) -> np.ndarray:
        """Return each pixel's class probabilities, float32 (h, w, classes)."""
        skin, hair = self._skin_and_hair()
        clothes = self.person & (self.face_radius > 1.1) & (self._skin_share(skin, hair) < 0.5)
        self.cut, self.contrast = self._waistline(clothes)
        # Below a waistline a lower garment follows, be it as short as shorts; below a coat's or a dress's
        # hem the legs may be bare at once.
        self.thigh = max(self.cut + 0.3, 1.15) if self.cut < 1.05 else self.cut
        places = self._places()
        whole = ColourModel.of(self.bins[self.person], np.ones(int(self.person.sum())))
        assert whole is not None  # an empty mask was refused

        models = self._first_models(skin, hair, clothes, whole)
        regions = self._regions()
        shares = places
        colours_say = _COLOURS_SAY if self.seen is None else _COLOURS_SAY_BESIDE
        for round_ in range(_ROUNDS):
            evidence = np.stack([models[c].likelihood(self.bins) for c in _C], -1)
            weighed = places * (evidence + 1e-7) ** colours_say
            weighed /= weighed.sum(-1, keepdims=True)
            shares = self._smoothed(weighed, regions)
            if round_ < _ROUNDS - 1:
                models = self._learnt(shares, models, whole, skin)
            if round_ == _ROUNDS - 2:
                places = self._dressed_from_the_root(places, shares)
        # A trained network has seen more polo necks and straps than colours can tell, and more shaded skin.
        return self._without_specks(self._without_strangers(shares) if self.seen is None else shares)

    def _without_strangers(self, shares: np.ndarray) -> np.ndarray:
        """Return the shares with what has neither hair's nor skin's colour given to the clothes.

        A dark polo neck lies where a neck is, a stiff collar where hair may hang, a strap where an arm is.
        """
        classes = np.where(self.person, shares.argmax(-1), -1)
        lab = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
        below_chin = self.above < -0.42
        strange = np.zeros_like(self.person)
        face = classes == _C.FACE
        if face.sum() > 30:
            tone = np.median(lab[face], axis=0)
            # In shadow skin keeps its hue and loses colour with its light; what differs more is no skin.
            expected = (tone[1:] - 128) * np.clip(lab[..., :1] / tone[0], 0, 1)
            off = np.linalg.norm(lab[..., 1:] - 128 - expected, axis=-1)
            foreign = off > np.maximum(11, 0.72 * np.linalg.norm(expected, axis=-1))
            foreign |= (lab[..., 0] > 1.05 * tone[0]) & (off > 0.55 * np.linalg.norm(tone[1:] - 128))
            foreign |= lab[..., 0] < 0.36 * tone[0]
            # A hand may be gloved, but hardly in white.
            glove = (self.hand < 0.9) & (lab[..., 0] < tone[0])
            bare = (classes == _C.NECK) & below_chin
            bare |= (classes == _C.ARM) & ~glove
            # The chin's shade and a beard are the face's; a bright collar under it is not.
            strange |= (bare & foreign) | (face & below_chin & (off > 24))
        low = (classes == _C.HAIR) & (self.above < -0.15)
        crown = (classes == _C.HAIR) & (self.above > 0.1)
        # Single strands may be black or shine; blurred, hair has the colour that is looked for.
        bins = bin_numbers(cv2.blur(self.rgb, (9, 9)))
        hair = ColourModel.of(bins[crown], np.ones(int(crown.sum())), (1.8, 1.0, 1.0))
        if hair is not None:
            strange |= low & (hair.likelihood(bins) < 0.02 * hair.density.max())
        strange = cv2.blur(strange.astype(np.float32), (7, 7)) > 0.5
        cleaned = shares.copy()
        cleaned[strange & np.isin(classes, (_C.NECK, _C.ARM, _C.HAIR, _C.FACE)), _C.UPPER] += 1
        return cleaned

    def _without_specks(self, shares: np.ndarray) -> np.ndarray:
        """Return the shares with islands too small to be a part, and hair off the head, given away."""
        cleaned = shares.copy()
        least = 0.04 * self.body.head**2
        head = (self.head_distance < 0.9).astype(np.uint8)
        for _ in range(2):
            classes = np.where(self.person, cleaned.argmax(-1), -1)
            for c in _C:
                count, islands, stats, _ = cv2.connectedComponentsWithStats((classes == c).astype(np.uint8))
                on_head = np.bincount(islands.ravel(), head.ravel(), count) > 0
                lost = stats[:, cv2.CC_STAT_AREA] < least
                if c in (_C.HAIR, _C.FACE):
                    lost |= ~on_head
                elif c is _C.NECK:
                    # Skin on the chest that does not hang together with the throat is a raised hand.
                    lost |= np.bincount(islands.ravel(), (self.along < 0.15).ravel(), count) == 0
                    cleaned[lost[islands] & (islands > 0), _C.ARM] += 1
                lost[0] = False
                cleaned[lost[islands], c] = 0
        return cleaned + 1e-9

    def lower_is_skirt(self, classes: np.ndarray) -> bool:
        """Whether the lower garment hangs around both legs: classes are those of the working grid.

        It is a skirt when legs are bare below it and, just above its hem, it also fills the gap
        between the legs; shorts leave the gap open, trousers the legs covered.
        """
        rows, columns = classes.shape
        garment = self.person & (classes == _C.LOWER)
        bare = self.person & (classes == _C.LEG)
        top, _, left, _ = self.box
        hems, bare_lengths = [], []
        right_leg, left_leg = (limb.joints for limb in self.body.legs)
        steps = np.linspace(0, 2, 81)  # 0 at the hip, 1 at the knee, 2 at the ankle

        def pick(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
            x, y = (points - [left, top]).astype(int).T
            inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
            return np.where(inside, mask[np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)], False)

        def along(joints: np.ndarray) -> np.ndarray:
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
                "seen from the front and not covered."
            )
        # Eyes, brows, lips and glasses are in there too: keep what lies near the middle colour.
        lab = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
        off = np.abs(lab - np.median(lab[cheeks], 0)) / np.array([30, 9, 11])
        kept = cheeks & (np.square(off).sum(-1) < 1.5)
        skin = _lit_and_shaded(self.rgb[kept])
        if skin is None:
            raise ParsingError("The face's colour cannot be told; use a brighter, sharper photograph.")
        crown = self.person & (self.face_radius > 1.12) & (self.head_distance < 0.95) & (self.above > 0.15)
        likely_skin = skin.likelihood(self.bins) > 0.1 * skin.density.max()
        hair = ColourModel.of(self.bins[crown], np.where(likely_skin[crown], 0.1, 1.0))
        return skin, hair

    def _skin_share(self, skin: ColourModel, hair: ColourModel | None) -> np.ndarray:
        """Return how much likelier than not each pixel's colour is skin, 0..1."""
        whole = ColourModel.of(self.bins[self.person], np.ones(int(self.person.sum())))
        mine = skin.likelihood(self.bins)
        other = whole.likelihood(self.bins) if whole else np.zeros_like(mine)
        if hair is not None:
            other = np.maximum(other, 0.5 * hair.likelihood(self.bins))
        return mine / (mine + other + 1e-7)

    def _first_models(
        self, skin: ColourModel, hair: ColourModel | None, clothes: np.ndarray, whole: ColourModel
    ) -> dict[Kind, ColourModel]:
        body_skin = skin.mixed(whole, 0.02)
        other = None
        if self.seen is not None:
            upper, lower, shoe, strands, other = (
                ColourModel.of(self.bins[self.person], np.square(self.seen[self.person][:, c]))
                for c in (_C.UPPER, _C.LOWER, _C.SHOE, _C.HAIR, _C.OTHER)
            )
            hair = strands or hair
        else:
            upper, lower, shoe = self._garment_models(clothes)
        return {
            _C.HAIR: (hair or whole).mixed(whole, 0.05),
            _C.FACE: skin.mixed(whole, 0.25),
            _C.NECK: body_skin,
            _C.UPPER: (upper or whole).mixed(whole, 0.2),
            _C.LOWER: (lower or whole).mixed(whole, 0.2),
            _C.ARM: body_skin,
            _C.LEG: body_skin,
            _C.SHOE: (shoe or whole).mixed(whole, 0.3),
            _C.OTHER: other or whole,
        }

    def _garment_models(
        self, clothes: np.ndarray
    ) -> tuple[ColourModel | None, ColourModel | None, ColourModel | None]:
        """Return the first models of upper and lower clothes and shoes, by where they usually are."""
        inside = clothes & (np.abs(self.lateral) < 0.75 * self.half_width)
        upper = ColourModel.of(
            *self._sample(inside & (self.along > 0.22) & (self.along < self.cut - 0.08) & (self.hand > 1))
        )
        # Directly below the waist even what has the colour of skin is garment.
        belt = self.person & (self.along > self.cut + 0.06) & (self.along < self.thigh - 0.02)
        below = (clothes & (self.along > self.cut + 0.08)) | (belt & (self.arm > 1.2))
        lower = ColourModel.of(*self._sample(below & (self.leg < 1.3) & (self.foot > 1.2) & (self.hand > 1)))
        shoe = ColourModel.of(*self._sample(clothes & (self.foot < 1)))
        return upper, lower, shoe

    def _sample(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.bins[chosen], np.ones(int(chosen.sum()))

    def _learnt(
        self,
        shares: np.ndarray,
        models: dict[Kind, ColourModel],
        whole: ColourModel,
        skin: ColourModel,
    ) -> dict[Kind, ColourModel]:
        """Return the colour models of the labels found so far."""
        bins = self.bins[self.person]
        weights = np.square(shares[self.person])
        again = dict(models)
        for c, broad in ((_C.HAIR, 0.05), (_C.UPPER, 0.15), (_C.LOWER, 0.15), (_C.SHOE, 0.2)):
            model = ColourModel.of(bins, weights[:, c])
            if model is not None:
                again[c] = model.mixed(whole, broad)
        limbs = ColourModel.of(bins, weights[:, list(_SKIN)].sum(1), (1.6, 1.0, 1.0))
        if limbs is not None:
            # The face keeps its say: a limb in the shade may widen the skin's colours, not replace them.
            body_skin = skin.mixed(limbs, 0.5).mixed(whole, 0.02)
            for c in (_C.NECK, _C.ARM, _C.LEG):
                again[c] = body_skin
            again[_C.FACE] = skin.mixed(limbs, 0.5).mixed(whole, 0.2)
        return again

    def _waistline(self, clothes: np.ndarray) -> tuple[float, float]:
        """Return where along the torso the upper garment ends, and how much the colours differ there, 0..1.

        Every height is tried: the one is taken where the clothes above and below differ most
        (Jensen-Shannon divergence of their colours), weighed by where waistlines usually are.
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
        # A band as long as what lies above is compared: shoes and ground must not outweigh the waist.
        size = np.minimum(above.sum(1), below.sum(1))
        differs = divergence(above, below) * np.clip(size / (0.12 * above[-1].sum()), 0, 1)
        usual = np.exp(-0.5 * ((steps - 0.82) / 0.16) ** 2) + 0.12 * ((steps > 0.45) & (steps < 2.0))
        score = differs + 0.25 * np.log(usual + 1e-6)
        best = int(score.argmax())
        shown = (HEIGHT / SHRINK - self.body.neck[1]) / self.body.torso
        if shown < 1.1 and differs[best] < 0.35:
            # The picture ends at the hips: what is seen of a suit or a coat is one garment.
            return float(shown) + 0.5, 0.0
        if differs[best] < 0.12:
            return 0.82, 0.0
        return float(steps[best]), float(differs[best])

    # Places ------------------------------------------------------------------------------------------

    def _places(self) -> np.ndarray:
        """Return each class's prior at each pixel from the joints alone, float32 (h, w, classes)."""
        place = np.full((*self.x.shape, len(_C)), 1e-4, np.float32)
        below_chin = np.clip((-self.above - 0.45) / 0.1, 0, 1)

        place[..., _C.FACE] += _soft(1.08 - self.face_radius, 0.06)

        # Hair frames the face and may hang beside the neck on to the chest, ever less likely.
        shell = _soft(1.0 - self.head_distance, 0.08) * _soft(self.face_radius - 0.85, 0.08)
        hanging = np.exp(-np.clip(-self.above - 0.5, 0, None) / 0.8) * _soft(0.85 - np.abs(self.beside), 0.1)
        hanging *= _soft(0.6 - self.above, 0.1) * _soft(self.face_radius - 0.95, 0.06)
        # What is dark under the chin is its shadow.
        throat_shadow = 1 - 0.95 * below_chin * _soft(0.29 - np.abs(self.beside), 0.06)
        fringe = 0.3 * _soft(self.above - 0.24, 0.08) * _soft(1.08 - self.face_radius, 0.06)
        place[..., _C.HAIR] += fringe
        place[..., _C.HAIR] += throat_shadow * np.maximum(
            0.8 * shell * (1 - 0.6 * below_chin), 0.45 * hanging
        )

        # The neck, and the chest that a neckline shows.
        throat = below_chin * _soft(0.4 - np.abs(self.lateral), 0.08) * _soft(0.02 - self.along, 0.04)
        chest = (
            _soft(0.4 - self.along, 0.08) * _soft(self.half_width - np.abs(self.lateral), 0.1) * below_chin
        )
        belly = _soft(self.half_width - np.abs(self.lateral), 0.1) * below_chin * (self.along < 1.2)
        place[..., _C.NECK] += np.maximum.reduce([0.9 * throat, 0.5 * chest, 0.05 * belly])

        sleeve = _soft(1.9 - self.arm, 0.2)
        place[..., _C.ARM] += np.maximum(
            0.7 * _soft(1.25 - self.arm, 0.15),
            0.9
            * _soft(1.1 - self.hand, 0.15)
            * (1 - 0.8 * _soft(0.85 - self.leg, 0.2) * _soft(self.hand - 0.65, 0.1)),
        )

        width = 0.06 + 0.1 * (1 - self.contrast)
        over = _soft(self.cut - self.along, width)
        trunk = _soft(self.half_width + 0.35 - np.abs(self.lateral), 0.15) * _soft(self.along + 0.15, 0.04)
        place[..., _C.UPPER] += np.maximum(
            np.maximum(0.6 * sleeve * (1 - 0.7 * _soft(0.8 - self.hand, 0.1)), 0.9 * over * trunk),
            0.08 * trunk * (self.along < 2),
        )

        # Collars, hoods and polo necks reach up to the chin.
        collar = below_chin * _soft(0.6 - np.abs(self.lateral), 0.1) * _soft(0.05 - self.along, 0.05)
        place[..., _C.UPPER] += 0.2 * collar

        under = _soft(self.along - self.cut, width)
        skirt = _soft(self.half_width + 0.7 - np.abs(self.lateral), 0.25)
        covered = np.maximum(_soft(1.7 - self.leg, 0.25), skirt * (self.along < 2.2))
        place[..., _C.LOWER] += 0.8 * np.maximum(under, 0.03 * (self.along > 0.4)) * covered
        place[..., _C.LEG] += 0.7 * _soft(1.2 - self.leg, 0.15) * _soft(self.along - self.thigh, 0.05)
        place[..., _C.SHOE] += 0.9 * _soft(1.15 - self.foot, 0.15)
        place[..., _C.OTHER] += 0.01
        if self.seen is not None:
            place = (self.seen + _DOUBT) * place**_JOINTS_SAY_BESIDE
            # Skin where a forearm is raised before the throat is the arm's.
            raised = [
                _soft(1.2 - arm, 0.2) * (at > 1) for arm, at in zip(self.arms, self.arm_places, strict=True)
            ]
            moved = np.maximum(*raised) * place[..., _C.NECK]
            place[..., _C.ARM] += moved
            place[..., _C.NECK] -= moved
            # What a network takes for a bag on a shoulder is a sleeve of lace or fringes: bags hang lower.
            apart = [np.hypot(self.x - x, self.y - y) for x, y in self.body.shoulders]
            place[..., _C.OTHER] *= 1 - 0.8 * _soft(1.4 - np.minimum(*apart) / self.body.head, 0.3)
        return place / place.sum(-1, keepdims=True)

    def _dressed_from_the_root(self, places: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Return the priors knowing how far sleeves and trouser legs reach.

        A limb is covered from its root to some place and bare from there on: for each limb the place
        is taken that agrees best with the shares found so far. It tells blond hair on a shoulder from
        a bare arm, and shorts of the skin's colour from thighs.
        """
        places = places.copy()
        right_arm, left_arm = self.arms[0] <= self.arms[1], self.arms[1] < self.arms[0]
        arm_place = np.where(right_arm, *self.arm_places)
        leg_place = np.where(self.legs[0] <= self.legs[1], *self.leg_places)
        sleeve = (_C.ARM, [_C.UPPER, _C.HAIR], self.arm, arm_place, 0.03)
        # Both trouser legs, or a skirt, end at one height; sleeves may be pushed up one by one.
        hem = (_C.LEG, [_C.UPPER, _C.LOWER], self.leg, leg_place, 0.2)
        everywhere = np.ones_like(right_arm)
        for mine, (bare, covers, apart, place, floor) in (
            (right_arm, sleeve),
            (left_arm, sleeve),
            (everywhere, hem),
        ):
            near = self.person & mine & (apart < 0.9)
            step = (place[near] * 20).astype(int)
            naked = shares[near][:, bare] - shares[near][:, covers].sum(-1)
            # The gain of calling a step bare instead of covered; all beyond the end are called bare.
            gain = np.append(np.bincount(step, naked, minlength=1), 0)
            end = gain[::-1].cumsum()[::-1].argmax() / 20
            beyond = floor + (1 - floor) * _soft(place - end + 0.05, 0.12)
            places[..., bare] *= np.where(mine, beyond, 1)
        return places / places.sum(-1, keepdims=True)

    # Smoothing ---------------------------------------------------------------------------------------

    def _regions(self) -> np.ndarray:
        """Return superpixels of the person, int (h, w); -1 outside."""
        # scikit-image's own masking starts with a k-means that takes longer than all the rest.
        wanted = int(np.clip(self.person.size / 60, 200, 3000))
        cells = slic(
            self.rgb, wanted, compactness=8, max_num_iter=5, enforce_connectivity=False, start_label=0
        )
        regions = np.full(self.person.shape, -1)
        regions[self.person] = np.unique(cells[self.person], return_inverse=True)[1]
        return regions

    def _smoothed(self, weighed: np.ndarray, regions: np.ndarray) -> np.ndarray:
        """Return the shares smoothed over superpixels by random walks that avoid colour edges.

        Random walker with priors (Grady 2005, "Multilabel random walker image segmentation using
        prior models") on the graph of superpixels.
        """
        inside = regions >= 0
        number = regions[inside]
        count = int(number.max()) + 1
        size = np.maximum(np.bincount(number, minlength=count), 1)
        lab = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2LAB).astype(np.float64)[inside]
        colour = np.stack([np.bincount(number, lab[:, i], count) for i in range(3)], 1) / size[:, None]
        logs = np.log(weighed[inside] + 1e-6)
        prior = np.stack([np.bincount(number, logs[:, i], count) for i in range(logs.shape[1])], 1)
        prior = np.exp(prior / size[:, None])
        prior = prior / prior.sum(1, keepdims=True)

        pairs = []
        for one, other in ((regions[:, :-1], regions[:, 1:]), (regions[:-1], regions[1:])):
            touching = (one != other) & (one >= 0) & (other >= 0)
            pairs.append(np.stack([one[touching], other[touching]], 1))
        edge = np.concatenate(pairs)
        apart = np.linalg.norm((colour[edge[:, 0]] - colour[edge[:, 1]]) * [0.6, 1.2, 1.2], axis=1)
        weight = np.exp(-np.square(apart / 10)) + 1e-4
        walk = coo_array((weight, (edge[:, 0], edge[:, 1])), (count, count)).tocsr()
        walk = walk + walk.T
        pull = 0.35 * size
        laplacian = diags_array(walk.sum(1) + pull) - walk
        solved = splu(laplacian.tocsc()).solve(prior * pull[:, None])

        smooth = weighed.copy()
        smooth[inside] = np.sqrt(np.clip(solved, 1e-6, 1)[number] * np.clip(weighed[inside], 1e-4, 1))
        smooth[inside] /= smooth[inside].sum(-1, keepdims=True)
        return _guided(self.rgb, smooth, self.person)

    def at_full_size(self, shares: np.ndarray) -> np.ndarray:
        """Return shares of the working grid on the canvas, float32 (1024, 768, kinds); OTHER around them."""
        top, _, left, _ = self.box
        rows, columns, count = shares.shape
        full = np.zeros((HEIGHT, WIDTH, count), np.float32)
        full[..., _C.OTHER] = 1  # specks of the mask that are no part of the person
        big = cv2.resize(shares, (SHRINK * columns, SHRINK * rows), interpolation=cv2.INTER_LINEAR)
        full[SHRINK * top : SHRINK * (top + rows), SHRINK * left : SHRINK * (left + columns)] = big
        return full

    def check(self, labels: np.ndarray) -> None:
        """Raise ParsingError when too little of the CIHP labels, uint8 (1024, 768), is upper garment."""
        body = self.body
        width = float(np.linalg.norm(body.shoulders[0] - body.shoulders[1]))
        shown = min(body.torso, max(HEIGHT / SHRINK - float(body.neck[1]), 0))
        trunk = max(width, 0.9 * body.head) * shown * SHRINK**2
        if np.isin(labels, (Part.UPPER_CLOTHES, Part.DRESS, Part.COAT)).sum() < 0.2 * trunk:
            raise ParsingError(
                "No upper garment is to be seen on the person; use a photograph that shows the chest "
                "uncovered by bags, arms or long hair."
            )

    # Names -------------------------------------------------------------------------------------------

    def name_sides(self, classes: np.ndarray) -> np.ndarray:
        """Return the CIHP labels, uint8 (1024, 768), of classes at full size."""

        def wide(left_is_nearer: np.ndarray) -> np.ndarray:
            full = np.zeros((HEIGHT, WIDTH), bool)
            top, _, left, _ = self.box
            big = np.kron(left_is_nearer, np.ones((SHRINK, SHRINK), bool))
            rows, columns = (
                min(big.shape[0], HEIGHT - SHRINK * top),
                min(big.shape[1], WIDTH - SHRINK * left),
            )
            full[SHRINK * top : SHRINK * top + rows, SHRINK * left : SHRINK * left + columns] = big[
                :rows, :columns
            ]
            return full

        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for c, part in (
            (_C.HAIR, Part.HAIR),
            (_C.FACE, Part.FACE),
            (_C.NECK, Part.NECK),
            (_C.UPPER, Part.UPPER_CLOTHES),
        ):
            labels[classes == c] = part
        labels[classes == _C.LOWER] = Part.PANTS
        for c, fields, right, left in (
            (_C.ARM, self.arms, Part.RIGHT_ARM, Part.LEFT_ARM),
            (_C.LEG, self.legs, Part.RIGHT_LEG, Part.LEFT_LEG),
            (_C.SHOE, self.feet, Part.RIGHT_SHOE, Part.LEFT_SHOE),
        ):
            nearer = wide(fields[1] < fields[0])
            labels[classes == c] = right
            labels[(classes == c) & nearer] = left
        return labels


def _box(person: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(person.any(1)), np.flatnonzero(person.any(0))
    if len(rows) < 20 or len(columns) < 20 or person.sum() < 1000:
        raise ParsingError("The person's mask is empty; use a photograph that shows the person larger.")
    return max(rows[0] - 4, 0), rows[-1] + 5, max(columns[0] - 4, 0), columns[-1] + 5


def _lit_and_shaded(rgb: np.ndarray) -> ColourModel | None:
    """Return the colour model of a surface seen as these pixels, uint8 (n, 3), in more and less light."""
    light = np.array([0.35, 0.5, 0.7, 0.85, 1, 1.2, 1.45, 1.75])
    weights = np.array([0.08, 0.15, 0.3, 0.6, 1, 0.6, 0.3, 0.12])
    # Light scales linear intensities; the pixels are gamma-coded.
    scaled = np.clip(rgb[None] * light[:, None, None] ** (1 / 2.2), 0, 255).astype(np.uint8)
    return ColourModel.of(bin_numbers(scaled).ravel(), np.repeat(weights, len(rgb)), spread=(1.8, 0.9, 1.1))


def _soft(value: np.ndarray, width: float) -> np.ndarray:
    """Return a step at zero, 0..1, as soft as `width`."""
    return 1 / (1 + np.exp(np.clip(-value / (0.5 * width), -30, 30)))


def _guided(rgb: np.ndarray, shares: np.ndarray, inside: np.ndarray, radius: int = 4) -> np.ndarray:
    """Return the shares smoothed along the picture's edges (guided filter, He et al. 2010), mask-aware."""
    guide = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    mask = inside.astype(np.float32)
    kernel = (2 * radius + 1,) * 2

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, kernel)

    count = np.maximum(mean(mask), 1e-3)
    mean_guide = mean(guide * mask) / count
    variance = mean(guide * guide * mask) / count - mean_guide**2
    smooth = np.empty_like(shares)
    for i in range(shares.shape[-1]):
        share = shares[..., i] * mask
        mean_share = mean(share) / count
        slope = (mean(guide * share) / count - mean_guide * mean_share) / (variance + 1e-3)
        offset = mean_share - slope * mean_guide
        smooth[..., i] = mean(slope * mask) / count * guide + mean(offset * mask) / count
    smooth = np.clip(smooth, 1e-6, None)
    return smooth / smooth.sum(-1, keepdims=True)
