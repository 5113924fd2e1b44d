"""``sinsok run``: one process in the foreground, as ``sinsok up`` and the containers start it."""

import click

from sinsok import logs, settings
from sinsok.errors import UsageError
from sinsok.stack.processes import HOPS

ROLES = ("dicom-gateway", "streams", "pacs-writer", "notifier", "console", "watcher", "tracer", "archiver", "auditor")


@click.command(short_help="Run one process in the foreground.")
@click.argument("role")
@click.option("--hop", help=f"Which hop the stream process runs: {', '.join(HOPS)}.")
def command(role: str, hop: str | None) -> None:
    """Run ROLE until SIGTERM; logs: JSON lines on stderr.

    Roles are dicom-gateway, streams, pacs-writer, notifier, console, watcher, archiver, auditor, and tracer, which
    wants traces.endpoint.
    """
    if role not in ROLES:
        raise UsageError(f"there is no role {role!r}; roles are {', '.join(ROLES)}")
    if role == "streams" and hop not in HOPS:
        raise UsageError(f"streams needs --hop, one of {', '.join(HOPS)}" + (f", not {hop!r}" if hop else ""))
    if role != "streams" and hop is not None:
        raise UsageError(f"--hop belongs to streams, not to {role}")
    configuration = settings.load()
    logs.configure()
    # Here and not above: it imports everything, which --help should not wait for.
    from sinsok import wiring
    from sinsok.consistency import paging_contradictions

    if (role == "notifier" or hop == "escalate") and (wrong := paging_contradictions(configuration)):
        raise UsageError(f"{settings.config_path()}: {'; '.join(wrong)}")
    if hop is not None:
        wiring.run_streams(configuration, hop)
    elif role == "pacs-writer":
        wiring.run_pacs_writer(configuration)
    elif role == "notifier":
        wiring.run_notifier(configuration)
    elif role == "console":
        wiring.run_console(configuration)
    elif role == "archiver":
        wiring.run_archiver(configuration)
    elif role == "auditor":
        wiring.run_auditor(configuration)
    elif role == "watcher":
        wiring.run_watcher(configuration)
    elif role == "tracer":
        wiring.run_tracer(configuration)
    else:
        wiring.run_dicom_gateway(configuration)
