"""``sinsok send``: C-STORE files to a DICOM node."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateways.dicom.scu import InstanceFile, NotDicom, Result, SendFailed, read_instance, send
from sinsok.errors import UsageError, UserError

_MOST_AE_CHARACTERS: Final = 16
_SKIPPED_SHOWN: Final = 5


class Address(click.ParamType):
    """HOST:PORT."""

    name = "HOST:PORT"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Split at the last colon; brackets of an IPv6 address are taken off."""
        if isinstance(value, tuple):
            return value
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            self.fail(f"{value!r} is no HOST:PORT, for example 127.0.0.1:11112", param, ctx)
        return host.strip("[]"), int(port)


class AETitle(click.ParamType):
    """An AE title (DICOM PS3.5, 6.2): up to 16 printable ASCII characters without a backslash."""

    name = "AE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the characters."""
        title = value.strip()
        if not 0 < len(title) <= _MOST_AE_CHARACTERS or not title.isascii() or not title.isprintable() or "\\" in title:
            self.fail(f"{value!r} is no AE title: 1 to 16 printable ASCII characters, no backslash", param, ctx)
        return title


@click.command(name="send")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH...")
@click.option("--to", "address", type=Address(), default="127.0.0.1:11112", show_default=True)
@click.option("--called", type=AETitle(), default="SUWON_AI", show_default=True, help="AE title of the receiver.")
@click.option("--calling", type=AETitle(), default="SINSOK_SEND", show_default=True, help="AE title of the sender.")
def command(paths: tuple[Path, ...], address: tuple[str, int], called: str, calling: str) -> None:
    """C-STORE all DICOM files under PATH..., as they are.

    Exit code 1 when any was refused or the receiver could not be reached.
    """
    instances = _instances(paths)
    host, port = address
    console = Console(stderr=True)
    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    answered: list[Result] = []
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=len(instances))

        def on_result(result: Result) -> None:
            answered.append(result)
            progress.advance(task)
            if result.warned or not result.accepted:
                verdict = "accepted with a warning" if result.accepted else "refused"
                click.echo(f"{verdict}: {result.instance.path}: {result.words}", err=True)

        try:
            summary = send(instances, host=host, port=port, called=called, calling=calling, on_result=on_result)
        except SendFailed as error:
            done = sum(result.accepted for result in answered)
            raise UserError(
                f"{error}; {done} of {len(instances)} were accepted. Is the receiver up, and are --to, --called and "
                "--calling what it expects?"
            ) from error
        except OSError as error:
            raise UserError(f"{error.filename}: cannot be read any more: {error.strerror}") from error
    warned = f", {summary.warned} of them with a warning" if summary.warned else ""
    click.echo(f"{summary.accepted} of {len(instances)} accepted by {called} at {host}:{port}{warned}")
    if summary.refused:
        raise UserError(f"{summary.refused} of {len(instances)} were refused by {called} at {host}:{port}")


def _instances(paths: tuple[Path, ...]) -> list[InstanceFile]:
    instances, skipped = [], []
    for path in _files(paths):
        try:
            instances.append(read_instance(path))
        except NotDicom as reason:
            skipped.append(f"{path} {reason}")
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    for line in skipped[:_SKIPPED_SHOWN]:
        click.echo(f"skipped: {line}", err=True)
    if len(skipped) > _SKIPPED_SHOWN:
        click.echo(f"skipped: {len(skipped) - _SKIPPED_SHOWN} more files that are not DICOM", err=True)
    if not instances:
        raise UsageError(f"no DICOM under {', '.join(map(str, paths))}: name DICOM files or folders that hold some")
    return instances


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file())
        else:
            yield path
