"""``sinsok models``: what the model repository holds, and whether it keeps the model contract."""

import json
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final

import click

from gateways.inference.contract import configuration_faults, identity
from gateways.inference.repository import (
    CONFIGURATIONS,
    configuration,
    digest_of,
    missing_files,
    models,
    parameter,
    stamp,
    versions,
)
from gateways.inference.server import TritonServer
from gateways.inference.trial import answer_to_trial
from schemas.failures import PortFailure, Unavailable, Unreadable
from sinsok.errors import UsageError, UserError
from sinsok.settings import Settings, load

INSTALLABLE: Final = {"blast-ct": ("blast_ct", "blast_ct_ensemble")}
"""What can be installed, and the models that need it."""


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
@click.option("--from", "folder", type=click.Path(path_type=Path), help="Read the published files here: no network.")
def install(name: str, folder: Path | None) -> None:
    """Put the weights that NAME needs into the model repository: `blast-ct`."""
    settings = load()
    if name not in INSTALLABLE and not any(name in needing for needing in INSTALLABLE.values()):
        folder_of_model = _folder(settings, name)
        for version in versions(folder_of_model):
            if todo := _not_installed(folder_of_model, version):
                raise UserError(f"{name} version {version} is {todo}; its files cannot be fetched")
        click.echo(f"{name} is built in: there is nothing to install")
        return
    # Not above: it loads onnx, which no other command needs.
    from gateways.inference.weights import blast_ct

    written = blast_ct.install(settings.model_repository, folder, f"sinsok {version_of('sinsok')}")
    for model, files in written.items():
        click.echo(f"{model}: installed {', '.join(files)}" if files else f"{model}: already installed")
    if any(written.values()):
        click.echo("a Triton that runs serves them when it is started again: sinsok down, sinsok up")


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
        if todo := _not_installed(folder, version):
            raise UserError(f"{name} version {version} is {todo}")
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
        if todo := _not_installed(folder, version):
            return [todo]
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
        state = _not_installed(folder, version) or server.state(folder.name, version)
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


def _not_installed(folder: Path, version: str) -> str:
    """What to do about a model that lacks files; empty for one that is whole."""
    missing = missing_files(folder, version)
    if not missing:
        return ""
    names = [name for name, needing in INSTALLABLE.items() if folder.name in needing]
    what = f"run `sinsok models install {names[0]}`" if names else f"put {', '.join(missing)} into {folder / version}"
    return f"not installed: {what}"


def _lines(row: dict[str, Any]) -> list[str]:
    whole = row["digest_matches"] or row["state"].startswith("not installed")
    warning = "" if whole else " (the files are different)"
    return [
        f"{row['name']} version {row['version']}: {row['state']}",
        f"contract {row['contract']}, {row['source'] or 'source unstated'}, {row['licence'] or 'licence unstated'}",
        f"{row['digest']}{warning}",
    ]
