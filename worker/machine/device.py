"""Which devices GPU stages run on: said once in the log, never a silent change from CUDA to the processor."""

import ctypes
import logging
import subprocess
import sys

from config.settings import ConfigurationError

log = logging.getLogger(__name__)


def choose(setting: str) -> list[str]:
    """Return the devices for the setting `auto`, `cpu`, `cuda` or `cuda:N`, one worker process for each.

    Raises ConfigurationError when CUDA was asked for and is not there.
    """
    if setting == "cpu":
        log.info("GPU stages run on the processor, as TRYON_DEVICE=cpu asks")
        return ["cpu"]
    count = _cuda_count()
    if setting == "auto":
        if count:
            log.info("GPU stages run on %d CUDA device(s)", count)
            return [f"cuda:{index}" for index in range(count)]
        log.warning("GPU stages run on the processor: TRYON_DEVICE=auto and there is no CUDA device")
        return ["cpu"]
    devices = [f"cuda:{index}" for index in range(count)] if setting == "cuda" else [setting]
    wanted = 0 if setting == "cuda" else int(setting.removeprefix("cuda:"))
    if wanted >= count:
        raise ConfigurationError(
            f"TRYON_DEVICE={setting} asks for CUDA device {wanted}, and PyTorch sees {count}. "
            "Check the driver (nvidia-smi), or set TRYON_DEVICE=auto or cpu."
        )
    log.info("GPU stages run on %s", ", ".join(devices))
    return devices


def _cuda_count() -> int:
    try:
        ctypes.CDLL("libcuda.so.1")  # without the driver PyTorch sees nothing, and asking it takes seconds
    except OSError:
        return 0
    # In a process of its own: a parent that has touched CUDA cannot fork children that use it.
    probe = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        raise ConfigurationError(
            f"PyTorch could not be asked for CUDA devices: {probe.stderr.strip()[-500:]}"
        )
    return int(probe.stdout.split()[-1])
