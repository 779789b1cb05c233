"""`tryon evaluate hard`: twenty hard try-ons, each through every stage of a job."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from config.settings import settings
from tasks.cli.output import Json, err, report_file, show_table
from tasks.cli.samples import DEFAULT_CCP, DEFAULT_SAMPLES, Samples, SheetFolder


def hard(
    samples: Samples = DEFAULT_SAMPLES,
    ccp: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder of Clothing Co-Parsing.")
    ] = DEFAULT_CCP,
    case: Annotated[str, typer.Option(help="Only the cases with this in their name, such as `EXIF`.")] = "",
    as_json: Json = False,
    sheet: SheetFolder = None,
) -> None:
    """Twenty hard try-ons: the picture or the named error of each, and which of them are accepted."""
    from worker.lab.evaluation import hard_cases
    from worker.lab.evaluation.pages import Pages
    from worker.stages.models import Models

    selected = [hard_case for hard_case in hard_cases.CASES if case in hard_case.title]
    pages = Pages(sheet, "hard", group_size=3, columns=3) if sheet else None
    rows = {}
    with Models(settings().models_dir) as models, Progress(console=err) as progress:
        for hard_case in progress.track(selected, description="hard cases"):
            outcome = hard_cases.run_case(hard_case, samples, ccp, models)
            rows[hard_case.title] = hard_cases.row(outcome)
            if pages:
                pages.add(hard_cases.panels(outcome))
    if pages:
        pages.close()
        for page in pages.written:
            report_file(page)
    if as_json:
        show_table(rows, as_json)
        return
    # Messages are too long for a column.
    messages = {title: message for title, row in rows.items() if (message := row.pop("says"))}
    show_table(rows, as_json, "hard cases")
    for title, message in messages.items():
        print(f"{title}: {message}")
