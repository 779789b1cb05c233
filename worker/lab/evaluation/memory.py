"""The peak memory of this process."""

import resource
import sys
from pathlib import Path

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")

_RESET_PEAK = "5"
"""What proc(5) takes in clear_refs to reset the peak resident set size."""


def reset_peak() -> None:
    """Reset the peak to the memory in use now, on Linux; on other systems the peak is never reset."""
    if _CLEAR.exists():
        _CLEAR.write_text(_RESET_PEAK)


def peak_mib() -> float:
    """Return the peak resident set size since `reset_peak`, MiB."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024  # bytes on macOS, KiB elsewhere
