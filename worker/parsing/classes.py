"""What the trained parser tells apart: its classes, and how they meet CIHP's labels.

Arms, legs, shoes and stockings are learnt without their side, so that a mirrored picture is as good an
example as the picture; the pose tells the side afterwards. Bags are learnt because they lie over garments;
CIHP has no label for them.
"""

from enum import IntEnum

from worker.images.maps import Part


class Class(IntEnum):
    """The parser's classes, in the order of its outputs."""

    HAT = 0
    HAIR = 1
    SUNGLASSES = 2
    UPPER_CLOTHES = 3
    DRESS = 4
    COAT = 5
    SOCKS = 6
    PANTS = 7
    NECK = 8
    SCARF = 9
    SKIRT = 10
    FACE = 11
    ARM = 12
    LEG = 13
    SHOE = 14
    BAG = 15

    @property
    def title(self) -> str:
        """The class's name in data sets and tables."""
        return self.name.lower().replace("_", "-")


TITLES = [one.title for one in Class]

SIDED = {
    Class.ARM: (Part.RIGHT_ARM, Part.LEFT_ARM),
    Class.LEG: (Part.RIGHT_LEG, Part.LEFT_LEG),
    Class.SHOE: (Part.RIGHT_SHOE, Part.LEFT_SHOE),
}
"""The classes that CIHP tells apart by side: (right, left), the person's own."""

LABELS = {
    Class.HAT: Part.HAT,
    Class.HAIR: Part.HAIR,
    Class.SUNGLASSES: Part.SUNGLASSES,
    Class.UPPER_CLOTHES: Part.UPPER_CLOTHES,
    Class.DRESS: Part.DRESS,
    Class.COAT: Part.COAT,
    Class.SOCKS: Part.SOCKS,
    Class.PANTS: Part.PANTS,
    Class.NECK: Part.NECK,
    Class.SCARF: Part.SCARF,
    Class.SKIRT: Part.SKIRT,
    Class.FACE: Part.FACE,
    Class.BAG: Part.BACKGROUND,
}
"""The CIHP label of each class that has no side."""
