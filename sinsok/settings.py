"""The whole configuration: ``sinsok.toml`` (or ``SINSOK_CONFIG``), overridden by ``SINSOK_*`` variables.

``SINSOK_DICOM__PORT=11113`` sets ``port`` of ``[dicom]``. Every part's settings are defined next to its code; here they
are only put together. An unknown key or an impossible value is refused with its place.
"""

import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from gateways.alerts.settings import SAYS, NotifierSettings, Recipient, Said
from gateways.archive.settings import ArchiveSettings
from gateways.audit.settings import AuditSettings
from gateways.console.settings import ConsoleSettings, SiteConsole
from gateways.delivery.settings import WriterSettings
from gateways.dicom.settings import DicomGatewaySettings, SiteAccess
from gateways.inference.settings import TritonSettings
from gateways.pacs.settings import PacsSettings
from gateways.traces.settings import TracesSettings
from gateways.watch.settings import WatchSettings
from gateways.worklist.settings import WorklistSettings
from schemas.audit import INSTALLATION
from schemas.base import Site
from schemas.paging import Name
from sinsok.errors import UsageError
from streams.on_call import Paging
from streams.policy import AlertPolicy
from streams.route import Route
from streams.settings import StreamSettings
from streams.site import Completeness, SiteRules, Sites

