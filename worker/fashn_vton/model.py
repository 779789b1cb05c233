"""The network on its device: draws batches of prepared pictures."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.contract import Host
from worker.fashn_vton.files import load_network
from worker.fashn_vton.network import Sizes, TryOnTransformer, rotation_table
from worker.fashn_vton.preparation import Padding, Prepared
from worker.fashn_vton.recorded import RecordedVelocities
from worker.fashn_vton.sampler import Inputs, Velocities, sample, seeded_noise
from worker.images.arrays import Image
from worker.machine.compiling import in_prepared_sizes, prepared_sizes

log = logging.getLogger(__name__)

MIN_BFLOAT16_CAPABILITY = (8, 0)
"""CUDA compute capability from which a GPU has bfloat16 units; earlier ones emulate them."""

HALF_RANGE = 127.5
"""Levels of a picture's byte for one unit of the network's range −1..1."""


MIXER_SHARE = 0.38
"""Work of a mixer block in units of another block's: half the tokens are half of the linear layers' work and
a quarter of the attention's, which is about half of the whole."""


class TryOnModel:
    """Draws pictures with the network.

    Args:
        network: with its weights, on any device.
        device: where it runs, `cpu` or `cuda:N`; in bfloat16 on a GPU that has it, else in float32.
        batch: most pictures that are drawn at once.
        compile: whether the network is compiled and recorded on a CUDA device.
    """

    def __init__(self, network: TryOnTransformer, device: str, batch: int, *, compile: bool = True) -> None:
        self.device, self.batch = torch.device(device), batch
        self.dtype = network_dtype(self.device)
        self.network = network.eval().to(self.device, self.dtype)
        self._step_s: float | None = None
        self._velocities: Velocities = self.network
        if compile and self.device.type == "cuda":
            self._velocities = RecordedVelocities(self.network)
        log.info("FASHN VTON runs in %s on %s", self.dtype, self.device)

    @classmethod
    def load(cls, file: Path, host: Host, sizes: Sizes | None = None) -> "TryOnModel":
        """Return the network of a weight file; sizes None for the published. Raises WeightsMissingError."""
        model = cls(load_network(file, sizes), host.device, host.batch)
        if model.device.type == "cuda":
            model.warm_up()  # compiles for minutes the first time: not during a job
        return model

    def warm_up(self) -> None:
        """Draw a step of empty pictures in every batch size: compiles and records before the first job."""
        plane = np.zeros(self.shape, np.uint8)
        picture = np.zeros((*self.shape, 3), np.uint8)
        empty = Prepared(picture, plane, picture, category=1, seed=0, padding=Padding(0, 0, 0, 0))
        for size in prepared_sizes(self.batch):
            self.draw([empty] * size, steps=1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the network's pictures."""
        return self.network.sizes.input_shape

    def draw(
        self, items: Sequence[Prepared], steps: int, between: Callable[[int, int], None] | None = None
    ) -> list[Image]:
        """Return the picture of each item, RGB uint8 (rows, columns, 3) with the padding of its person.

        Args:
            items: the prepared jobs; at most `batch` are drawn at once, in powers of two.
            steps: steps of the sampler.
            between: called after each step with its number and the number of all; it may raise to end the
                drawing.
        """
        pictures: list[Image] = []
        parts = list(in_prepared_sizes(items, self.batch))
        for number, part in enumerate(parts):
            finished = partial(self._finished, between, number * steps, len(parts) * steps)
            noise = seeded_noise([item.seed for item in part], *self.shape).to(self.device)
            drawn = sample(self.network, self._inputs(part), noise, steps, finished, self._velocities)
            levels = ((drawn.clamp(-1, 1) + 1) * HALF_RANGE).round().to(torch.uint8)
            pictures.extend(levels.permute(0, 2, 3, 1).cpu().numpy())
        return pictures

    def _finished(
        self, between: Callable[[int, int], None] | None, earlier: int, steps: int, step: int, _steps: int
    ) -> None:
        """Call `between` once the device has finished a step.

        Without waiting the host would queue all steps at once: progress would be wrong, and a canceled job
        would be drawn to its end. The wait is short beside a step.

        Args:
            between: what to call.
            earlier, steps: steps of the parts before, and of all parts.
            step: the step in its part.
        """
        if between is None:
            return
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        between(earlier + step, steps)

    def step_s(self) -> float:
        """Return about how long a step of one picture takes on a processor, seconds.

        It is extrapolated from one block, which is run once: the blocks are nearly all of a step's work.
        """
        if self._step_s is None:
            self._step_s = measured_step_s(self.network)
        return self._step_s

    def _inputs(self, items: Sequence[Prepared]) -> Inputs:
        return Inputs(
            person=self._scaled([item.person for item in items]),
            garment=self._scaled([item.garment for item in items]),
            person_pose=self._scaled([item.person_pose[..., None] for item in items]),
            garment_pose=self._scaled([np.zeros((*self.shape, 1), np.uint8) for _ in items]),
            category=torch.tensor([item.category for item in items], device=self.device),
        )

    def _scaled(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Return pictures, uint8 (h, w, c), as (b, c, h, w) in −1..1, on the device."""
        stacked = torch.from_numpy(np.stack(pictures)).to(self.device)
        return (stacked.permute(0, 3, 1, 2).float() / HALF_RANGE - 1).to(self.dtype)


@torch.inference_mode()
def measured_step_s(network: TryOnTransformer) -> float:
    """Return the seconds of a step of one picture with guidance, extrapolated from one block's time."""
    sizes = network.sizes
    rows, columns = sizes.grid
    parameter = next(network.parameters())
    tokens = torch.zeros(2, 2 * rows * columns, sizes.hidden_size).to(parameter)
    rotation = rotation_table(sizes.grid, sizes.axes_dim, parameter.device)
    started_at = time.perf_counter()
    network.single_blocks[0](tokens, tokens[:, 0], torch.cat([rotation, rotation]))
    block_s = time.perf_counter() - started_at
    # A double block does the work of a single one; a mixer block has half the tokens.
    return block_s * (
        sizes.single_blocks_depth + sizes.double_blocks_depth + MIXER_SHARE * sizes.patch_mixer_depth
    )


def network_dtype(device: torch.device) -> torch.dtype:
    """Return the type in which the network runs: bfloat16 where a GPU has units for it, else float32."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= MIN_BFLOAT16_CAPABILITY:
        return torch.bfloat16
    return torch.float32
