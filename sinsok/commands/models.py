"""``sinsok models``: what the model repository holds, and whether it keeps the model contract."""

import json
from pathlib import Path
from typing import Any

import click

from gateways.inference.contract import configuration_faults, identity
from gateways.inference.repository import CONFIGURATIONS, configuration, digest_of, models, parameter, stamp, versions
from gateways.inference.server import TritonServer
from gateways.inference.trial import answer_to_trial
from schemas.failures import PortFailure, Unavailable, Unreadable
from sinsok.errors import UsageError, UserError
from sinsok.settings import Settings, load


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, install and check the models."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_models)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_models(as_json: bool) -> None:
    """Show each model: from where it is, its licence, digest and state in Triton."""
    settings = load()
    server = TritonServer(settings.triton)
    for folder in models(settings.model_repository):
        for version in versions(folder):
            row = _describe(folder, version, server)
            click.echo(json.dumps(row) if as_json else "\n    ".join(_lines(row)))


@command.command()
@click.argument("name")
def install(name: str) -> None:
    """Fetch what a model needs before it can run."""
    _folder(load(), name)
    click.echo(f"{name} is built in: there is nothing to install")


@command.command()
@click.argument("name", required=False)
def check(name: str | None) -> None:
    """Check files, configuration and answers of the models against the contract, on a running Triton."""
    settings = load()
    folders = [_folder(settings, name)] if name else models(settings.model_repository)
    server = TritonServer(settings.triton)
    faulty = 0
    for folder in folders:
        for version in versions(folder):
            faults = _faults(folder, version, server)
            for fault in faults:
                click.echo(f"{folder.name} version {version}: {fault}", err=True)
            if not faults:
                click.echo(f"{folder.name} version {version}: keeps the contract")
            faulty += bool(faults)
    if faulty:
        raise UserError(f"{faulty} of the models checked cannot be used as they are; docs/models.md has the contract")


@command.command("stamp")
@click.argument("name")
def stamp_model(name: str) -> None:
    """Write a model's digest into its configurations, after a change of its files that is meant."""
    folder = _folder(load(), name)
    for version in versions(folder):
        click.echo(f"{name} version {version}: {stamp(folder, version)}")


def _folder(settings: Settings, name: str) -> Path:
    known = {folder.name: folder for folder in models(settings.model_repository)}
    if name not in known:
        names = ", ".join(known) or "none"
        raise UsageError(f"no model {name} in {settings.model_repository}; it holds {names}")
    return known[name]


def _faults(folder: Path, version: str, server: TritonServer) -> list[str]:
    """What is wrong with the files, then with what Triton serves, then with what it answers."""
    faults = []
    try:
        for name in CONFIGURATIONS:
            if (folder / name).exists():
                stated = configuration(folder / name)
                faults += [f"{name}: {fault}" for fault in configuration_faults(stated)]
                if parameter(stated, "sinsok_digest") != digest_of(folder, version):
                    faults.append(f"{name}: the files are not those of its digest: restore them, or stamp the model")
        if faults:
            return faults
        served = identity(server.configuration(folder.name, version), version)
        if served.digest != digest_of(folder, version):
            return ["Triton serves another state of the files: restart it"]
        return answer_to_trial(server, served)
    except Unavailable as error:
        return [f"{error}; `sinsok up` starts Triton, its log says why a model does not load"]
    except Unreadable as error:
        return [str(error)]


def _describe(folder: Path, version: str, server: TritonServer) -> dict[str, Any]:
    stated = configuration(folder / CONFIGURATIONS[0])
    digest = parameter(stated, "sinsok_digest")
    try:
        state = server.state(folder.name, version)
    except PortFailure as error:
        state = str(error)
    return {
        "name": folder.name,
        "version": version,
        "contract": parameter(stated, "sinsok_contract"),
        "source": parameter(stated, "sinsok_source"),
        "licence": parameter(stated, "sinsok_licence"),
        "digest": digest,
        "digest_matches": digest == digest_of(folder, version),
        "state": state,
    }


def _lines(row: dict[str, Any]) -> list[str]:
    warning = "" if row["digest_matches"] else " (the files are different)"
    return [
        f"{row['name']} version {row['version']}: {row['state']}",
        f"contract {row['contract']}, {row['source'] or 'source unstated'}, {row['licence'] or 'licence unstated'}",
        f"{row['digest']}{warning}",
    ]
