"""The stage `cloth`: the garment cut out and laid on the canvas, its mask, landmarks and attributes."""

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from config.settings import settings
from worker import weights
from worker.contract import Bundle, Host, Method, StageInput

if TYPE_CHECKING:
    from worker.cloth.garment_reader import GarmentReader
    from worker.cloth.separate import Cutter


class GarmentModel(NamedTuple):
    """The garment network, and what cuts the garment out; None: the network's mask and the colours."""

    reader: "GarmentReader"
    cut: "Cutter | None"


class GarmentNetworkMask(Method):
    """The garment by the network that this project trains; on a plain ground its edge is found by colour."""

    name: ClassVar[str] = "network"

    def digests(self) -> dict[str, str]:
        """Return the sha256 of the garment network's weights. Raises WeightsMissingError."""
        return {"garment": weights.sha256("garment", settings().models_dir)}

    def load(self, host: Host) -> GarmentModel:
        """Return the network. Raises WeightsMissingError."""
        from worker.cloth.garment_reader import GarmentReader

        return GarmentModel(GarmentReader.load(weights.path("garment", host.models_dir)), None)

    def run(self, model: GarmentModel, inputs: StageInput) -> Bundle:
        """Cut the garment out. Raises GarmentUnsuitableError, GarmentMaskError."""
        return _garment(inputs, model, self.name)


class UNetMask(Method):
    """The garment cut out by the U-Net of `cloths_segmentation`, and read by the garment network."""

    name: ClassVar[str] = "unet"
    packages: ClassVar[tuple[str, ...]] = ("segmentation_models_pytorch",)
    libraries: ClassVar[tuple[str, ...]] = (*Method.libraries, "torch")

    def digests(self) -> dict[str, str]:
        """Return the sha256 of both networks' weights. Raises WeightsMissingError."""
        return {name: weights.sha256(name, settings().models_dir) for name in ("garment", "cloth-unet")}

    def load(self, host: Host) -> GarmentModel:
        """Return both networks. Raises WeightsMissingError."""
        from worker.cloth.garment_reader import GarmentReader
        from worker.cloth.unet import ClothSegmenter

        segmenter = ClothSegmenter(host.models_dir, host.device)
        return GarmentModel(GarmentReader.load(weights.path("garment", host.models_dir)), segmenter.cut_out)

    def run(self, model: GarmentModel, inputs: StageInput) -> Bundle:
        """Cut the garment out. Raises GarmentUnsuitableError, GarmentMaskError."""
        return _garment(inputs, model, self.name)


def _garment(inputs: StageInput, model: GarmentModel, mask_method: str) -> Bundle:
    from worker.cloth.garment import BACKGROUND, prepare
    from worker.images.decode import decode_input
    from worker.images.inputs import errors_name

    photo = decode_input(inputs.sources["cloth"], name=inputs.names["cloth"], background=BACKGROUND)
    with errors_name(inputs, "cloth"):
        garment = prepare(photo, model.reader, model.cut, inputs.options["category"])
    read = {name: attribute["value"] for name, attribute in garment.attributes.items()}
    return garment.bundle() | {"details.json": {"mask": mask_method, "garment": read}}


METHODS: tuple[Method, ...] = (GarmentNetworkMask(), UNetMask())
"""In the order in which TRYON_CLOTH_MASK=auto prefers them."""
