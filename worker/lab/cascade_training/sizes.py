"""The sizes of networks and pictures in training: as published, or small for a quick trial."""

from dataclasses import dataclass

from worker.viton_hd import alias, matching, segmentation
from worker.viton_hd.alias import AliasGenerator
from worker.viton_hd.matching import GeometricMatching
from worker.viton_hd.segmentation import SegmentationGenerator


@dataclass(frozen=True)
class Size:
    """Sizes of pictures and networks.

    Attributes:
        picture: rows and columns of the pictures in which the garment is warped and which ALIAS generates;
            for ALIAS multiples of 128.
        network: rows and columns of the inputs of segmentation and matching, multiples of 64.
        channels: channels of segmentation's and matching's first level, and a sixteenth of the channels of
            ALIAS's smallest scale.
        features, shared: see `AliasGenerator`.
        judge: channels of a discriminator's first level. The fields' names are part of a run's state.
    """

    picture: tuple[int, int]
    network: tuple[int, int]
    channels: int
    features: int
    shared: int
    judge: int

    def segmenter(self) -> SegmentationGenerator:
        """Return a new segmentation generator."""
        return SegmentationGenerator(self.channels)

    def matcher(self) -> GeometricMatching:
        """Return a new geometric matching network."""
        return GeometricMatching(self.channels, *self.network)

    def alias(self) -> AliasGenerator:
        """Return a new ALIAS generator."""
        return AliasGenerator(self.channels, self.features, self.shared)


SIZES = {
    "full": Size(
        picture=(1024, 768),
        network=(segmentation.HEIGHT, segmentation.WIDTH),
        channels=matching.CHANNELS,
        features=alias.FEATURES,
        shared=alias.SHARED,
        judge=64,
    ),
    "small": Size(picture=(512, 384), network=(128, 96), channels=8, features=4, shared=16, judge=8),
}
"""`full` gives files that the cascade loads in place of the published ones; `small` shows in minutes on a
processor that training works."""
