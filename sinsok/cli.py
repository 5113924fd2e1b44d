"""``sinsok``: the command line. Each command is a module of :mod:`sinsok.commands`, imported when it is called."""

import sys
from importlib import import_module
from typing import Final

import click

from schemas.failures import PortFailure
from sinsok.errors import UserError, in_a_line

COMMANDS: Final[dict[str, str]] = {
    "demo": "Run the main job on synthetic studies and show what happened.",
    "up": "Start the local stack and wait until everything answers.",
    "down": "Stop what `up` started, servers last; delete nothing.",
    "status": "Show each part: state, pid, endpoint, lag.",
    "alarms": "Show what is wrong with the installation, and since when.",
    "run": "Run one process in the foreground.",
    "phantom": "Write a synthetic, plainly marked DICOM study.",
    "send": "C-STORE all DICOM under some paths.",
    "events": "Print the events of topics.",
    "study": "Show one study's timeline.",
    "replay": "Run a part of the record again, with no effect, and compare.",
    "deliveries": "Show the results that are not in PACS or worklist yet, and why.",
    "dead-letters": "List, show, requeue and discard what could not be handled.",
    "accounts": "List, add and remove people who sign in to the console.",
    "topics": "Compare the declared topics with the broker's.",
    "audit": "Verify and export the audit trail.",
    "archive": "List and verify what the archive holds, and begin anew.",
    "models": "List, install and check the models.",
    "schemas": "Export JSON Schema and AsyncAPI documents.",
    "check": "Validate the configuration and reach every endpoint.",
}
"""Every command and what it does, in the order of the help text."""


class _Commands(click.Group):
    """Commands by name, imported only when used: ``sinsok --help`` must not wait for Faust."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"sinsok.commands.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="sinsok", message="%(prog)s %(version)s")
def cli(debug: bool) -> None:
    """Streaming triage for medical images: the urgent study reaches a person without delay.

    Exit code 0: done; 1: failed; 2: wrong usage. The configuration is sinsok.toml (SINSOK_CONFIG), state lives under
    .local (SINSOK_HOME), SINSOK_* variables override single keys.
    """


def main() -> None:
    """Entry point: a UserError, or a port's failure, becomes one line on stderr and its exit code."""
    try:
        cli()
    except (UserError, PortFailure) as error:
        if "--debug" in sys.argv[1:]:
            raise
        click.echo(in_a_line(error), err=True)
        sys.exit(error.exit_code if isinstance(error, UserError) else 1)
