"""What the watcher looks after, from the settings."""

from typing import Final
from zoneinfo import ZoneInfo

from gateways.alerts.intake import GROUP as NOTIFIER
from gateways.delivery.intake import GROUP as PACS_WRITER
from gateways.watch.lag import Watched
from gateways.watch.lookout import Surroundings
from schemas.alarms import AlarmKind
from sinsok.certificates import certificates
from sinsok.settings import Settings
from sinsok.stack.lag import GROUPS
from sinsok.stack.parts import health_ports

_GROUP_OF: Final = GROUPS | {
    "pacs-writer": PACS_WRITER,
    "notifier": NOTIFIER,
    "archiver": "sinsok-archiver",
    "auditor": "sinsok-auditor",
}
"""The consumer group of each process that is watched. The tracer's is not: nobody waits for traces at night."""


def surroundings(settings: Settings) -> Surroundings:
    """The sites, groups, clocks and certificates of an installation."""
    ports, host = health_ports(settings), settings.watch.health_host or settings.health.host
    return Surroundings(
        cap_s={site: settings.rules.of(site).completeness.cap_s for site in settings.sites},
        zone=ZoneInfo(settings.paging.timezone),
        groups={group: _watched(settings, name) for name, group in _GROUP_OF.items() if name in ports},
        clocks={name: f"{host.replace('{part}', name)}:{port}" for name, port in ports.items() if name != "watcher"},
        certificates=certificates(settings),
    )


def _watched(settings: Settings, process: str) -> Watched:
    watch = settings.watch
    match process:
        case "archiver":
            return Watched(AlarmKind.ARCHIVE_BEHIND, watch.archive_after_s, joins=False)
        case "auditor":
            return Watched(AlarmKind.AUDIT_BEHIND, watch.audit_after_s, joins=False)
        case _:
            return Watched(AlarmKind.LAG, watch.lag_after_s)
