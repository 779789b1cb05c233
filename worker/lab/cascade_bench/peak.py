"""Runs one scene in a process of its own and prints its peak memory.

    python -m worker.lab.cascade_bench.peak DEVICE PATH SCENE.npz SEGMENTATION MATCHING ALIAS

prints MiB: before the weights are loaded, with the weights, the peak, and the peak on the GPU.
"""

import sys
from pathlib import Path

import torch

from worker.lab.cascade_bench.bench import load_cascade, run_batch
from worker.lab.cascade_bench.scenes import load_scene
from worker.lab.evaluation.memory import peak_mib


def main(device: str, path: str, scene_file: str, segmenter: str, matcher: str, generator: str) -> None:
    """Load the weights as a worker does, run the scene once, and print the memory."""
    scene, start = load_scene(Path(scene_file)), peak_mib()
    cascade = load_cascade((Path(segmenter), Path(matcher), Path(generator)), device, path)
    loaded = peak_mib()
    run_batch(cascade, [scene])
    on_device = torch.cuda.max_memory_allocated(device) / 2**20 if device.startswith("cuda") else 0
    print(*(round(value) for value in (start, loaded, peak_mib(), on_device)))


if __name__ == "__main__":
    main(*sys.argv[1:])
