"""Draws one scene in a process of its own and prints the most memory that took.

    python -m worker.lab.cascade_bench.peak DEVICE PATH SCENE.npz SEGMENTATION MATCHING ALIAS

prints MiB: before anything is loaded, with the weights, at the most, and at the most on a graphics card.
"""

import sys
from pathlib import Path

import torch

from worker.lab.cascade_bench import bench
from worker.lab.evaluation.memory import peak_mib


def main(device: str, path: str, scene_file: str, *files: str) -> None:
    """Load the weights as a worker does, draw the scene once, and print what was held."""
    scene, start = bench.saved(Path(scene_file)), peak_mib()
    segmenter, matcher, generator = map(Path, files)
    cascade = bench.load((segmenter, matcher, generator), device, path)
    loaded = peak_mib()
    bench.draw_batch(cascade, [scene])
    on_device = torch.cuda.max_memory_allocated(device) / 2**20 if device.startswith("cuda") else 0
    print(*(round(value) for value in (start, loaded, peak_mib(), on_device)))


if __name__ == "__main__":
    main(*sys.argv[1:])
