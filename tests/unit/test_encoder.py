"""The pretrained encoder: its levels, what stays frozen, and the published file."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from config.errors import WeightsMissingError
from worker.lab.encoder import _CLASSIFIER, LEVELS, Encoder, normalize


def _published(tmp_path):
    torch.manual_seed(0)
    state = {f"{name}": value for name, value in Encoder().state_dict().items()}
    state |= {name: torch.zeros(shape) for name, shape in _CLASSIFIER.items()}
    torch.save(state, tmp_path / "efficientnet_lite0.pth")
    return tmp_path / "efficientnet_lite0.pth", state


def test_five_levels_halve_the_picture_each():
    levels = Encoder().eval()(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (channels, 32 >> index, 48 >> index) for index, channels in enumerate(LEVELS)
    ]


def test_pictures_become_minus_one_to_one():
    values = normalize(torch.from_numpy(np.array([[[[0, 127, 255]]]], np.uint8)))
    assert values.shape == (1, 3, 1, 1)
    assert values.flatten().tolist() == pytest.approx([-127 / 128, 0, 1])


def test_frozen_blocks_keep_weights_and_statistics_in_training():
    encoder = Encoder(frozen_blocks=5).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    trained = [value for value in encoder.parameters() if value.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    sum(level.square().mean() for level in encoder(torch.randn(2, 3, 64, 64))).backward()
    optimizer.step()
    changed = {
        name.split(".")[1] if name.startswith("_blocks") else name
        for name, value in encoder.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {str(index) for index in range(5, 16)}


def test_an_even_picture_is_padded_as_tensorflow_pads_it():
    encoder = Encoder()
    picture = torch.randn(1, 3, 8, 8)
    wanted = functional.conv2d(functional.pad(picture, (0, 1, 0, 1)), encoder._conv_stem.weight, stride=2)
    assert torch.equal(encoder._conv_stem(picture), wanted)


def test_the_published_file_is_loaded_without_its_classifier(tmp_path):
    file, state = _published(tmp_path)
    encoder = Encoder()
    encoder.load_published(file)
    assert all(torch.equal(value, state[name]) for name, value in encoder.state_dict().items())


def test_another_networks_file_is_refused(tmp_path):
    file, state = _published(tmp_path)
    torch.save({name: value for name, value in state.items() if "_blocks.3" not in name}, file)
    with pytest.raises(WeightsMissingError, match="another network's tensors"):
        Encoder().load_published(file)
