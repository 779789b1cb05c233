"""The perceptual loss: pictures compared by what VGG-19, trained on ImageNet, sees in them."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import vgg19

from config.errors import WeightsMissingError
from worker import weights
from worker.lab.cascade_training import losses
from worker.weights.checkpoint import load_state_dict, shapes

WEIGHTS = "vgg19"

_HASH_BEGINS = "dcbb9e9d"  # torchvision names its files by the first digits of their sha256
_LAYERS = (1, 6, 11, 20, 29)  # relu1_1, relu2_1, relu3_1, relu4_1, relu5_1
_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, of channels scaled to 0..1
_STD = (0.229, 0.224, 0.225)


def check(file: Path) -> None:
    """Raise WeightsMissingError unless the file is torchvision's VGG-19."""
    if not weights.digest_of(file).startswith(_HASH_BEGINS):
        raise WeightsMissingError(
            f"{file.name} is not torchvision's VGG-19: its sha256 does not begin with {_HASH_BEGINS}.",
            input=WEIGHTS,
        )
    load_state_dict(file, _shapes())


class PerceptualLoss(nn.Module):
    """Σᵢ 1/Rᵢ |Fᵢ(I) - Fᵢ(Î)|₁ over five layers Fᵢ of Rᵢ elements (Johnson et al. 2016).

    The layers weigh the same, as in the paper's equation; the code of pix2pixHD and SPADE gives them 1/32,
    1/16, 1/8, 1/4 and 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        """Take VGG-19, whose weights stay as they are."""
        super().__init__()
        features = network.get_submodule("features")
        assert isinstance(features, nn.Sequential)
        self.features = features[: _LAYERS[-1] + 1].eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(_STD)[:, None, None])

    @classmethod
    def load(cls, models_dir: Path) -> "PerceptualLoss":
        """Return the loss with the published weights. Raises WeightsMissingError when they are not there."""
        try:
            file = weights.path(WEIGHTS, models_dir)
        except WeightsMissingError as error:
            raise WeightsMissingError(
                f"The perceptual loss needs VGG-19. {error.message} Or train without it: --no-perceptual.",
                input=WEIGHTS,
            ) from error
        with torch.device("meta"):
            network = vgg19(weights=None, init_weights=False)
        network.load_state_dict(load_state_dict(file, _shapes()), strict=True, assign=True)
        return cls(network)

    def forward(self, real: Tensor, made: Tensor) -> Tensor:
        """Return the loss of pictures, (b, 3, h, w) in [-1, 1]."""
        with torch.no_grad():
            wanted = self._seen(real)
        return losses.layers(wanted, self._seen(made))

    def _seen(self, picture: Tensor) -> list[Tensor]:
        x = ((picture + 1) / 2 - self.mean) / self.std
        seen: list[Tensor] = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in _LAYERS:
                seen.append(x)
        return seen


def _shapes() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes(vgg19(weights=None, init_weights=False))
