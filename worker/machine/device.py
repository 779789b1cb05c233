"""The devices that GPU stages run on: logged once, and never a silent fallback from CUDA to the CPU."""

import ctypes
import logging
import subprocess
import sys

from config.settings import ConfigurationError

log = logging.getLogger(__name__)

_ERROR_LENGTH = 500  # characters of PyTorch's last output that an error message quotes


def choose(setting: str) -> list[str]:
    """Return the devices for the setting `auto`, `cpu`, `cuda` or `cuda:N`, one worker process for each.

    Raises ConfigurationError when the setting requires CUDA and the device is missing.
    """
    if setting == "cpu":
        log.info("GPU stages run on the CPU, because of TRYON_DEVICE=cpu")
        return ["cpu"]
    count = _cuda_count()
    if setting == "auto":
        if count:
            log.info("GPU stages run on %d CUDA device(s)", count)
            return [f"cuda:{index}" for index in range(count)]
        log.warning("GPU stages run on the CPU: TRYON_DEVICE=auto and there is no CUDA device")
        return ["cpu"]
    devices = [f"cuda:{index}" for index in range(count)] if setting == "cuda" else [setting]
    required_index = 0 if setting == "cuda" else int(setting.removeprefix("cuda:"))
    if required_index >= count:
        raise ConfigurationError(
            f"TRYON_DEVICE={setting} requires CUDA device {required_index}, and PyTorch finds {count} "
            "device(s). Check the driver (nvidia-smi), or set TRYON_DEVICE=auto or cpu."
        )
    log.info("GPU stages run on %s", ", ".join(devices))
    return devices


def memory(device: str) -> tuple[int, int] | None:
    """Return the used and the total memory of a CUDA device, bytes; None for another device.

    Memory that other processes use counts too. Call this only in a process that has loaded its models.
    """
    if not device.startswith("cuda"):
        return None
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return total - free, total


def _cuda_count() -> int:
    try:
        ctypes.CDLL(
            "libcuda.so.1"
        )  # Without the driver there is no device, and PyTorch takes seconds to say so.
    except OSError:
        return 0
    # In a child process: a parent that has initialised CUDA cannot fork children that use it.
    probe = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        raise ConfigurationError(
            f"PyTorch could not count the CUDA devices: {probe.stderr.strip()[-_ERROR_LENGTH:]}"
        )
    return int(probe.stdout.split()[-1])
