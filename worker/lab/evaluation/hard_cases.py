"""Twenty hard try-ons: the photographs, how they are altered, and the accepted outcomes.

None of the street photographs is among those that `tryon evaluate parsing` tests the parser on, because
hard cases are there to be improved on. The parser was trained on most of them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from config.errors import InputValidationError, TryonError
from worker.contract import Bundle
from worker.images.arrays import Image
from worker.images.decode import decode_input
from worker.images.frame import FILL, Frame
from worker.lab.demo.sheet import Panel
from worker.lab.evaluation import alterations
from worker.lab.evaluation.alterations import jpeg_file
from worker.lab.evaluation.hard_garments import make
from worker.lab.evaluation.samples import GarmentSample, garments
from worker.queue.request import TryonRequest
from worker.stages import local
from worker.stages.models import Models

PICTURE = "picture"
"""The accepted outcome of most cases; the others are named errors."""


def _unchanged_garment(sample: GarmentSample) -> bytes:
    return jpeg_file(sample.photo)


def _white_on_white(sample: GarmentSample) -> bytes:
    return jpeg_file(make("white on white", sample).photo)


def _selfie(photo: Image) -> bytes:
    return alterations.selfie(photo, hand=(0.49, 0.145))


@dataclass(frozen=True)
class Case:
    """One hard try-on.

    Attributes:
        title: what is hard about it.
        person: a photograph, `street/NNNN` of Clothing Co-Parsing or `studio/NNNNN_NN` of VITON-HD's people.
        garment: one of VITON-HD's garments.
        accepted: the accepted outcomes: PICTURE, or names of errors.
        alter_person: photograph, RGB uint8 (h, w, 3) -> the input file.
        alter_garment: garment with its published mask -> the input file.
    """

    title: str
    person: str
    garment: str
    accepted: tuple[str, ...] = (PICTURE,)
    alter_person: Callable[[Image], bytes] = jpeg_file
    alter_garment: Callable[[GarmentSample], bytes] = _unchanged_garment


CASES: Sequence[Case] = (
    Case("arms crossed", "street/0595", "02783_00", (PICTURE, "SynthesisError")),
    Case("hand on hip", "street/0760", "11351_00"),
    Case("hair over both shoulders", "street/0426", "01260_00"),
    Case("side turn", "street/0630", "02783_00", (PICTURE, "PoseError")),
    Case("seated", "street/0450", "01430_00"),
    Case("long coat", "street/0057", "01260_00"),
    Case("dress", "street/0637", "06429_00"),
    Case("bag", "street/0337", "01430_00"),
    Case("sleeveless on long-sleeved", "studio/03615_00", "08348_00"),
    Case("white on white", "studio/00891_00", "01430_00", alter_garment=_white_on_white),
    Case("black on black", "studio/07573_00", "11351_00", alter_garment=alterations.black_on_black),
    Case("transparent lace", "studio/03615_00", "11351_00", alter_garment=alterations.lace),
    Case("tiny person", "street/0332", "01430_00", (PICTURE, "NoPersonError"), alterations.tiny),
    Case(
        "cropped at the chest",
        "studio/08909_00",
        "01430_00",
        (PICTURE, "PoseError"),
        alterations.cropped_at_chest,
    ),
    Case("wide landscape photograph", "street/0288", "01260_00", alter_person=alterations.wide),
    Case("grey-scale photograph", "street/0193", "11351_00", alter_person=alterations.greyscale),
    Case("rotated by EXIF", "street/0150", "02783_00", alter_person=alterations.rotated_by_exif),
    Case("low light", "street/0639", "01430_00", alter_person=alterations.low_light),
    Case("plain mirror selfie", "street/0401", "01260_00", alter_person=_selfie),
    Case("garment on a hanger", "studio/00891_00", "01430_00", alter_garment=alterations.on_hanger),
)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case.

    Attributes:
        case: the case.
        person, garment: the input pictures as the system decodes them, RGB uint8 (h, w, 3).
        bundles: stage -> its bundle; empty when the case ended with an error.
        error: the named error, or None.
        seconds: time of all stages.
    """

    case: Case
    person: Image
    garment: Image
    bundles: Mapping[str, Bundle]
    error: TryonError | None
    seconds: float

    @property
    def details(self) -> Mapping[str, Any]:
        """The engine's report on its picture: score and warnings."""
        details: Mapping[str, Any] = self.bundles["generate"]["details.json"]
        return details

    @property
    def name(self) -> str:
        """PICTURE, or the error's name."""
        return self.error.name if self.error else PICTURE


def input_files(case: Case, samples: Path, ccp: Path) -> tuple[bytes, bytes]:
    """Return the person's and the garment's file of a case.

    Args:
        case: one of CASES.
        samples: a folder laid out as VITON-HD's test set.
        ccp: a folder of Clothing Co-Parsing.

    Raises InputValidationError when a picture does not exist.
    """
    kind, name = case.person.split("/")
    path = (samples / "image" if kind == "studio" else ccp / "photos") / f"{name}.jpg"
    if not path.exists():
        raise InputValidationError(
            f"{path} does not exist: give VITON-HD's test set with --samples and Clothing Co-Parsing "
            "with --ccp.",
            input=str(path),
        )
    garment = next(sample for sample in garments(samples) if sample.name == case.garment)
    return case.alter_person(decode_input(path.read_bytes(), name=name)), case.alter_garment(garment)


def run_case(case: Case, samples: Path, ccp: Path, models: Models) -> Outcome:
    """Return the outcome of a case: its two files through every stage of a job.

    Arguments and errors as in `input_files`.
    """
    person, garment = input_files(case, samples, ccp)
    options = TryonRequest(person_key="person", cloth_key="garment", engine="geometric").options()
    decoded = decode_input(person, name="person"), decode_input(garment, name="garment")
    began = time.perf_counter()
    try:
        bundles = local.run(person, garment, options, models, names={"person": "person", "cloth": "garment"})
    except TryonError as error:
        return Outcome(case, *decoded, {}, error, time.perf_counter() - began)
    return Outcome(case, *decoded, bundles, None, time.perf_counter() - began)


def row(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome and the accepted ones, the picture's score, the seconds and the message."""
    return {
        "outcome": outcome.name,
        "right": " or ".join(outcome.case.accepted),
        "as it should": "yes" if outcome.name in outcome.case.accepted else "NO",
        "score": "" if outcome.error else outcome.details["score"],
        "seconds": round(outcome.seconds, 1),
        "says": outcome.error.message if outcome.error else " ".join(outcome.details["warnings"]),
    }


def panels(outcome: Outcome) -> list[Panel]:
    """Return person, garment and result with titles; person and result as they are on the canvas."""
    person, result, title = outcome.person, np.full((1, 1, 3), 255, np.uint8), outcome.name
    if not outcome.error:
        frame = Frame(**outcome.bundles["pose"]["frame.json"])
        person = frame.to_canvas(person, fill=FILL)
        result = frame.to_canvas(outcome.bundles["generate"]["result.png"], fill=FILL)
        title = f"score {outcome.details['score']:.2f}"
    return [(outcome.case.title, person), (outcome.case.garment, outcome.garment), (title, result)]
