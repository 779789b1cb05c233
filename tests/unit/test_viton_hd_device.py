"""The cascade's path on a GPU, run without a GPU: no step waits for the device or leaves it."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from tests.support.fake_gpu import GPU, OnlyOnGpu
from worker.machine.graphs import CudaGraphs
from worker.viton_hd import enlarge, labels, spline
from worker.viton_hd.alias import AliasGenerator
from worker.viton_hd.cascade import Cascade, packed_output
from worker.viton_hd.dense_alias import DenseAlias
from worker.viton_hd.inputs import InputMaps, TryOnInput
from worker.viton_hd.matching import GeometricMatching
from worker.viton_hd.segmentation import SegmentationGenerator


@pytest.fixture
def gpu() -> Iterator[Callable[[], OnlyOnGpu]]:
    """A GPU whose tensors have no contents: torch raises in a step that depends on them."""
    constants = enlarge._enlarging_matrix, spline.basis, labels._segmentation_table, labels._synthesis_table
    with FakeTensorMode():
        yield OnlyOnGpu
    for constant in constants:  # other tests must not get these tensors without contents
        constant.cache_clear()


def maps(batch: int, height: int, width: int) -> dict[str, Tensor]:
    picture, plane = (batch, height, width, 3), (batch, height, width)
    sizes = {"pose": picture, "agnostic": picture, "garment": picture}
    sizes |= {"garment_mask": plane, "parse_agnostic": plane}
    return {name: torch.empty(size, dtype=torch.uint8, device=GPU) for name, size in sizes.items()}


@pytest.fixture
def cascade(gpu: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Cascade]]:
    """Makes a small cascade on the GPU."""
    # The networks are created on the GPU; torch cannot move parameters without contents.
    monkeypatch.setattr(torch.nn.Module, "to", lambda network, device: network)

    def make(**options: object) -> Cascade:
        with GPU:
            networks = SegmentationGenerator(8), GeometricMatching(8), AliasGenerator(8, 8, 16)
        return Cascade(*networks, device=GPU, dtype=torch.bfloat16, compile=False, **options)

    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True):  # restores the flag at the end
        yield make


def run(cascade: Cascade) -> Tensor:
    """Return the packed output for uploaded maps."""
    with torch.inference_mode():
        noise = torch.empty(2, 1, 256, 192, device=GPU)
        inputs = [cascade.synthesis_input(InputMaps.of(**maps(2, 256, 128)), noise)]
        picture = cascade.synthesise(inputs, lambda *size: torch.empty(2, 1, *size, device=GPU))
        return packed_output(picture, inputs)


def test_no_step_between_inputs_and_picture_waits_for_the_gpu(gpu, cascade):
    gpu_cascade = cascade()
    assert isinstance(gpu_cascade.generate, DenseAlias)
    assert not torch.backends.cudnn.allow_tf32
    run(gpu_cascade)  # transfers the constants, once
    with gpu():
        output = run(gpu_cascade)
    assert output.shape == (2, 256, 128, 8)
    assert output.dtype == torch.uint8


def test_the_generator_for_processors_would_wait(cascade):
    with pytest.raises((DynamicOutputShapeException, DataDependentOutputException)):
        run(cascade(dense=False))


def test_a_transfer_from_or_to_the_gpu_is_detected(gpu):
    tensor = torch.empty(3, device=GPU)
    with gpu():
        with pytest.raises(AssertionError, match="cpu"):
            tensor.cpu()
        with pytest.raises(AssertionError, match="cpu"):
            torch.zeros(3).to(GPU)


@torch.inference_mode()
def test_the_dense_generator_compiles_to_one_graph():
    generator = DenseAlias(AliasGenerator(4, 4, 8).eval(), torch.float32, compile=False)
    rng = torch.Generator().manual_seed(0)
    inputs = [torch.rand(1, channels, 128, 128, generator=rng) for channels in (9, 7, 8, 1)]
    expected = generator(*inputs)
    compiled = torch.compile(generator.generate, backend="eager", fullgraph=True, dynamic=False)
    generator._run = compiled
    torch.testing.assert_close(generator(*inputs), expected)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is available")


@needs_gpu
@torch.inference_mode()
def test_a_recorded_function_is_replayed_on_new_inputs():
    def function(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b).relu()

    recorded = CudaGraphs(function)
    sizes = 8, 16, 8
    inputs = [(torch.randn(n, 32, device="cuda"), torch.randn(32, n, device="cuda")) for n in sizes]
    outputs = [recorded(*pair) for pair in inputs]  # the third replays the recording of the first
    for output, pair in zip(outputs, inputs, strict=True):
        torch.testing.assert_close(output, function(*pair))


@needs_gpu
@torch.inference_mode()
def test_a_function_that_waits_cannot_be_recorded():
    with pytest.raises(RuntimeError):
        CudaGraphs(lambda a: a[a > 0])(torch.randn(8, device="cuda"))


@needs_gpu
def test_a_gpu_and_a_processor_give_the_same_pictures():
    torch.manual_seed(0)
    networks = SegmentationGenerator(8).eval(), GeometricMatching(8).eval(), AliasGenerator(8, 8, 16).eval()
    rng = np.random.default_rng(0)
    picture, plane = rng.integers(0, 256, (256, 128, 3), np.uint8), np.zeros((256, 128), np.uint8)
    items = [TryOnInput(picture, picture, plane, picture, plane + 255, seed=seed) for seed in range(3)]
    expected = Cascade(*copy.deepcopy(networks), dense=True, compile=False)(items)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True):
        outputs = Cascade(*networks, device="cuda", dtype=torch.float32, batch=2)(items)
    for output, reference in zip(outputs, expected, strict=True):
        assert np.abs(output.image.astype(int) - reference.image).mean() < 1
        assert (output.parse != reference.parse).mean() < 0.01
