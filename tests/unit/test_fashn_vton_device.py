"""FASHN VTON's path on a GPU, run without a GPU: no step waits for the device, and the network compiles."""

from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.support import fashn_vton
from tests.support.fake_gpu import GPU, OnlyOnGpu
from tests.support.fashn_vton import TINY
from worker.fashn_vton import sampler
from worker.fashn_vton.model import TryOnModel
from worker.fashn_vton.network import TryOnTransformer, rotation_table
from worker.fashn_vton.recorded import RecordedVelocities
from worker.fashn_vton.sampler import Inputs, sample, seeded_noise
from worker.machine.compiling import in_prepared_sizes, prepared_sizes


@pytest.fixture
def gpu(monkeypatch) -> Iterator[None]:
    """A GPU whose tensors have no contents: torch raises in a step that depends on them."""
    rotation_table.cache_clear()
    times = {steps: sampler.schedule(steps) for steps in (1, 3)}  # numbers for the host
    monkeypatch.setattr(sampler, "schedule", times.get)
    with FakeTensorMode():
        yield
    rotation_table.cache_clear()  # other tests must not get these tensors without contents


def inputs(items: int, device: torch.device) -> Inputs:
    planes = seeded_noise(range(items), *TINY.input_shape).to(device)
    category = torch.ones(items, dtype=torch.int64, device=device)
    return Inputs(planes, planes.flip(3), planes[:, :1], planes[:, 1:2], category)


def test_no_step_waits_for_the_gpu_or_leaves_it(gpu):
    with GPU:
        network = TryOnTransformer(TINY).eval()
        noise = torch.empty(2, 3, *TINY.input_shape)
        planes = torch.empty(2, 3, *TINY.input_shape)
        given = Inputs(planes, planes, planes[:, :1], planes[:, :1], torch.ones(2, dtype=torch.int64))
    sample(network, given, noise, 1)  # transfers the rotations, once
    with OnlyOnGpu():
        picture = sample(network, given, noise, 3)
    assert picture.shape == noise.shape
    assert picture.device == GPU


def test_the_network_compiles_to_one_graph():
    network = fashn_vton.network()
    recorded = RecordedVelocities.__new__(RecordedVelocities)
    recorded._network, recorded._prepared = network, set()
    recorded._run = torch.compile(recorded.of_tensors, backend="eager", fullgraph=True, dynamic=False)
    noise = seeded_noise([1], *TINY.input_shape)
    expected = sample(network, inputs(1, torch.device("cpu")), noise, 2)
    compiled = sample(network, inputs(1, torch.device("cpu")), noise, 2, velocities=recorded)
    torch.testing.assert_close(compiled, expected)


def test_in_bfloat16_the_sum_of_the_steps_stays_in_float32():
    network = fashn_vton.network()
    noise = seeded_noise([1], *TINY.input_shape)
    given = inputs(1, torch.device("cpu"))
    expected = sample(network, given, noise, 2)
    halves = (given.person, given.garment, given.person_pose, given.garment_pose)
    low = Inputs(*(part.bfloat16() for part in halves), given.category)
    picture = sample(network.bfloat16(), low, noise, 2)
    assert picture.dtype == torch.float32
    assert (picture - expected).abs().mean() < 0.05 * expected.abs().mean()


def test_batches_have_the_sizes_that_are_prepared():
    assert prepared_sizes(1) == [1]
    assert prepared_sizes(6) == [1, 2, 4]
    for largest in (1, 2, 4, 6):
        parts = [list(part) for part in in_prepared_sizes(range(7), largest)]
        assert [item for part in parts for item in part] == list(range(7))
        assert {len(part) for part in parts} <= set(prepared_sizes(largest))


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is available")


@needs_gpu
def test_the_recorded_network_draws_what_the_processor_draws():
    items = [fashn_vton.prepared(seed) for seed in range(3)]
    expected = TryOnModel(fashn_vton.network(), "cpu", 1).draw(items, 4)
    model = TryOnModel(fashn_vton.network(), "cuda:0", 2)
    model.warm_up()
    for picture, reference in zip(model.draw(items, 4), expected, strict=True):
        assert abs(picture.astype(int) - reference).mean() < 4