Port = Annotated[int, Field(ge=1, le=65535)]
Part = Literal["kafka", "triton", "orthanc"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Section):
    """The broker."""

    bootstrap_servers: Annotated[str, Field(pattern=r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$")] = "127.0.0.1:9092"
    controller_port: Port = 9093


class OrthancSettings(_Section):
    """The PACS of the local stack."""

    host: str = "127.0.0.1"
    aet: str = "PACS"
    dicom_port: Port = 4242
    http_port: Port = 8042


class HealthSettings(_Section):
    """Health and metrics of our processes; each takes the next port after ``first_port``."""

    host: str = "127.0.0.1"
    first_port: Port = 9100


class StackSettings(_Section):
    """What ``sinsok up`` starts itself. What is not listed is expected to run elsewhere."""

    start: tuple[Part, ...] = ("kafka", "triton", "orthanc")


class SiteSettings(SiteAccess):
    """A hospital: the AE titles it sends to and from, and its decisions where they differ from the common ones.

    Of completeness, alerts and paging it says only the keys that differ; routes and the PACS are its own as a whole.
    """

    completeness: Completeness | None = None
    routes: tuple[Route, ...] | None = None
    alerts: AlertPolicy | None = None
    paging: Paging | None = None
    pacs: PacsSettings | None = None
    worklists: tuple[WorklistSettings, ...] = ()
    console: SiteConsole = SiteConsole()
    recipients: dict[Name, Recipient] = Field(default={}, description="Whom the on-call chains name")
    page_says: frozenset[Said] = Field(default=SAYS, description="What a message says beside the link and the notice")


_SHARED: Final = ("completeness", "alerts", "paging")
"""Tables of which a site changes keys: who says its quiet hours alone keeps the chains that all have."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(env_prefix="SINSOK_", env_nested_delimiter="__", extra="forbid", frozen=True)

    home: Path = Field(default=Path(".local"), description="State: stores, logs, topics of the local broker")
    model_repository: Path = Path("triton_models")
    kafka: KafkaSettings = KafkaSettings()
    triton: TritonSettings = TritonSettings()
    dicom: DicomGatewaySettings = DicomGatewaySettings()
    streams: StreamSettings = StreamSettings()
    orthanc: OrthancSettings = OrthancSettings()
    writer: WriterSettings = WriterSettings()
    notifier: NotifierSettings = NotifierSettings()
    console: ConsoleSettings = ConsoleSettings()
    archive: ArchiveSettings = ArchiveSettings()
    audit: AuditSettings = AuditSettings()
    watch: WatchSettings = WatchSettings()
    traces: TracesSettings = TracesSettings()
    health: HealthSettings = HealthSettings()
    stack: StackSettings = StackSettings()
    completeness: Completeness = Completeness()
    routes: tuple[Route, ...] = ()
    alerts: AlertPolicy = AlertPolicy()
    paging: Paging = Paging()
    pacs: PacsSettings = PacsSettings()
    sites: dict[Site, SiteSettings] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _what_a_site_does_not_say_is_common(cls, values: Any) -> Any:
        # Before anything is checked: whether a site's keys are right depends on the common ones beside them.
        if not isinstance(values, dict) or not isinstance(values.get("sites"), dict):
            return values
        sites = {name: _with_common(site, values) for name, site in values["sites"].items()}
        return {**values, "sites": sites}

    @field_validator("streams")
    @classmethod
    def _broker_and_folder_are_said_elsewhere(cls, streams: StreamSettings) -> StreamSettings:
        if said := streams.model_fields_set & {"bootstrap_servers", "datadir"}:
            raise ValueError(f"{', '.join(sorted(said))}: set kafka.bootstrap_servers and home instead")
        return streams

    @field_validator("sites")
    @classmethod
    def _one_site_for_each_called_ae_and_none_for_all(cls, sites: dict[Site, SiteSettings]) -> dict[Site, SiteSettings]:
        # Spaces around an AE title mean nothing (DICOM PS3.5, 6.2).
        titles = [site.called_ae.strip() for site in sites.values()]
        shared = sorted({title for title in titles if titles.count(title) > 1})
        if shared:
            raise ValueError(f"called AE title {', '.join(shared)} stands for more than one site")
        if INSTALLATION in sites:
            raise ValueError(f"{INSTALLATION} stands for all sites together: call this one otherwise")
        return sites

    @property
    def store(self) -> Path:
        """Root of the object store."""
        return self.home / "objects"

    def pacs_of(self, site: str) -> PacsSettings:
        """The PACS of a site: its own, else the common one; where that names no host, the local stack's Orthanc."""
        pacs = self.sites[site].pacs or self.pacs
        if pacs.host is not None:
            return pacs
        here = {"host": self.orthanc.host, "port": self.orthanc.dicom_port, "called_ae": self.orthanc.aet}
        return pacs.model_copy(update=here)

    @property
    def rules(self) -> Sites:
        """The decisions of every site, with the common ones where a site has none of its own."""
        return Sites(
            {
                name: SiteRules(
                    completeness=site.completeness or self.completeness,
                    routes=self.routes if site.routes is None else site.routes,
                    alerts=site.alerts or self.alerts,
                    paging=site.paging or self.paging,
                )
                for name, site in self.sites.items()
            }
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables win over the file."""
        return env_settings, init_settings


def _with_common(site: Any, values: dict[str, Any]) -> Any:
    """A site's tables as they were read, with the keys that it leaves to the common ones."""
    if not isinstance(site, dict):
        return site
    tables = {name: (values.get(name), site.get(name)) for name in _SHARED}
    merged = {
        name: {**common, **own}
        for name, (common, own) in tables.items()
        if isinstance(common, dict) and isinstance(own, dict)
    }
    return {**site, **merged}


_WELL_KNOWN: dict[str, tuple[str, str]] = {
    "KAFKA_BOOTSTRAP_SERVERS": ("kafka", "bootstrap_servers"),
    "TRITON_URL": ("triton", "grpc_url"),
}
"""Variables that other tools know too; ``SINSOK_*`` wins over them."""

_OTHER_VARIABLES: Final = frozenset(
    {
        "SINSOK_CONFIG",
        "SINSOK_STACK_PART",
        "SINSOK_SHARED",
        "SINSOK_KILL_SEED",
        "SINSOK_BROKER_AWAY_S",
        "SINSOK_CHURN_FLAGS",
    }
)
"""Where the configuration is, the supervisor's mark on its processes, and what the tests take."""


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The configuration file: ``SINSOK_CONFIG``, else ``sinsok.toml`` here, else the one beside the code."""
    if named := environment.get("SINSOK_CONFIG"):
        return Path(named)
    here = Path("sinsok.toml")
    return here if here.exists() else Path(__file__).parent.parent / "sinsok.toml"


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the configuration. Relative paths in it are relative to its folder.

    Raises :class:`sinsok.errors.UsageError` naming the file, the key and what is wrong with it.
    """
    path = config_path(environment)
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}; set SINSOK_CONFIG or start in the project") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: is no TOML: {error}") from None
    for variable, (section, key) in _WELL_KNOWN.items():
        if value := environment.get(variable):
            values[section] = {**values.get(section, {}), key: value}
    if unknown := [name for name in environment if name.startswith("SINSOK_") and not _means_something(name)]:
        raise UsageError(f"{', '.join(sorted(unknown))}: sinsok knows no such variable; see docs/operations.md")
    try:
        settings = Settings(**values)
    except SettingsError as error:
        raise UsageError(f"SINSOK_* variables: {error}; lists and tables are given as JSON") from None
    except ValidationError as error:
        raise UsageError(_explain(error, path, environment)) from None
    anchored: Settings = _anchored(settings, path.absolute().parent)
    return anchored


def _anchored(value: Any, folder: Path) -> Any:
    """The value, every relative path in it taken from the folder. What has none stays as it is, set or not set."""
    match value:
        case Path():
            return folder / value
        case BaseModel():
            given = {name: getattr(value, name) for name in type(value).model_fields}
            changed = {name: new for name, old in given.items() if (new := _anchored(old, folder)) != old}
            return value.model_copy(update=changed) if changed else value
        case dict():
            return {key: _anchored(one, folder) for key, one in value.items()}
        case tuple():
            return tuple(_anchored(one, folder) for one in value)
        case _:
            return value


def _means_something(variable: str) -> bool:
    """Whether a SINSOK_* variable sets a key, or is known for another purpose."""
    section = variable.removeprefix("SINSOK_").partition("__")[0].lower()
    return variable in _OTHER_VARIABLES or section in Settings.model_fields


_SECRET: Final = re.compile("^recipients$|^headers$|^body$|password$|secret$|token$|url$")
"""Keys whose values are shown nowhere: they are secrets, or hold them, as the address of a webhook does."""


def _explain(error: ValidationError, path: Path, environment: Mapping[str, str]) -> str:
    """Every fault with its key, behind the file or the variable that said it."""
    faults: dict[str, list[str]] = defaultdict(list)
    found = error.errors(include_url=False)
    common = {(fault["loc"], fault["msg"]) for fault in found}
    for fault in found:
        key = fault["loc"]
        if fault["type"] == "too_short" and any(len(key) < len(loc) and loc[: len(key)] == key for loc, _ in common):
            continue  # what is wrong within a list is left out of it before it is counted
        if key[:1] == ("sites",) and (key[2:], fault["msg"]) in common:
            continue  # the site has it from the common table
        place = ".".join(str(part) for part in key)
        variables = ["SINSOK_" + "__".join(str(part) for part in key).upper()]
        variables += [name for name, known in _WELL_KNOWN.items() if known == key]
        source = next((name for name in variables if name in environment), str(path))
        if fault["type"] == "extra_forbidden":
            faults[source].append(f"{place}: unknown key")
            continue
        # A whole table would bury what is wrong with it.
        hidden = isinstance(fault["input"], dict | list) or any(map(_SECRET.search, map(str, key)))
        given = "" if hidden else f" (is {fault['input']!r})"
        faults[source].append(f"{place}: {fault['msg'].removeprefix('Value error, ')}{given}")
    return "; ".join(f"{source}: {'; '.join(said)}" for source, said in faults.items())
