"""`tryon evaluate hard`: twenty hard try-ons, each through every stage of a job."""

from pathlib import Path
from typing import Annotated

import typer

from config.settings import settings
from tasks.cli.evaluate import DEFAULT, DEFAULT_CCP, Json, Samples, Sheet, app, save, show


@app.command()
def hard(
    samples: Samples = DEFAULT,
    ccp: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder of Clothing Co-Parsing.")
    ] = DEFAULT_CCP,
    case: Annotated[str, typer.Option(help="Only the cases with this in their name, such as `EXIF`.")] = "",
    as_json: Json = False,
    sheet: Sheet = None,
) -> None:
    """Twenty hard try-ons: the picture or the named error of each, beside what is right.

    The sheet comes in pages of five cases: PATH-1.png and on.
    """
    from worker.evaluation import hard_cases
    from worker.models import Models

    models = Models(settings().models_dir)
    chosen = [one for one in hard_cases.CASES if case in one.title]
    outcomes = [hard_cases.attempt(one, samples, ccp, models) for one in chosen]
    show(hard_cases.table(outcomes), as_json, "hard cases")
    if not as_json:
        for title, words in hard_cases.said(outcomes).items():
            print(f"{title}: {words}")
    if sheet:
        for number, page in enumerate(hard_cases.contact_sheets(outcomes), 1):
            save(page, sheet.with_stem(f"{sheet.stem}-{number}"))
