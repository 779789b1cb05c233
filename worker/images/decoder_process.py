"""The client of the decoder process, `worker.images.decoder`: starts it, sends it files, replaces it."""

import contextlib
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from config.errors import ImageLimitError, OutOfMemoryError, from_record
from worker.images import arrays
from worker.images.decoder import HEADER

_ROOT = Path(__file__).parents[2]
"""The folder from which the project is imported."""

_PIPE_BYTES = 1 << 20
"""Size of the pipe of the pixels; Linux gives 64 kB without being asked."""

_END_GRACE_S = 5.0
"""How long a process that closed its output may take to end, seconds."""

_CPU_SIGNALS = (signal.SIGPROF, signal.SIGXCPU)


class DecoderProcess:
    """A decoder process, started by the first file and replaced after a file that ended it.

    One file is decoded at a time. A forked process starts a decoder of its own.
    """

    def __init__(self, memory_bytes: int) -> None:
        """Prepare a decoder; nothing is started.

        Args:
            memory_bytes: most memory of the process, its code included, bytes.
        """
        self._memory_bytes = memory_bytes
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def decode(self, data: bytes, options: Mapping[str, Any], *, cpu_s: float) -> arrays.Image:
        """Return the pixels of a file, uint8 (h, w, 3).

        Args:
            data: the file.
            options: the arguments of `worker.images.decoder.pixels`.
            cpu_s: most processor time, seconds.

        Raises:
            TryonError: what `pixels` raises; ImageLimitError when the file takes too much processor time or
                memory, or makes the decoder crash; OutOfMemoryError when the system killed the decoder.
        """
        name = str(options["name"])
        name = str(options["name"])
        with self._lock:
            child = self._running()
            try:
                answer, image = _exchange(child, data, {**options, "cpu_s": cpu_s})
            except (EOFError, BrokenPipeError) as error:  # it ended, or is about to
                raise _death(name, self._end(grace_s=_END_GRACE_S), cpu_s) from error
            except BaseException:  # a time limit of the caller: the answer that is under way is lost
                self._end(grace_s=0)
                raise
        if image is None:
            raise from_record(answer["error"])
        return image

    def close(self) -> None:
        """End the process, if it runs."""
        with self._lock:
            if self._child is not None:
                self._end(grace_s=0)

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._child is None:
            self._child = subprocess.Popen(  # noqa: S603 - no shell; the arguments are the project's own
                [sys.executable, "-P", "-m", "worker.images.decoder", str(self._memory_bytes)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd="/",
                env={
                    "PATH": os.defpath,
                    "PYTHONPATH": str(_ROOT),
                    # Every thread of a library reserves address space, which the limit counts.
                    "OPENBLAS_NUM_THREADS": "1",
                    "MALLOC_ARENA_MAX": "1",
                },
            )
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                with contextlib.suppress(PermissionError):  # the user has too many large pipes
                    fcntl.fcntl(_output(self._child), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        return self._child

    def _end(self, *, grace_s: float) -> int:
        """Wait for the end of the process, kill it after the grace, and return its exit status."""
        child, self._child = self._child, None
        if child is None:
            raise RuntimeError("there is no decoder process to end")
        with child:
            try:
                child.wait(grace_s)
            except subprocess.TimeoutExpired:
                child.kill()
        return child.returncode

    def _forget(self) -> None:
        """Leave the decoder of the parent alone in a forked process."""
        child, self._child, self._lock = self._child, None, threading.Lock()
        if child is not None:
            _input(child).close()
            _output(child).close()
            child.returncode = 0  # not this process's child: it cannot wait for it


def _exchange(
    child: "subprocess.Popen[bytes]", data: bytes, options: Mapping[str, Any]
) -> tuple[dict[str, Any], arrays.Image | None]:
    """Send a file and return the answer, with the pixels unless it is an error.

    Raises EOFError or BrokenPipeError when the process ends first.
    """
    body = json.dumps(options).encode()
    for part in (HEADER.pack(len(body), len(data)) + body, data):
        rest = memoryview(part)
        while rest:
            rest = rest[_input(child).write(rest) :]
    body_length, pixels_length = HEADER.unpack(_read(child, bytearray(HEADER.size)))
    answer = json.loads(bytes(_read(child, bytearray(body_length))))
    if not pixels_length:
        return answer, None
    width, height = answer["size"]
    image = np.empty((height, width, 3), np.uint8)
    _read(child, image.reshape(-1).data)
    return answer, image


def _read(child: "subprocess.Popen[bytes]", buffer: bytearray | memoryview) -> bytearray | memoryview:
    """Fill the buffer from the process's output and return it. Raises EOFError."""
    rest = memoryview(buffer)
    while rest:
        received = _output(child).readinto(rest)
        if not received:
            raise EOFError("the decoder process closed its output")
        rest = rest[received:]
    return buffer


def _input(child: "subprocess.Popen[bytes]") -> io.FileIO:
    return cast(io.FileIO, child.stdin)


def _output(child: "subprocess.Popen[bytes]") -> io.FileIO:
    return cast(io.FileIO, child.stdout)


def _death(name: str, status: int, cpu_s: float) -> Exception:
    """Return the error of the file that the process did not survive."""
    if -status in _CPU_SIGNALS:
        return ImageLimitError(
            f"{name} needs more than {cpu_s:g} s of processor time to decode (TRYON_DECODE_CPU_S). Use a "
            "smaller picture, or save it as an ordinary JPEG or PNG.",
            input=name,
        )
    if -status == signal.SIGKILL:
        return OutOfMemoryError(
            f"The process that decoded {name} was killed: the machine has probably too little memory.",
            input=name,
        )
    if status < 0:
        return ImageLimitError(
            f"{name} made the decoder crash ({signal.Signals(-status).name}). Save it as an ordinary JPEG or "
            "PNG.",
            input=name,
        )
    return RuntimeError(f"the decoder process ended with exit status {status}; its reason is in the log")
