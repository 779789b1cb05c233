"""`tryon bench fashn`: seconds a step and a picture, memory, and the counted work of FASHN VTON's network."""

import json
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from tasks.cli.output import Json


def fashn(
    device: Annotated[str, typer.Option(help="cpu, or a CUDA device.")] = "cpu",
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(help="Type of the network. Unset: bfloat16 on CUDA, float32 on a processor."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps that are measured.")] = 1,
    count: Annotated[
        bool, typer.Option("--count", help="Measure nothing: times on known cards from the counted work.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Draw with the network of FASHN VTON v1.5 at full size, with random weights.

    A step takes minutes on a processor.
    """
    import torch

    from worker.lab.fashn_bench import counted, measure

    if count:
        _show_counted(counted(), as_json)
        return

    name = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    measured = measure(device, getattr(torch, name), steps).record()
    if as_json:
        print(json.dumps(measured))
        return
    table = Table("figure", "value")
    for key, value in measured.items():
        table.add_row(key, f"{value:.2f}" if isinstance(value, float) else str(value))
    Console().print(table)


def _show_counted(cards: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"cards": cards}))
        return
    levels = list(cards[0]["picture_s"])
    table = Table("card", "TFLOP/s", *(f"{level}, s" for level in levels), "of an hour's price (balanced)")
    for card in cards:
        times = (f"{card['picture_s'][level]:.1f}" for level in levels)
        table.add_row(
            card["card"], str(card["tflops"]), *times, f"1/{1 / card['price_share']['balanced']:.0f}"
        )
    Console().print(table)
