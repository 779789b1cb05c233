"""Writes a network as an ONNX file that OpenCV reads."""

import warnings
from pathlib import Path

import torch
from torch import nn

_OPSET = 17
"""Version of ONNX's operators: OpenCV reads all that the networks use."""


def write_onnx(
    network: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    target: Path,
    input_names: list[str],
    output_names: list[str],
    *,
    any_count: bool = False,
) -> None:
    """Write a network in evaluation mode.

    Args:
        network: returns one tensor, or a tuple of them.
        inputs: examples, which give the shapes.
        target: the .onnx.
        input_names: of the inputs, in order.
        output_names: of the outputs, in order.
        any_count: whether the first axis of inputs and outputs may have any length.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    names = [*input_names, *output_names]
    with warnings.catch_warnings():
        # The newer exporter needs a further package and writes operators that OpenCV does not read.
        warnings.simplefilter("ignore", DeprecationWarning)
        # A note on an optimization that is left out for the padding; the result is the same.
        warnings.filterwarnings("ignore", "Constant folding - Only steps=1", UserWarning)
        torch.onnx.export(
            network.eval(),
            inputs,
            str(target),
            input_names=input_names,
            output_names=output_names,
            dynamic_axes={name: {0: "count"} for name in names} if any_count else None,
            opset_version=_OPSET,
            dynamo=False,
        )
