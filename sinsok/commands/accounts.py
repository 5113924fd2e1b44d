"""``sinsok accounts``: who may sign in to the console with a password of its own."""

import sys

import click

from gateways.console.accounts import Accounts, Refused
from gateways.console.settings import Grant, Language
from schemas.audit import Role
from sinsok.errors import UserError
from sinsok.settings import Settings, load


def accounts_of(settings: Settings) -> Accounts:
    """The console's local accounts."""
    return Accounts(settings.home / "console" / "accounts.json", settings.sites)


_ROLES = [role.value for role in Role]


@click.group()
def command() -> None:
    """List, add and remove local accounts of the console (SINSOK_HOME/console/accounts.json).

    Where the hospital has an identity provider, set [console.oidc] instead and keep no passwords here.
    """


@command.command("list")
def list_accounts() -> None:
    """List the accounts and what they may do where."""
    try:
        for name, account in sorted(accounts_of(load()).all().items()):
            granted = "; ".join(f"{', '.join(grant.roles)} at {', '.join(grant.sites)}" for grant in account.grants)
            click.echo(f"{name:<20}{granted}")
    except Refused as error:
        raise UserError(str(error)) from None


@command.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    type=click.Choice(_ROLES),
    multiple=True,
    required=True,
    help="May be repeated.",
)
@click.option("--site", "sites", multiple=True, required=True, help="May be repeated; * stands for every site.")
@click.option("--language", type=click.Choice(["en", "ko"]), help="Else that of the browser.")
def add(name: str, roles: tuple[str, ...], sites: tuple[str, ...], language: Language | None) -> None:
    """Add account NAME or replace it. The password is asked for; where there is no terminal, standard input has it."""
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    grant = Grant(roles=tuple(Role(role) for role in roles), sites=sites)
    try:
        accounts_of(load()).add(name, password, grant, language)
    except (Refused, OSError) as error:
        raise UserError(f"account {name} is not added: {error}") from None
    click.echo(f"{name} may sign in")


@command.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove account NAME; whoever is signed in with it is signed out."""
    try:
        accounts_of(load()).remove(name)
    except (Refused, OSError) as error:
        raise UserError(str(error)) from None
    click.echo(f"{name} may not sign in any more")
