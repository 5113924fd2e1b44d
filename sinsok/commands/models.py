"""``sinsok models``: what the model repository holds, and whether it keeps the model contract."""

import json
import os
import signal
from contextlib import suppress
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
    stated_digest,
    versions,
)
from gateways.inference.server import TritonServer
from gateways.inference.trial import answer_to_trial
from schemas.failures import NotInstalled, PortFailure, Unavailable, Unreadable
from schemas.models import ModelIdentity
from sinsok import reference
from sinsok.errors import UsageError, UserError
from sinsok.pins import pin
from sinsok.settings import Settings, config_path, load
from sinsok.stack import state
from streams.route import split

INSTALLABLE: Final = {"blast-ct": ("blast_ct", "blast_ct_ensemble")}
"""What can be installed, and the models that need it."""
READERS: Final = ("streams-infer", "streams-confirm")
"""Processes that ask the models of the routes."""


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
            try:
                row = _describe(folder, version, server)
            except Unreadable as error:
                click.echo(f"{folder.name} version {version}: {error}", err=True)
                continue
            click.echo(json.dumps(row) if as_json else "\n    ".join(_lines(row)))


@command.command()
@click.argument("name")
@click.option("--from", "folder", type=click.Path(path_type=Path), help="Read the published files here: no network.")
@click.option("--members", type=click.IntRange(2, 12), help="Networks of the ensemble, if not as many as it has now.")
def install(name: str, folder: Path | None, members: int | None) -> None:
    """Put the weights that NAME needs into the model repository: `blast-ct`."""
    settings = load()
    if name not in INSTALLABLE and not any(name in needing for needing in INSTALLABLE.values()):
        folder_of_model = _folder(settings, name)
        for version in versions(folder_of_model):
            if todo := _not_installed(folder_of_model, version):
                raise UserError(f"{name} version {version} is {todo}; its files cannot be fetched")
        if members:
            raise UsageError(f"{name} has no members to choose from: --members is for {' and '.join(INSTALLABLE)}")
        click.echo(f"{name} is built in: there is nothing to install")
        return
    # Not above: it loads onnx, which no other command needs.
    from gateways.inference.weights import blast_ct

    written = blast_ct.install(settings.model_repository, folder, f"sinsok {version_of('sinsok')}", members)
    for model, files in written.items():
        click.echo(f"{model}: installed {', '.join(files)}" if files else f"{model}: already installed")
    if any(written.values()):
        click.echo("a Triton that runs serves them when it is started again: sinsok down, sinsok up")


@command.command()
@click.argument("name", required=False)
@click.option("--record", is_flag=True, help="Make the answers of now the reference: after a change that is meant.")
def check(name: str | None, record: bool) -> None:
    """Check the models on a running Triton: files, configuration, contract, and that they answer as they used to.

    The last is a synthetic study of known answer; all of it waits behind whatever patients need.
    """
    settings = load()
    folders = _folders(settings, name) if name else models(settings.model_repository)
    server = TritonServer(settings.triton)
    faulty = 0
    for folder in folders:
        for version in versions(folder):
            said, faults = _checked(folder, version, server, record)
            for fault in faults:
                click.echo(f"{folder.name} version {version}: {fault}", err=True)
            if not faults:
                click.echo(f"{folder.name} version {version}: {'; '.join(said)}")
            faulty += bool(faults)
    if faulty:
        raise UserError(f"{faulty} of the models checked cannot be used as they are; docs/models.md has the contract")


@command.command()
@click.argument("model", metavar="NAME@VERSION")
def use(model: str) -> None:
    """Let the routes read with another version of a model: an upgrade, or the way back from one.

    The version is loaded and checked first; where anything is wrong with it all stays as it is.
    """
    settings, path = load(), config_path()
    name, version = split(model)
    folder = _folder(settings, name)
    if version not in versions(folder):
        raise UsageError(
            f"{folder} has no version {version or '(none was named)'}; it has {', '.join(versions(folder))}"
        )
    server = TritonServer(settings.triton)
    try:
        _have_loaded(server, name, version)
    except PortFailure as error:
        raise UserError(f"{error}; the routes stay as they are") from None
    _, faults = _checked(folder, version, server, record=False)
    if faults:
        raise UserError(f"{name} version {version}: {'; '.join(faults)}; the routes stay as they are")
    try:
        places, before = pin(path, name, version)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; the routes stay as they are") from None
    if not places:
        raise UserError(f"{path}: no route reads with {name}; add one, see docs/add-a-model.md")
    if not before:
        click.echo(f"{path}: the routes read with {name}@{version} already")
        return
    click.echo(f"{path}: the routes read with {name}@{version}, before with version {', '.join(before)}")
    if state.supervisor_pid(settings.home) is None:
        click.echo(f"start {' and '.join(READERS)} anew where they run")
        return
    for part in state.read(settings.home).values():
        if part.name in READERS and part.pid is not None:
            with suppress(ProcessLookupError):  # it has ended, and starts anew in any case
                os.kill(part.pid, signal.SIGTERM)
            click.echo(f"{part.name} starts anew")


