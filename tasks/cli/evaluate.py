"""`tryon evaluate`: each map against ground truth that this project did not draw."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from config.settings import settings

if TYPE_CHECKING:
    import numpy as np

err = Console(stderr=True)
app = typer.Typer(help="Measure the maps against published ground truth.", no_args_is_help=True)

Samples = Annotated[
    Path, typer.Option(exists=True, file_okay=False, help="Folder laid out as VITON-HD's test set.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

Sheet = Annotated[
    Path | None, typer.Option(dir_okay=False, help="Write a picture of what was compared here, a PNG.")
]

DEFAULT = Path("../shared/samples/viton_hd")
DEFAULT_CCP = Path("../shared/ccp")


@app.command()
def pose(
    samples: Samples = DEFAULT,
    as_json: Json = False,
    joints: Annotated[bool, typer.Option("--joints", help="One row for each joint.")] = False,
    sheet: Sheet = None,
) -> None:
    """Per group of joints: pixel error, PCK and what is missed, against OpenPose."""
    from worker.lab.evaluation.pose import EACH, GROUPS, contact_sheet, evaluate
    from worker.stages.models import Models

    models = Models(settings().models_dir)
    show(evaluate(samples, models, EACH if joints else GROUPS), as_json)
    if sheet:
        save(contact_sheet(samples, models), sheet)


@app.command()
def cloth(
    samples: Samples = DEFAULT,
    as_json: Json = False,
    hard: Annotated[bool, typer.Option(help="Also the hard cases made from the same garments.")] = True,
    sheet: Sheet = None,
) -> None:
    """Per garment, and per hard case: IoU and boundary F-score against the published mask."""
    from worker.lab.evaluation import cloth as evaluation

    results = evaluation.measure(samples, [evaluation.PUBLISHED])
    tables = {evaluation.PUBLISHED: evaluation.by_garment(results)}
    if hard:
        harder = evaluation.measure(samples, evaluation.HARD)
        tables["hard cases"] = evaluation.by_case(harder)
        results += harder
    if as_json:
        print(json.dumps(tables))
    else:
        for title, rows in tables.items():
            show(rows, as_json, title)
    if sheet:
        save(evaluation.contact_sheet(results), sheet)


@app.command()
def parsing(
    samples: Samples = DEFAULT,
    ccp: Annotated[
        Path | None, typer.Option(help="Folder of Clothing Co-Parsing: its test photographs too.")
    ] = DEFAULT_CCP,
    as_json: Json = False,
    sheet: Sheet = None,
) -> None:
    """Per part: IoU of the trained and the landmark parser against published label maps."""
    from worker.lab.evaluation.parsing import ccp_test, compare, parsers, viton_hd
    from worker.stages.models import Models

    models = Models(settings().models_dir)
    tables = {}
    sets = {"VITON-HD": viton_hd(samples, models)} | ({"CCP test": ccp_test(ccp, models)} if ccp else {})
    for title, scenes in sets.items():
        tables[title], picture = compare(scenes, parsers(models))
        if not as_json:
            show(tables[title], as_json, title)
        if sheet:
            save(picture, sheet.with_stem(f"{sheet.stem}-{title.split()[0].lower()}"))
    if as_json:
        print(json.dumps(tables))


@app.command()
def tryon(
    samples: Samples = DEFAULT,
    ccp: Annotated[
        Path | None, typer.Option(help="Folder of Clothing Co-Parsing: people in the street too.")
    ] = DEFAULT_CCP,
    street: Annotated[int, typer.Option(min=0, help="How many people in the street.")] = 30,
    every: Annotated[
        bool, typer.Option("--all", help="Every garment on every person in the street.")
    ] = False,
    self_swap: Annotated[bool, typer.Option(help="Also each person in their own garment again.")] = True,
    as_json: Json = False,
    sheet: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Write contact sheets into this folder, as PNG pages."),
    ] = None,
) -> None:
    """Whole try-ons: what succeeds, what is refused, colours, pixels outside, likeness, time and memory."""
    from worker.lab.evaluation import tryon as evaluation
    from worker.lab.evaluation.report import Report
    from worker.stages.models import Models

    models = Models(settings().models_dir)
    report = Report(models, sheet)
    walkers = evaluation.street(ccp, street) if ccp and street else []
    with Progress(console=err) as progress:
        garments = [
            evaluation.garment(path.stem, path.read_bytes(), models)
            for path in progress.track(evaluation.garments(samples), description="garments")
        ]
        # One person after the other, so that no more than one is held.
        for title, paths in (("VITON-HD", evaluation.people(samples)), ("street", walkers)):
            for number, path in enumerate(progress.track(paths, description=title)):
                person = evaluation.person(path, models)
                one_each = title == "street" and not every
                report.try_on(title, person, [garments[number % len(garments)]] if one_each else garments)
                if self_swap:
                    report.swap(person)
    for page in report.close():
        err.print(f"written: {page}")
    tables = report.tables()
    if as_json:
        print(json.dumps(tables))
        return
    # Many measures of few sets: one row for each measure is easier to read.
    sets = tables.pop("try-ons")
    measures = dict.fromkeys(name for row in sets.values() for name in row)
    show({name: {of: row.get(name, "") for of, row in sets.items()} for name in measures}, as_json, "try-ons")
    for title, rows in tables.items():
        show(rows, as_json, title)


def show(rows: dict[str, dict[str, Any]], as_json: bool, title: str = "") -> None:
    """Print a table of named rows, or one JSON object."""
    if as_json:
        print(json.dumps(rows))
        return
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = Table(Column(title, no_wrap=True), *(Column(column, overflow="fold") for column in columns))
    for name, row in rows.items():
        table.add_row(name, *(str(row.get(column, "")) for column in columns))
    Console().print(table)


def save(picture: "np.ndarray", path: Path) -> None:
    """Write a picture, RGB uint8 (h, w, 3), as a PNG, and say so on standard error."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    err.print(f"written: {path}")
