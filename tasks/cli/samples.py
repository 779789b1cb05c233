"""The options of `tryon evaluate` that name folders of samples and of contact sheets."""

from pathlib import Path
from typing import Annotated

import typer

Samples = Annotated[
    Path, typer.Option(exists=True, file_okay=False, help="Folder laid out as VITON-HD's test set.")
]

SheetFolder = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Write contact sheets into this folder, as PNG pages."),
]

DEFAULT_SAMPLES = Path("../shared/samples/viton_hd")
DEFAULT_CCP = Path("../shared/ccp")
DEFAULT_GARMENTS = Path("../shared/garments")
