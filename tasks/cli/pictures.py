"""The commands that end in a picture on disk: run, demo."""

from pathlib import Path
from typing import Annotated, Any

import typer

from config.settings import settings
from tasks.cli import codes
from worker.queue.request import TryonRequest

Seed = Annotated[int, typer.Option(help="The same seed gives the same picture.")]


def run(
    person: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The person's photograph.")],
    cloth: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The garment's photograph.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Save the picture here.")] = Path(
        "tryon.png"
    ),
    sheet: Annotated[Path | None, typer.Option(help="Save a contact sheet of every stage here.")] = None,
    engine: Annotated[str, typer.Option(help="auto or geometric.")] = "auto",
    seed: Seed = 0,
) -> None:
    """Try a garment on inside this process: the same stages, no servers."""
    from worker.images.decode import encode
    from worker.stages import local, table
    from worker.stages.models import Models

    kinds = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
    if output.suffix.lower() not in kinds:
        typer.echo(f"-o {output}: the name must end in {', '.join(kinds)}", err=True)
        raise typer.Exit(codes.USER_ERROR)
    request = TryonRequest.parse(
        (str(person), str(cloth)),
        {"engine": engine, "seed": seed, "output_format": kinds[output.suffix.lower()]},
    )
    for stage in table.STAGES:
        table.check(stage)
    models = Models(settings().models_dir)
    try:
        bundles = local.run(
            person.read_bytes(),
            cloth.read_bytes(),
            request.options(),
            models,
            names={"person": str(person), "cloth": str(cloth)},
            report=lambda stage, ms: typer.echo(f"{stage:9} {ms:6.0f} ms"),
        )
    finally:
        models.close()
    output.write_bytes(encode(bundles["generate"]["result.png"], request.output_format)[0])
    for warning in bundles["generate"]["details.json"]["warnings"]:
        typer.echo(f"generate: {warning}", err=True)
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
    output: Annotated[Path | None, typer.Option(help="Folder of the pictures.")] = None,
    seed: Seed = 0,
) -> None:
    """Start everything, try a garment on through queue and workers, save the picture, stop everything."""
    from tasks.cli.jobs import follow, note, show, upload_file
    from tasks.cli.serve import running_system
    from worker.artifacts.bundle import encode_png, unpack
    from worker.artifacts.storage import storage
    from worker.lab.demo import garments, people

    person_file = person.read_bytes() if person else people.astronaut()
    cloth_file = cloth.read_bytes() if cloth else encode_png(garments.draw(garments.NAMES[0]))
    typer.echo(f"Person:  {person or 'Eileen Collins, NASA portrait, public domain (from scikit-image)'}")
    typer.echo(f"Garment: {cloth or 'drawn by this project'}")
    folder = output or settings().data_dir / "demo"
    with running_system():
        from tasks import tryon

        handle = tryon.delay(upload_file(person_file), upload_file(cloth_file), seed=seed)
        record = follow(handle.id, quiet=False)
        for stage in record["stages"]:
            typer.echo(f"{stage['name']:9} {note(stage)}")
        if record["status"] != "succeeded":
            show(record, as_json=False)
            raise typer.Exit(codes.JOB_FAILED)
        store = storage()
        bundles = {s["name"]: unpack(store.get_artifact(s["artifact_key"])) for s in record["stages"]}
        result = store.get_result(record["result_key"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.png").write_bytes(result)
    typer.echo(f"Result: {folder / 'result.png'}")
    _save_sheet(folder / "sheet.png", person_file, bundles)


def _save_sheet(path: Path, person: bytes, bundles: dict[str, Any]) -> None:
    from worker.artifacts.bundle import encode_png
    from worker.images.decode import decode_input
    from worker.lab.demo.sheet import contact_sheet

    photo = decode_input(person, name="person")
    path.write_bytes(encode_png(contact_sheet(photo, bundles)))
    typer.echo(f"Contact sheet: {path}")
