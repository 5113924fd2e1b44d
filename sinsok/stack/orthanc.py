"""Orthanc as the hospital's PACS: it stores what it is sent and sends studies on to the DICOM gateway."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from sinsok.stack import probe
from sinsok.stack.part import CHECKOUT, Listener, NotInstalled, NotReady, Part

_CONFIGURATION = CHECKOUT / "deploy" / "orthanc"
_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def orthanc(
    home: Path,
    host: str,
    http_port: int,
    dicom_port: int,
    *,
    aet: str = "PACS",
    modalities: Iterable[tuple[str, str, int]] = (),
) -> Part:
    """The PACS, with its index and files in ``home/orthanc``.

    ``modalities`` are the (AE title, host, port) it may send to; each goes by its AE title.
    """
    folder = home / "orthanc"
    configuration = folder / "orthanc.json"
    http = f"{host}:{http_port}"

    def prepare() -> None:
        if _program() is None:
            raise NotInstalled("Orthanc is missing; run `make setup`")
        folder.mkdir(parents=True, exist_ok=True)
        common = json.loads((_CONFIGURATION / "orthanc.json").read_text(encoding="utf-8"))
        here = {
            "DicomAet": aet,
            "DicomPort": dicom_port,
            "HttpPort": http_port,
            "RemoteAccessAllowed": False,
            "LuaScripts": [str(_CONFIGURATION / "this_machine_only.lua")],
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "Plugins": [str(_DICOMWEB)] if _DICOMWEB.exists() else [],
            "DicomModalities": {title: [title, address, port] for title, address, port in modalities},
        }
        configuration.write_text(json.dumps(common | here, indent=2), encoding="utf-8")

    def alive() -> None:
        probe.get(http, "/system")

    def ready() -> None:
        alive()
        echo(host, dicom_port, aet)

    return Part(
        name="orthanc",
        command=(_program() or "Orthanc", str(configuration)),
        # Without it Nagle's algorithm makes every C-STORE of dcmtk's client wait for a delayed acknowledgement.
        environment={"PATH": "/usr/sbin:/usr/bin:/bin", "LANG": "C.UTF-8", "TCP_NODELAY": "1", "HOME": str(home)},
        endpoint=f"{aet} {host}:{dicom_port}, http://{http}",
        listeners=(
            Listener(host, dicom_port, "orthanc.dicom_port"),
            Listener(host, http_port, "orthanc.http_port"),
        ),
        prepare=prepare,
        ready=ready,
        alive=alive,
    )


def _program() -> str | None:
    # /usr/sbin is not on every user's PATH.
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")


def echo(host: str, port: int, called_ae: str) -> None:
    """C-ECHO (PS3.7 9.1.5). Raises :class:`NotReady` unless it is answered with success."""
    # Imported here: it is half the start-up time of every command, and few of them get here.
    from pynetdicom import AE
    from pynetdicom.sop_class import Verification

    ae = AE(ae_title="SINSOK")
    ae.add_requested_context(Verification)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 3
    assoc = ae.associate(host, port, ae_title=called_ae)
    if not assoc.is_established:
        raise NotReady(f"{called_ae} at {host}:{port} accepts no association")
    try:
        status = assoc.send_c_echo()
    finally:
        assoc.release()
    if not status or status.Status != 0:
        raise NotReady(f"{called_ae} at {host}:{port} does not answer C-ECHO")
