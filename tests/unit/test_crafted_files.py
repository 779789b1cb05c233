"""Crafted image files are read or refused by name, within a few seconds of processor time and 1.5 GB."""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from PIL import Image

from config.errors import ImageLimitError, ImageLoadError, OutOfMemoryError, TryonError
from tests.support.crafted import CRAFTED, file, mutated, originals, picture
from worker.images import decode as decoding
from worker.images.arrays import Image as Pixels
from worker.images.decode import decode, decode_input
from worker.images.decoder_process import DecoderProcess

CPU_LIMIT_S = 5.0
MEMORY_LIMIT_BYTES = 1_500_000_000
MUTATIONS_SHORT, MUTATIONS_FULL = 600, 50_000
SMALL = {"max_bytes": 1_000_000, "max_pixels": 1_000_000, "min_side": 8, "max_aspect": 8.0}
OPTIONS = {"name": "a", "max_pixels": 60_000_000, "min_side": 16, "max_aspect": 4.0, "background": 255}


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[DecoderProcess]:
    """A new decoder process with the memory limit of the settings, which `decode` uses during the test."""
    process = DecoderProcess(decoding.settings().decode_memory_bytes)
    monkeypatch.setattr(decoding, "_decoder", lambda memory_bytes: process)
    yield process
    process.close()


def child(decoder: DecoderProcess) -> psutil.Process:
    assert decoder._child is not None
    return psutil.Process(decoder._child.pid)


def outcome(call: Callable[[], Pixels]) -> tuple[Pixels | None, TryonError | None]:
    """Return the result of the call, or its named error."""
    try:
        return call(), None
    except TryonError as error:
        return None, error


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_crafted_file_is_read_or_refused_within_its_limits(kind: str, decoder: DecoderProcess) -> None:
    data = CRAFTED[kind]()
    before = os.times()
    _, error = outcome(lambda: decode_input(data, name="in/crafted"))
    if error is not None:
        assert isinstance(error, ImageLoadError | ImageLimitError)
        assert error.message.startswith("in/crafted ")
        assert error.input == "in/crafted"
    if decoder._child is not None:  # else it has reached its limit
        status = Path(f"/proc/{child(decoder).pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        assert int(peak.split()[1]) * 1024 < MEMORY_LIMIT_BYTES
    decoder.close()
    after = os.times()
    used = sum(getattr(after, name) - getattr(before, name) for name in ("user", "system"))
    used += after.children_user - before.children_user + after.children_system - before.children_system
    assert used < CPU_LIMIT_S


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("7,000 scans", "more than 100 scans"),
        ("150,000 APP1 segments", "more than 2000 segments"),
        ("one huge TIFF tile", "tile side of 40000 pixels"),
        ("overlapping TIFF tags", "tags declare 80"),
        ("219,000 TIFF tiles", "219000 strips or tiles"),
        ("400,000 PNG chunks", "more than 50000 chunks"),
        ("many WebP frames", "more than 20000 chunks"),
        ("BMP runs of one pixel", "run-length coded BMP of 5000×5000 pixels"),
        ("many GIF comments", "more than 10000 data blocks"),
    ],
)
def test_the_structure_of_a_crafted_file_is_refused_before_it_is_decoded(kind: str, message: str) -> None:
    with pytest.raises(ImageLimitError, match=message):
        decode_input(CRAFTED[kind](), name="a")


@pytest.mark.parametrize("kind", ["a huge WebP canvas", "a GIF larger than its screen"])
def test_a_canvas_is_refused_like_a_picture_of_its_size(kind: str) -> None:
    with pytest.raises(ImageLoadError, match="pixels; at most 60000000 are accepted"):
        decode_input(CRAFTED[kind](), name="a")


def test_a_file_that_takes_too_much_processor_time_is_refused(decoder: DecoderProcess) -> None:
    data = file(picture(4000, 4000), "JPEG")
    with pytest.raises(ImageLimitError, match=r"more than 0.01 s of processor time.*TRYON_DECODE_CPU_S"):
        decoder.decode(data, OPTIONS, cpu_s=0.01)
    assert decoder.decode(file(picture(160, 160), "PNG"), OPTIONS, cpu_s=4).shape == (160, 160, 3)