@command.command("stamp")
@click.argument("name")
def stamp_model(name: str) -> None:
    """Write a model's digest into its configurations, after a change of its files that is meant."""
    folder = _folder(load(), name)
    for version in versions(folder):
        if todo := _not_installed(folder, version):
            raise UserError(f"{name} version {version} is {todo}")
        click.echo(f"{name} version {version}: {stamp(folder, version)}")


def _have_loaded(server: TritonServer, name: str, version: str) -> None:
    with suppress(NotInstalled):  # a version that came to the folder since Triton last looked
        if server.state(name, version) == "READY":
            return
    server.load(name)


def _folder(settings: Settings, name: str) -> Path:
    known = {folder.name: folder for folder in models(settings.model_repository)}
    if name not in known:
        names = ", ".join(known) or "none"
        raise UsageError(f"no model {name} in {settings.model_repository}; it holds {names}")
    return known[name]


def _folders(settings: Settings, name: str) -> list[Path]:
    return [_folder(settings, one) for one in INSTALLABLE.get(name, (name,))]


def _checked(folder: Path, version: str, server: TritonServer, record: bool) -> tuple[list[str], list[str]]:
    """What is well with a version, and what is wrong."""
    if faults := _faults(folder, version, server):
        return [], faults
    said = ["keeps the contract"]
    try:
        known = reference.reference_of(folder)
        before = known.versions.get(version) if known else None
        if record:
            known = known or reference.Reference()
        elif known is None or before is None:
            return [*said, "no reference answer to compare with (`sinsok models check --record`)"], []
        seen = reference.see(server, _served(server, folder, version), known)
    except PortFailure as error:
        return said, [str(error)]
    study = f"phantom {known.case} {known.seed}"
    if record:
        try:
            reference.record(folder, version, seen, known)
        except OSError as error:
            return said, [f"{folder / reference.FILE} cannot be written: {error.strerror}"]
        return [*said, f"recorded for {study}: {reference.summary(seen)}"], []
    assert before is not None
    if changed := reference.differences(before, seen):
        return said, [f"answers {study} otherwise than recorded: {line}" for line in changed]
    return [*said, f"answers {study} as recorded: {reference.summary(seen)}"], []


def _faults(folder: Path, version: str, server: TritonServer) -> list[str]:
    """What is wrong with the files, then with what Triton serves, then with what it answers."""
    faults = []
    try:
        # A Triton elsewhere may have the files that are missing here.
        if todo := _not_installed(folder, version):
            with suppress(PortFailure):
                return answer_to_trial(server, _served(server, folder, version))
            return [todo]
        for name in CONFIGURATIONS:
            if (folder / name).exists():
                stated = configuration(folder / name)
                faults += [f"{name}: {fault}" for fault in configuration_faults(stated, version)]
                if stated_digest(stated, version) != digest_of(folder, version):
                    faults.append(f"{name}: the files are not those of its digest: restore them, or stamp the model")
        if faults:
            return faults
        served = _served(server, folder, version)
        if served.digest != digest_of(folder, version):
            return ["Triton serves another state of the files: restart it"]
        return answer_to_trial(server, served)
    except Unavailable as error:
        return [f"{error}; `sinsok up` starts Triton, its log says why a model does not load"]
    except Unreadable as error:
        return [str(error)]


def _served(server: TritonServer, folder: Path, version: str) -> ModelIdentity:
    return identity(server.configuration(folder.name, version), version)


def _describe(folder: Path, version: str, server: TritonServer) -> dict[str, Any]:
    stated = configuration(folder / CONFIGURATIONS[0])
    digest = stated_digest(stated, version)
    try:
        condition = _not_installed(folder, version) or server.state(folder.name, version)
    except PortFailure as error:
        condition = str(error)
    return {
        "name": folder.name,
        "version": version,
        "contract": parameter(stated, "sinsok_contract"),
        "source": parameter(stated, "sinsok_source"),
        "licence": parameter(stated, "sinsok_licence"),
        "digest": digest,
        "digest_matches": digest == digest_of(folder, version),
        "state": condition,
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
