"""The cascade on a graphics card, gone through without one: nothing waits for the device or leaves it."""

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
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from worker.viton_hd import enlarge, labels, spline
from worker.viton_hd.alias import AliasGenerator
from worker.viton_hd.cascade import Cascade, outcome
from worker.viton_hd.dense_alias import DenseAlias
from worker.viton_hd.graphs import Graphs
from worker.viton_hd.inputs import Tensors, TryOnInput
from worker.viton_hd.matching import GeometricMatching
from worker.viton_hd.segmentation import SegmentationGenerator

CARD = torch.device("cuda:0")


class OnTheCard(TorchDispatchMode):
    """Lets nothing pass that takes from another place than the card, or puts there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = args, kwargs or {}
        made = func(*args, **given[1])
        places = {leaf.device for leaf in tree_leaves((given, made)) if isinstance(leaf, Tensor)}
        if places - {CARD}:
            raise AssertionError(f"{func} lies on {', '.join(map(str, places))}")
        return made


@pytest.fixture
def card() -> Iterator[Callable[[], OnTheCard]]:
    """A card of tensors without contents: where the next step depends on them, torch raises."""
    constants = enlarge._along, spline.basis, labels._segmentation_table, labels._synthesis_table
    with FakeTensorMode():
        yield OnTheCard
    for constant in constants:  # torch must not find these where it looks for real ones
        constant.cache_clear()


def maps(batch: int, height: int, width: int) -> dict[str, Tensor]:
    picture, plane = (batch, height, width, 3), (batch, height, width)
    sizes = {"pose": picture, "agnostic": picture, "garment": picture}
    sizes |= {"garment_mask": plane, "parse_agnostic": plane}
    return {name: torch.empty(size, dtype=torch.uint8, device=CARD) for name, size in sizes.items()}


@pytest.fixture
def cascade(card: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Cascade]]:
    """Makes a small cascade on the card."""
    # They are there from the start; torch cannot move parameters without contents.
    monkeypatch.setattr(torch.nn.Module, "to", lambda network, device: network)

    def make(**options: object) -> Cascade:
        with CARD:
            networks = SegmentationGenerator(8), GeometricMatching(8), AliasGenerator(8, 8, 16)
        return Cascade(*networks, device=CARD, dtype=torch.bfloat16, compile=False, **options)

    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True):  # put back when this is left
        yield make


def draw(drawing: Cascade) -> Tensor:
    """Go from the uploaded maps to what is downloaded."""
    with torch.inference_mode():
        noise = torch.empty(2, 1, 256, 192, device=CARD)
        dressed = [drawing.dress(Tensors.of(**maps(2, 256, 128)), noise)]
        picture = drawing.synthesise(dressed, lambda *size: torch.empty(2, 1, *size, device=CARD))
        return outcome(picture, dressed)


def test_nothing_waits_for_the_card_between_the_inputs_and_the_picture(card, cascade):
    drawing = cascade()
    assert isinstance(drawing.generate, DenseAlias)
    assert not torch.backends.cudnn.allow_tf32
    draw(drawing)  # brings the constants there, once
    with card():
        made = draw(drawing)
    assert made.shape == (2, 256, 128, 8)
    assert made.dtype == torch.uint8


def test_the_way_of_processors_would_wait(cascade):
    with pytest.raises((DynamicOutputShapeException, DataDependentOutputException)):
        draw(cascade(dense=False))


def test_what_leaves_the_card_or_comes_from_elsewhere_is_found_out(card):
    seen = torch.empty(3, device=CARD)
    with card():
        with pytest.raises(AssertionError, match="cpu"):
            seen.cpu()
        with pytest.raises(AssertionError, match="cpu"):
            torch.zeros(3).to(CARD)


@torch.inference_mode()
def test_the_dense_generator_is_one_graph_for_the_compiler():
    generator = DenseAlias(AliasGenerator(4, 4, 8).eval(), torch.float32, compile=False)
    rng = torch.Generator().manual_seed(0)
    given = [torch.rand(1, channels, 128, 128, generator=rng) for channels in (9, 7, 8, 1)]
    expected = generator(*given)
    compiled = torch.compile(generator.draw, backend="eager", fullgraph=True, dynamic=False)
    generator._run = compiled
    torch.testing.assert_close(generator(*given), expected)


needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


@needs_card
@torch.inference_mode()
def test_a_recorded_function_is_replayed_on_new_inputs():
    def function(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b).relu()

    recorded = Graphs(function)
    sizes = 8, 16, 8
    given = [(torch.randn(n, 32, device="cuda"), torch.randn(32, n, device="cuda")) for n in sizes]
    found = [recorded(*pair) for pair in given]  # the third replays the first's recording
    for made, pair in zip(found, given, strict=True):
        torch.testing.assert_close(made, function(*pair))


@needs_card
@torch.inference_mode()
def test_a_recording_refuses_what_waits():
    with pytest.raises(RuntimeError):
        Graphs(lambda a: a[a > 0])(torch.randn(8, device="cuda"))


@needs_card
def test_a_card_draws_what_a_processor_draws():
    torch.manual_seed(0)
    networks = SegmentationGenerator(8).eval(), GeometricMatching(8).eval(), AliasGenerator(8, 8, 16).eval()
    rng = np.random.default_rng(0)
    picture, plane = rng.integers(0, 256, (256, 128, 3), np.uint8), np.zeros((256, 128), np.uint8)
    items = [TryOnInput(picture, picture, plane, picture, plane + 255, seed=seed) for seed in range(3)]
    expected = Cascade(*copy.deepcopy(networks), dense=True, compile=False)(items)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True):
        found = Cascade(*networks, device="cuda", dtype=torch.float32, batch=2)(items)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one.image.astype(int) - other.image).mean() < 1
        assert (one.parse != other.parse).mean() < 0.01
