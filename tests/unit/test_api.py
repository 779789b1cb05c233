"""The parts of the HTTP interface that need no server."""

import io

import numpy as np
import pytest
from PIL import Image

from config.endpoints import is_loopback
from config.settings import settings
from tasks.api.callers import Bucket
from tasks.api.pictures import coloured
from tasks.api.problems import ProblemError, problem_of
from tasks.api.tryons import MAX_WAIT_S, _wait_s
from tasks.api.uploads import picture_type
from worker.images.decoder import FORMATS
from worker.parsing.palette import colourise
from worker.queue.webhooks import JITTER, MAX_DELAY_S, retry_delay_s


def encoded(pixels, picture_format):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, picture_format)
    return buffer.getvalue()


@pytest.mark.parametrize("picture_format", FORMATS)
def test_every_accepted_format_is_recognised(picture_format):
    media_type, suffix = picture_type(encoded(np.zeros((8, 8, 3), np.uint8), picture_format)[:12])
    assert media_type == f"image/{picture_format.lower()}"
    assert suffix.startswith(".")


@pytest.mark.parametrize("head", [b"", b"<html>", b"%PDF-1.7", b"RIFF0000WAVE", b"0000ftypheic"])
def test_what_is_no_picture_is_recognised(head):
    assert picture_type(head) is None


def test_a_label_map_gets_the_colours_of_the_palette():
    labels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    shown = Image.open(io.BytesIO(coloured(encoded(labels, "PNG"))))
    assert (np.asarray(shown.convert("RGB")) == colourise(labels)).all()


def test_a_picture_that_is_no_label_map_stays_as_it_is():
    png = encoded(np.zeros((4, 5, 3), np.uint8), "PNG")
    assert coloured(png) == png


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("wait=5", 5),
        ("respond-async, wait=10", 10),
        ("wait=100000", MAX_WAIT_S),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("await=5", 0),
    ],
)
def test_how_long_a_client_prefers_to_wait(prefer, seconds):
    assert _wait_s(prefer) == seconds


def test_a_bucket_gives_so_many_requests_at_once_and_then_its_rate():
    bucket = Bucket(rate=10, tokens=20, filled_at=0)
    assert [bucket.take(0) for _ in range(20)] == [0] * 20
    assert bucket.take(0) == pytest.approx(0.1)
    assert bucket.take(0.1) == 0
    assert bucket.take(100) == 0
    assert bucket.tokens == 19, "it holds no more than it did at the beginning"


def test_an_unforeseen_error_shows_no_detail():
    problem = problem_of(RuntimeError("the password is 123"))
    assert (problem.name, problem.status) == ("InternalError", 500)
    assert "123" not in str(problem.document())


def test_a_problem_document_has_the_fields_of_rfc_9457():
    document = ProblemError("NoResultError", 409, "no picture", input="x").document()
    assert document["type"] == "urn:tryon:problem:NoResultError"
    assert (document["title"], document["status"], document["detail"]) == ("Conflict", 409, "no picture")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("shop.example", False)],  # noqa: S104
)
def test_what_only_this_machine_reaches(host, local):
    assert is_loopback(host) == local


def test_the_delays_of_webhooks_double_up_to_a_limit_and_end():
    delays = [retry_delay_s(attempt) for attempt in range(1, settings().webhook_max_attempts)]
    for delay, expected in zip(delays, (5 * 2**number for number in range(99)), strict=False):
        assert delay == pytest.approx(min(expected, MAX_DELAY_S), rel=JITTER)
    assert 24 * 3600 < sum(delays) < 48 * 3600, "a receiver may be away for a day"
    assert retry_delay_s(settings().webhook_max_attempts) is None
