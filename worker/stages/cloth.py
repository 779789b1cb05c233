"""The stage `cloth`: the garment cut out and laid on the canvas, its mask and landmarks."""

from typing import TYPE_CHECKING, ClassVar

from config.settings import settings
from worker import weights
from worker.contract import Bundle, Host, Method, StageInput

if TYPE_CHECKING:
    from worker.cloth.garment import Cutter
    from worker.cloth.unet import ClothSegmenter


class ColourMask(Method):
    """The garment told from its background by colour."""

    name: ClassVar[str] = "classical"

    def load(self, host: Host) -> "Cutter":
        """Return the function that cuts a garment out."""
        from worker.cloth.mask import cut_out

        return cut_out

    def run(self, model: "Cutter", inputs: StageInput) -> Bundle:
        """Cut the garment out. Raises GarmentMaskError."""
        return _garment(inputs, model, self.name)


class NetworkMask(Method):
    """The garment told from its background by the U-Net of `cloths_segmentation`."""

    name: ClassVar[str] = "unet"
    packages: ClassVar[tuple[str, ...]] = ("segmentation_models_pytorch",)

    def digests(self) -> dict[str, str]:
        """Return the sha256 of the U-Net's weights. Raises WeightsMissingError."""
        return {"cloth-unet": weights.sha256("cloth-unet", settings().models_dir)}

    def load(self, host: Host) -> "ClothSegmenter":
        """Return the network. Raises WeightsMissingError."""
        from worker.cloth.unet import ClothSegmenter

        return ClothSegmenter(host.models_dir, host.device)

    def run(self, model: "ClothSegmenter", inputs: StageInput) -> Bundle:
        """Cut the garment out. Raises GarmentMaskError."""
        return _garment(inputs, model.cut_out, self.name)


def _garment(inputs: StageInput, cut: "Cutter", mask_method: str) -> Bundle:
    from worker.cloth.garment import BACKGROUND, prepare
    from worker.images.decode import decode_input
    from worker.images.inputs import errors_name

    photo = decode_input(inputs.sources["cloth"], name=inputs.names["cloth"], background=BACKGROUND)
    with errors_name(inputs, "cloth"):
        garment = prepare(photo, cut)
    return garment.bundle() | {"details.json": {"mask": mask_method}}


METHODS: tuple[Method, ...] = (ColourMask(), NetworkMask())
"""In the order in which TRYON_CLOTH_MASK=auto prefers them."""
