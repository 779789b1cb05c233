"""Reads the layout of the parser's network, ultralytics' model yaml, as data from an untrusted file.

Ultralytics looks module names up in its own namespace, evaluates arguments and the activation as Python, and
allocates what the numbers ask for. So only what a layout needs is let through: the keys, modules and kinds of
arguments below.
"""

from pathlib import Path
from typing import Any

import yaml

from config.errors import WeightsMissingError
from worker.parsing.classes import TITLES

MODULES = frozenset(
    ("Conv", "C2f", "C3k2", "C2PSA", "SPPF", "Concat", "nn.Upsample", "Segment")  # of YOLOv8 and YOLO11
)
"""The modules that a layout may name."""

WORDS = frozenset(("None", "nc", "nearest", "bilinear", "True", "False"))
"""The texts that a module's arguments may be; all others are numbers, truth values and lists of them."""

MAX_BYTES = 50_000
"""Largest layout, bytes; the shipped one has 1,500."""

MAX_LAYERS = 200
"""Most layers; the shipped layout has 23."""

MAX_REPEATS = 20
"""Most repetitions of a layer."""

MAX_NUMBER = 4_096
"""Largest number of channels, or other number of a layer."""

MAX_ARGUMENTS = 10
"""Most arguments of a layer."""

MAX_SCALES = 10
_SCALE_VALUES = 3  # depth, width, most channels
_MAX_FACTOR = 4.0  # of depth and width

_KEYS = frozenset(("nc", "names", "backbone", "head", "scales", "scale"))


def read(path: Path) -> dict[str, Any]:
    """Return the layout of the parser's network.

    Raises WeightsMissingError, which says what is wrong, when the file is missing, is not a layout, names
    other classes than `Class`, or contains anything that a layout does not need.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise WeightsMissingError(
            f"{path} is missing: the parser's layout must be beside its weights.", input=str(path)
        ) from error
    if len(text) > MAX_BYTES:
        raise _refused(path, f"it has more than {MAX_BYTES} bytes")
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refused(path, f"it is not valid YAML ({type(error).__name__})") from error
    if not isinstance(document, dict):
        raise _refused(path, "it is not a mapping")
    if unknown := [key for key in document if key not in _KEYS]:
        raise _refused(path, f"the key {unknown[0]!r} is not one of {', '.join(sorted(_KEYS))}")
    _check_classes(path, document)
    _check_scales(path, document)
    layers = [layer for part in ("backbone", "head") for layer in _list(path, document.get(part), MAX_LAYERS)]
    for number, layer in enumerate(layers):
        _check_layer(path, number, layer)
    if [layer[2] == "Segment" for layer in layers] != [False] * (len(layers) - 1) + [True]:
        raise _refused(path, "its last layer, and no other, must be Segment")
    return document


def _check_classes(path: Path, document: dict[str, Any]) -> None:
    names = document.get("names")
    titles = list(names.values()) if isinstance(names, dict) else names
    if titles != TITLES or document.get("nc", len(TITLES)) != len(TITLES):
        raise WeightsMissingError(
            f"{path} is the layout of a network with the classes {str(titles)[:500]}, not {TITLES}.",
            input=str(path),
        )


def _check_scales(path: Path, document: dict[str, Any]) -> None:
    scales = document.get("scales", {})
    if not isinstance(scales, dict) or len(scales) > MAX_SCALES:
        raise _refused(path, "its scales are not a mapping of a few names")
    for name, values in scales.items():
        depth_width_channels = _list(path, values, _SCALE_VALUES)
        limits = (_MAX_FACTOR, _MAX_FACTOR, MAX_NUMBER)
        if len(depth_width_channels) != _SCALE_VALUES or not all(
            _is_number(value) and 0 < value <= limit
            for value, limit in zip(depth_width_channels, limits, strict=True)
        ):
            raise _refused(path, f"the scale {name!r} is not depth, width and channels within {limits}")
    if scales and document.get("scale", next(iter(scales))) not in scales:
        raise _refused(path, f"the scale {document['scale']!r} is not one of its scales")


def _check_layer(path: Path, number: int, layer: object) -> None:
    """Check one layer: [the layers it reads, repetitions, module, arguments]."""
    where = f"layer {number}"
    if not isinstance(layer, list) or len(layer) != 4:
        raise _refused(path, f"{where} is not [from, number, module, arguments]")
    sources, repeats, module, arguments = layer
    for source in sources if isinstance(sources, list) else [sources]:
        if not _is_integer(source) or not -number - 1 <= source < number:
            raise _refused(path, f"{where} reads from {str(source)[:50]!r}, which is no layer before it")
    if not _is_integer(repeats) or not 1 <= repeats <= MAX_REPEATS:
        raise _refused(path, f"{where} is repeated {str(repeats)[:50]!r} times, not 1 to {MAX_REPEATS}")
    if not isinstance(module, str) or module not in MODULES:
        raise _refused(
            path, f"{where} has the module {str(module)[:100]!r}, not one of {', '.join(sorted(MODULES))}"
        )
    for argument in _list(path, arguments, MAX_ARGUMENTS):
        for value in argument if isinstance(argument, list) else [argument]:
            if not (value is None or _is_small(value) or (isinstance(value, str) and value in WORDS)):
                raise _refused(
                    path,
                    f"{where} has the argument {str(value)[:100]!r}, which is neither a number up to "
                    f"{MAX_NUMBER} nor one of {', '.join(sorted(WORDS))}",
                )


def _list(path: Path, value: object, longest: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > longest:
        raise _refused(path, f"{str(value)[:50]!r} is not a list of at most {longest} values")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_small(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, int | float) and abs(value) <= MAX_NUMBER)


def _refused(path: Path, reason: str) -> WeightsMissingError:
    return WeightsMissingError(
        f"{path} is not a layout of the parser that can be loaded: {reason}. Use the .yaml that "
        "`tryon parser convert` wrote beside the weights.",
        input=str(path),
    )