def test_processor_time_is_counted_for_each_file_anew(decoder: DecoderProcess) -> None:
    data = file(picture(800, 800), "PNG")
    used = 0.0
    while used < 0.5:  # in all, more than the limit of one
        decoder.decode(data, OPTIONS, cpu_s=0.4)
        used = sum(child(decoder).cpu_times()[:2])


def test_a_file_that_takes_too_much_memory_is_refused() -> None:
    decoder = DecoderProcess(200_000_000)
    try:
        with pytest.raises(ImageLimitError, match=r"more than 200 MB of memory.*TRYON_DECODE_MEMORY_BYTES"):
            decoder.decode(file(Image.new("RGB", (7000, 7000)), "PNG", compress_level=1), OPTIONS, cpu_s=10)
    finally:
        decoder.close()


def test_a_file_that_crashes_the_decoder_is_refused_and_one_that_the_system_kills_is_retried(
    decoder: DecoderProcess,
) -> None:
    data = file(picture(160, 160), "PNG")
    for number, error, retryable in (
        (signal.SIGSEGV, ImageLimitError, False),
        (signal.SIGKILL, OutOfMemoryError, True),
    ):
        decoder.decode(data, OPTIONS, cpu_s=4)
        child(decoder).suspend()
        child(decoder).send_signal(number)
        child(decoder).resume()
        with pytest.raises(error) as caught:
            decoder.decode(data, OPTIONS, cpu_s=4)
        assert caught.value.retryable is retryable


def test_a_time_limit_of_the_stage_is_not_reported_as_a_damaged_file(decoder: DecoderProcess) -> None:
    decoder.decode(file(picture(160, 160), "PNG"), OPTIONS, cpu_s=4)
    first = child(decoder)
    first.suspend()  # the answer does not come

    def interrupt(*_: object) -> None:
        raise SoftTimeLimitExceeded

    previous = signal.signal(signal.SIGUSR2, interrupt)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR2))
    try:
        timer.start()
        with pytest.raises(SoftTimeLimitExceeded):
            decode_input(file(picture(160, 160), "PNG"), name="a")
    finally:
        timer.join()
        signal.signal(signal.SIGUSR2, previous)
    assert not first.is_running()
    assert decode_input(file(picture(160, 160), "PNG"), name="a").shape == (160, 160, 3)


def test_a_forked_process_starts_a_decoder_of_its_own(decoder: DecoderProcess) -> None:
    data = file(picture(160, 160), "PNG")
    decoder.decode(data, OPTIONS, cpu_s=4)
    pid = child(decoder).pid
    forked = os.fork()
    if not forked:
        try:
            decoder.decode(data, OPTIONS, cpu_s=4)
            os._exit(0 if child(decoder).pid != pid else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(forked, 0)[1] == 0
    decoder.decode(data, OPTIONS, cpu_s=4)
    assert child(decoder).pid == pid


def test_the_decoder_has_no_credentials_in_its_environment(
    decoder: DecoderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRYON_S3_SECRET_ACCESS_KEY", "a secret")
    decoder.decode(file(picture(160, 160), "PNG"), OPTIONS, cpu_s=4)
    assert {name for name in child(decoder).environ() if name.startswith(("TRYON", "AWS"))} == set()


def read_or_refused(data: bytes) -> None:
    pixels, error = outcome(lambda: decode(data, name="in/mutated", **SMALL))
    if error is not None:
        assert error.message.startswith("in/mutated ")
        assert not error.retryable, error
    else:
        assert pixels is not None
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3


def check_mutations(count: int) -> None:
    files = originals()
    for seed in range(count):
        read_or_refused(mutated(files[seed % len(files)], random.Random(seed)))


def test_mutated_files_end_in_pictures_or_named_errors() -> None:
    check_mutations(MUTATIONS_SHORT)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_fifty_thousand_mutated_files_end_in_pictures_or_named_errors() -> None:
    check_mutations(MUTATIONS_FULL)
