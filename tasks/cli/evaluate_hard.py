"""`tryon evaluate hard`: twenty hard try-ons, each through every stage of a job."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from config.settings import settings
from tasks.cli.evaluate import DEFAULT, DEFAULT_CCP, Json, Samples, app, err, show


@app.command()
def hard(
    samples: Samples = DEFAULT,
    ccp: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder of Clothing Co-Parsing.")
    ] = DEFAULT_CCP,
    case: Annotated[str, typer.Option(help="Only the cases with this in their name, such as `EXIF`.")] = "",
    as_json: Json = False,
    sheet: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Write contact sheets into this folder, as PNG pages."),
    ] = None,
) -> None:
    """Twenty hard try-ons: the picture or the named error of each, beside what is right."""
    from worker.lab.evaluation import hard_cases
    from worker.lab.evaluation.pages import Pages
    from worker.stages.models import Models

    models = Models(settings().models_dir)
    chosen = [one for one in hard_cases.CASES if case in one.title]
    pages = Pages(sheet, "hard", together=3, columns=3) if sheet else None
    rows = {}
    with Progress(console=err) as progress:
        for one in progress.track(chosen, description="hard cases"):
            outcome = hard_cases.attempt(one, samples, ccp, models)
            rows[one.title] = hard_cases.row(outcome)
            if pages:
                pages.add(hard_cases.panels(outcome))
    if pages:
        pages.close()
        for page in pages.written:
            err.print(f"written: {page}")
    if as_json:
        show(rows, as_json)
        return
    # What is said is too long for a column.
    said = {title: words for title, row in rows.items() if (words := row.pop("says"))}
    show(rows, as_json, "hard cases")
    for title, words in said.items():
        print(f"{title}: {words}")
