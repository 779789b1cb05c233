"""The perceptual loss: pictures are compared by their features in VGG-19, trained on ImageNet."""

from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import vgg19

from config.errors import WeightsMissingError
from worker import weights
from worker.lab.cascade_training import losses
from worker.weights.checkpoint import load_state_dict, shapes

WEIGHTS = "vgg19"
"""The file's name in the weights catalogue."""

_SHA256_PREFIX = "dcbb9e9d"  # torchvision names its files by the first digits of their sha256
_LAYERS = (1, 6, 11, 20, 29)  # relu1_1, relu2_1, relu3_1, relu4_1, relu5_1
_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, per channel, for values from 0 to 1
_STD = (0.229, 0.224, 0.225)  # of ImageNet, likewise


def check(file: Path) -> None:
    """Raise WeightsMissingError unless the file is torchvision's VGG-19."""
    if not weights.digest_of(file).startswith(_SHA256_PREFIX):
        raise WeightsMissingError(
            f"{file.name} is not torchvision's VGG-19: its sha256 does not begin with {_SHA256_PREFIX}.",
            input=WEIGHTS,
        )
    load_state_dict(file, _shapes())


class PerceptualLoss(nn.Module):
    """Σᵢ 1/Rᵢ |Fᵢ(I) - Fᵢ(Î)|₁ over five layers Fᵢ of Rᵢ elements (Johnson et al. 2016).

    The layers have equal weights, as in the paper's equation; the code of pix2pixHD and SPADE uses 1/32,
    1/16, 1/8, 1/4 and 1.

    Args:
        network: VGG-19; its weights are not trained.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        layers = islice(network.get_submodule("features").children(), _LAYERS[-1] + 1)
        self.features = nn.Sequential(*layers).eval().requires_grad_(False)
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

    def forward(self, real: Tensor, generated: Tensor) -> Tensor:
        """Return the loss of pictures, (b, 3, h, w) in [-1, 1]."""
        with torch.no_grad():
            real_features = self._features_of(real)
        return losses.layer_difference(real_features, self._features_of(generated))

    def _features_of(self, picture: Tensor) -> list[Tensor]:
        x = ((picture + 1) / 2 - self.mean) / self.std
        features: list[Tensor] = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in _LAYERS:
                features.append(x)
        return features


def _shapes() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes(vgg19(weights=None, init_weights=False))
