"""The commands that write a picture: run, demo."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from config.settings import settings
from tasks.cli import codes
from tasks.cli.jobs import Category, Quality, follow, in_steps, note, show, upload_file
from worker.queue.request import TryonRequest

if TYPE_CHECKING:
    from worker.contract import Bundle

OUTPUT_FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
"""Ending of the output file -> the request's output format."""

Seed = Annotated[int, typer.Option(help="The same seed gives the same picture.")]


def run(
    person: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The person's photograph.")],
    cloth: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The garment's photograph.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Save the picture here.")] = Path(
        "tryon.png"
    ),
    sheet: Annotated[Path | None, typer.Option(help="Save a contact sheet of every stage here.")] = None,
    engine: Annotated[str, typer.Option(help="auto, or the name of an engine.")] = "auto",
    category: Category = "upper_body",
    quality: Quality = "balanced",
    seed: Seed = 0,
) -> None:
    """Run a try-on inside this process: the same stages, no servers."""
    from worker.images.decode import encode
    from worker.stages import local, table
    from worker.stages.models import Models

    output_format = OUTPUT_FORMATS.get(output.suffix.lower())
    if output_format is None:
        typer.echo(f"-o {output}: the name must end in {', '.join(OUTPUT_FORMATS)}", err=True)
        raise typer.Exit(codes.USER_ERROR)
    options = {"engine": engine, "category": category, "quality": quality, "seed": seed}
    request = TryonRequest.parse((str(person), str(cloth)), options | {"output_format": output_format})
    for stage in table.STAGES:
        table.check(stage)
    with Models(settings().models_dir) as models:
        bundles = local.run(
            person.read_bytes(),
            cloth.read_bytes(),
            request.options(),
            models,
            names={"person": str(person), "cloth": str(cloth)},
            report=lambda stage, ms: typer.echo(f"{stage:9} {ms:6.0f} ms"),
            progress=lambda progress: typer.echo(in_steps(**progress.record()), err=True),
        )
    output.write_bytes(encode(bundles["generate"]["result.png"], request.output_format)[0])
    details = bundles["generate"]["details.json"]
    for warning in details.get("warnings", []):
        typer.echo(f"generate: {warning}", err=True)
    if "score" in details:
        typer.echo(f"score     {details['score']:6.2f}")
    typer.echo(f"Result: {output}")
    if sheet is not None:
        _save_sheet(sheet, person.read_bytes(), bundles)


def demo(
    person: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Your own photograph of a person.")
    ] = None,
    cloth: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Your own photograph of a garment.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the pictures.")] = None,
    seed: Seed = 0,
) -> None:
    """Start all servers and workers, run one try-on through the queue, save the picture, stop everything."""
    from tasks.cli.serve import running_system
    from worker.artifacts.bundle import encode_png, unpack
    from worker.artifacts.storage import storage
    from worker.lab.demo import garments, people

    person = person or people.demonstration(settings().data_dir)
    person_file = person.read_bytes() if person else people.astronaut()
    cloth_file = cloth.read_bytes() if cloth else encode_png(garments.draw(garments.NAMES[0]))
    typer.echo(f"Person:  {person or 'Eileen Collins, NASA portrait, public domain (from scikit-image)'}")
    typer.echo(f"Garment: {cloth or 'drawn by this project'}")
    folder = output or settings().data_dir / "demo"
    with running_system():
        from tasks import tryon

        # The demonstration shows a picture in any case; its score says what it is worth.
        handle = tryon.delay(upload_file(person_file), upload_file(cloth_file), seed=seed, minimum_score=0.0)
        record = follow(handle.id, quiet=False)
        for stage in record["stages"]:
            typer.echo(f"{stage['name']:9} {note(stage)}")
        if record["status"] != "succeeded":
            show(record, as_json=False)
            raise typer.Exit(codes.JOB_FAILED)
        store = storage()
        bundles = {
            stage["name"]: unpack(store.get_artifact(stage["artifact_key"])) for stage in record["stages"]
        }
        result = store.get_result(record["result_key"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.png").write_bytes(result)
    typer.echo(f"Result: {folder / 'result.png'}")
    _save_sheet(folder / "sheet.png", person_file, bundles)


def _save_sheet(path: Path, person: bytes, bundles: "Mapping[str, Bundle]") -> None:
    from worker.artifacts.bundle import encode_png
    from worker.images.decode import decode_input
    from worker.lab.demo.sheet import contact_sheet

    photo = decode_input(person, name="person")
    path.write_bytes(encode_png(contact_sheet(photo, bundles)))
    typer.echo(f"Contact sheet: {path}")
