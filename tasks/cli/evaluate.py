"""`tryon evaluate`: every map, and whole try-ons, against ground truth from outside this project."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from config.settings import settings
from tasks.cli.evaluate_hard import hard
from tasks.cli.evaluate_panel import panel
from tasks.cli.garment import SHIPPED
from tasks.cli.output import Json, err, report_file, save_picture, show_table
from tasks.cli.samples import DEFAULT_CCP, DEFAULT_GARMENTS, DEFAULT_SAMPLES, Samples, SheetFolder

if TYPE_CHECKING:
    from worker.lab.evaluation.report import Report
    from worker.stages.models import Models

app = typer.Typer(help="Measure the maps against published ground truth.", no_args_is_help=True)

Sheet = Annotated[
    Path | None, typer.Option(dir_okay=False, help="Write a picture of the comparison here, a PNG.")
]


@app.command()
def pose(
    samples: Samples = DEFAULT_SAMPLES,
    as_json: Json = False,
    joints: Annotated[bool, typer.Option("--joints", help="One row per joint.")] = False,
    sheet: Sheet = None,
) -> None:
    """Per group of joints: pixel error, PCK and missed joints, against OpenPose."""
    from worker.lab.evaluation.pose import EACH, GROUPS, contact_sheet, evaluate
    from worker.stages.models import Models

    with Models(settings().models_dir) as models:
        show_table(evaluate(samples, models, EACH if joints else GROUPS), as_json)
        if sheet:
            save_picture(contact_sheet(samples, models), sheet)


@app.command()
def cloth(
    samples: Samples = DEFAULT_SAMPLES,
    as_json: Json = False,
    hard: Annotated[bool, typer.Option(help="Also the hard cases made from the same garments.")] = True,
    weights: Annotated[Path, typer.Option(dir_okay=False, help="The garment network's .onnx.")] = SHIPPED,
    sheet: Sheet = None,
) -> None:
    """Per garment, and per hard case: IoU and boundary F-score against the published mask."""
    from worker.cloth.garment_reader import GarmentReader
    from worker.lab.evaluation import cloth as evaluation

    reader = GarmentReader.load(weights)
    results = evaluation.measure(samples, reader, [evaluation.PUBLISHED])
    tables = {evaluation.PUBLISHED: evaluation.by_garment(results)}
    if hard:
        hard_results = evaluation.measure(samples, reader, evaluation.HARD)
        tables["hard cases"] = evaluation.by_case(hard_results)
        results += hard_results
    if as_json:
        print(json.dumps(tables))
    else:
        for title, rows in tables.items():
            show_table(rows, as_json, title)
    if sheet:
        save_picture(evaluation.contact_sheet(results), sheet)


@app.command()
def garments(
    labels: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Label file, one JSON object a line.")
    ] = (DEFAULT_GARMENTS / "labels.jsonl"),
    photos: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of its photographs.")] = (
        DEFAULT_GARMENTS / "photos"
    ),
    split: Annotated[str, typer.Option(help="Rows of the label file to read.")] = "test",
    weights: Annotated[Path, typer.Option(dir_okay=False, help="The network's .onnx.")] = SHIPPED,
    as_json: Json = False,
    sheet: Sheet = None,
) -> None:
    """Landmarks, sleeve and kind by the garment network, against labels."""
    from worker.cloth.garment_reader import GarmentReader
    from worker.lab.evaluation import garments as evaluation

    results = evaluation.read_all(labels, photos, GarmentReader.load(weights), split=split)
    figures = evaluation.summary(results)
    if as_json:
        print(json.dumps(figures))
    else:
        show_table({labels.name: figures}, as_json)
    if sheet:
        save_picture(evaluation.contact_sheet(results), sheet)


@app.command()
def parsing(
    samples: Samples = DEFAULT_SAMPLES,
    ccp: Annotated[
        Path | None, typer.Option(help="Folder of Clothing Co-Parsing: its test photographs too.")
    ] = DEFAULT_CCP,
    as_json: Json = False,
    sheet: Sheet = None,
) -> None:
    """Per part: IoU of the trained and the landmark parser against published label maps."""
    from worker.lab.evaluation.parsing import ccp_test, compare, parsers, viton_hd
    from worker.stages.models import Models

    tables = {}
    with Models(settings().models_dir) as models:
        sets = {"VITON-HD": viton_hd(samples, models)} | ({"CCP test": ccp_test(ccp, models)} if ccp else {})
        for title, parser_samples in sets.items():
            tables[title], picture = compare(parser_samples, parsers(models))
            if not as_json:
                show_table(tables[title], as_json, title)
            if sheet:
                save_picture(picture, sheet.with_stem(f"{sheet.stem}-{title.split()[0].lower()}"))
    if as_json:
        print(json.dumps(tables))


@app.command()
def tryon(
    samples: Samples = DEFAULT_SAMPLES,
    ccp: Annotated[
        Path | None, typer.Option(help="Folder of Clothing Co-Parsing: people in the street too.")
    ] = DEFAULT_CCP,
    street: Annotated[int, typer.Option(min=0, help="Number of people in the street.")] = 30,
    every: Annotated[
        bool, typer.Option("--all", help="Every garment on every person in the street.")
    ] = False,
    self_swap: Annotated[bool, typer.Option(help="Also each person in their own garment.")] = True,
    as_json: Json = False,
    sheet: SheetFolder = None,
) -> None:
    """Whole try-ons: success, refusals, colours, changed pixels, similarity, time and memory."""
    from worker.lab.evaluation.report import Report
    from worker.lab.evaluation.tryon import person_files, street_files
    from worker.stages.models import Models

    sets = {"VITON-HD": person_files(samples), "street": street_files(ccp, street) if ccp and street else []}
    with Models(settings().models_dir) as models:
        report = Report(models, sheet)
        _run_try_ons(report, models, samples, sets, one_garment=() if every else ("street",), swap=self_swap)
        for page in report.close():
            report_file(page)
    tables = report.tables()
    if as_json:
        print(json.dumps(tables))
        return
    # Many measures of few sets: a row per measure is easier to read.
    show_table(_transposed(tables.pop("try-ons")), as_json, "try-ons")
    for title, rows in tables.items():
        show_table(rows, as_json, title)


app.command()(hard)
app.command()(panel)


@app.command()
def score(
    ratings: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Rated pictures, CSV. [default: shipped]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit the score to rated pictures; print how reliable it is on people it was not fitted to."""
    from worker.lab.evaluation import score_fit

    report = score_fit.report(ratings or score_fit.RATINGS)
    if as_json:
        print(json.dumps(report))
    else:
        typer.echo("\n".join(f"{name}: {value}" for name, value in report.items()))


def _run_try_ons(
    report: "Report",
    models: "Models",
    samples: Path,
    sets: Mapping[str, list[Path]],
    *,
    one_garment: tuple[str, ...],
    swap: bool,
) -> None:
    """Add the try-ons of every set to the report.

    Args:
        report: collects the measurements.
        models: the loaded models.
        samples: the folder of the garments.
        sets: title -> the people's files.
        one_garment: the sets whose people wear one garment each, in turn, instead of all.
        swap: whether each person also wears their own garment.
    """
    from worker.lab.evaluation.tryon import garment_files, load_garment, load_person

    with Progress(console=err) as progress:
        garments = [
            load_garment(path.stem, path.read_bytes(), models)
            for path in progress.track(garment_files(samples), description="garments")
        ]
        for title, paths in sets.items():
            # One person after the other: only one is in memory.
            for number, path in enumerate(progress.track(paths, description=title)):
                person = load_person(path, models)
                own = [garments[number % len(garments)]] if title in one_garment else garments
                report.try_on(title, person, own)
                if swap:
                    report.swap(person)


def _transposed(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    return {column: {name: row.get(column, "") for name, row in rows.items()} for column in columns}
