"""``sinsok schemas``: the contracts as JSON Schema and AsyncAPI documents."""

from pathlib import Path

import click

from schemas.documents import FOLDER, documents
from sinsok.errors import UserError


@click.group()
def command() -> None:
    """Export JSON Schema and AsyncAPI documents."""


@command.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=FOLDER,
    help="Folder to write into; the project's own schemas/ where none is named.",
)
def export(folder: Path) -> None:
    """Write a JSON Schema (2020-12) for each event, and the AsyncAPI 3.0 document of all topics."""
    for name, text in documents().items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}; name another folder with --to") from None
        click.echo(path)
