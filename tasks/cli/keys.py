"""The commands about the keys of the HTTP interface."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from config.errors import InputValidationError
from tasks.cli import codes
from tasks.cli.output import Json

app = typer.Typer(help="The API keys of `tryon serve`.", no_args_is_help=True)


@app.command("add")
def add(
    tenant: Annotated[str, typer.Argument(help="Whose jobs the key submits and sees.")],
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    inputs: Annotated[
        str | None,
        typer.Option(
            help="What the object keys of its requests may begin with; '' allows any. Default: only pictures "
            "that it has uploaded itself."
        ),
    ] = None,
    webhook: Annotated[str | None, typer.Option(help="URL that is told of the events of its jobs.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    from db import keys

    _check(tenant, webhook)
    key_id, key = keys.add_key(tenant, label=label, input_prefix=inputs, webhook_url=webhook)
    if as_json:
        print(json.dumps({"id": key_id, "key": key, "tenant": tenant}))
    else:
        typer.echo(f"Key {key_id} of tenant {tenant}; it is shown this once:", err=True)
        print(key)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the keys."""
    from db import keys

    rows = keys.all_keys()
    if as_json:
        print(json.dumps(rows))
        return
    table = Table("id", "tenant", "label", "inputs", "webhook", "created", "last used", "revoked")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)


@app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id, from `tryon keys list`.")]) -> None:
    """Revoke a key: servers refuse it within two seconds."""
    from db import keys

    if not keys.revoke_key(key_id):
        typer.echo(f"There is no key {key_id}, or it was revoked before", err=True)
        raise typer.Exit(codes.USER_ERROR)
    print(f"Key {key_id} is revoked")


def _check(tenant: str, webhook: str | None) -> None:
    """Raise InputValidationError for a tenant's name that cannot be part of an object key, or a bad URL."""
    import re

    from db.models import MAX_TENANT_LENGTH
    from worker.queue import receivers

    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_TENANT_LENGTH - 1}}}", tenant):
        raise InputValidationError(
            f"A tenant's name has 1 to {MAX_TENANT_LENGTH} letters, digits, '.', '_' and '-', and "
            "begins with a letter or digit.",
            input="tenant",
        )
    if webhook is not None:
        try:
            receivers.check_url(webhook)
        except ValueError as error:
            raise InputValidationError(
                f"A webhook cannot be sent to {webhook}: {error}", input="webhook"
            ) from error
