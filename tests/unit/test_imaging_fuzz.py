"""Damaged files of every format: the decoder returns a picture or raises a TryonError."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from config.errors import TryonError
from worker.images.decode import decode

LIMITS = {"max_bytes": 1_000_000, "max_pixels": 1_000_000, "min_side": 8, "max_aspect": 8.0}
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")


def picture(kind):
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def check_decode(data):
    try:
        image = decode(data, name="a", **LIMITS)
    except TryonError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400))
def test_arbitrary_bytes(data):
    check_decode(data)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 0.999), value=st.integers(0, 255), cut=st.floats(0.02, 1), data=st.data())
def test_a_damaged_file(kind, place, value, cut, data):
    whole = bytearray(picture(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[int(place * len(whole))] = value
        place = data.draw(st.floats(0, 0.999))
    check_decode(bytes(whole[: max(1, int(cut * len(whole)))]))
