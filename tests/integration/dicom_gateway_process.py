"""A DICOM gateway as a process of its own, to be killed: ``python -m`` this with store, port, bootstrap and site."""

import signal
import sys
import threading
from pathlib import Path

from gateways import kafka
from gateways.dicom.gateway import CannotStart, DicomGateway
from gateways.dicom.settings import DicomGatewaySettings, SiteAccess
from gateways.objects import FileStore


def main() -> None:
    root, port, bootstrap, site = sys.argv[1:]
    settings = DicomGatewaySettings(port=int(port), min_free_mb=0, idle_s=1, stop_grace_s=1)
    sites = {site: SiteAccess(called_ae="GATEWAY")}
    gateway = DicomGateway(settings, sites, FileStore(Path(root)), lambda: kafka.producer(bootstrap))
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        gateway.start()
    except CannotStart as reason:
        sys.exit(str(reason))
    stopped.wait()
    gateway.stop()


if __name__ == "__main__":
    main()
