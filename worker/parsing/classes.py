"""The classes of the trained parser, and the CIHP labels they stand for.

Arms, legs, shoes and stockings have no side, so that a mirrored picture is as good a training example as
the original; the pose gives the side afterwards. Bags are a class because they hide garments; CIHP has no
label for them.
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
"""The titles of all classes, in the order of the network's outputs."""

SIDED = {
    Class.ARM: (Part.RIGHT_ARM, Part.LEFT_ARM),
    Class.LEG: (Part.RIGHT_LEG, Part.LEFT_LEG),
    Class.SHOE: (Part.RIGHT_SHOE, Part.LEFT_SHOE),
}
"""The classes that CIHP splits by side: (right, left), the person's own."""

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
"""The CIHP label of each class without a side."""
