"""The destinations of results, from the settings: the PACS of every site, and the worklists it has."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from gateways.delivery.breaker import Breaker
from gateways.delivery.courier import Courier
from gateways.delivery.ledger import Ledger
from gateways.dicom.association import Address
from gateways.objects import FileStore
from gateways.pacs.courier import PacsCourier
from gateways.pacs.dicomweb import Dicomweb
from gateways.pacs.dimse import Dimse
from gateways.pacs.making import Makers
from gateways.pacs.outgoing import Outgoing
from gateways.pacs.peer import Commitment
from gateways.pacs.settings import PacsSettings
from gateways.worklist.courier import WorklistCourier
from gateways.worklist.hl7_worklist import Hl7Worklist
from gateways.worklist.port import Worklist
from gateways.worklist.settings import Hl7Settings, WorklistSettings
from gateways.worklist.ups_worklist import UpsWorklist
from sinsok.settings import Settings


def couriers(
    settings: Settings, ledger: Ledger, outgoing: Outgoing, on_commitment: Callable[[Commitment], None]
) -> list[Courier]:
    """One courier for each destination, named by its site and what it is: ``suwon/pacs``, ``suwon/hl7``."""
    store, makers = FileStore(settings.store), Makers(settings.writer.makers)
    found: list[Courier] = []
    for site, configured in settings.sites.items():
        pacs = settings.pacs_of(site)
        if pacs.objects.kinds:
            found.append(
                PacsCourier(f"{site}/pacs", ledger, pacs, pacs_of(pacs, on_commitment), store, outgoing, makers)
            )
        for name, worklist in worklists_of(site, configured.worklists):
            breaker = Breaker(worklist.retry_first_s, worklist.retry_longest_s)
            found.append(WorklistCourier(name, ledger, breaker, worklist_of(name, worklist), store))
    return found


def worklists_of(site: str, worklists: Iterable[WorklistSettings]) -> Iterator[tuple[str, WorklistSettings]]:
    """The worklists of a site by their names: ``suwon/hl7``, ``suwon/hl7-2``."""
    numbers: Counter[str] = Counter()
    for worklist in worklists:
        numbers[worklist.protocol] += 1
        number = f"-{numbers[worklist.protocol]}" if numbers[worklist.protocol] > 1 else ""
        yield f"{site}/{worklist.protocol}{number}", worklist


def pacs_of(settings: PacsSettings, on_commitment: Callable[[Commitment], None] | None = None) -> Dimse | Dicomweb:
    """A PACS, reached as the settings say."""
    if settings.delivery == "dicomweb":
        assert settings.dicomweb_url is not None, "the settings insist on it"
        credentials = None
        if settings.username is not None and settings.password is not None:
            credentials = (settings.username, settings.password.get_secret_value())
        return Dicomweb(
            settings.dicomweb_url,
            timeout_s=settings.timeout_s,
            tls=settings.tls,
            credentials=credentials,
            repeat_error_text=settings.repeat_error_text,
        )
    assert settings.host is not None, "where none is named it is the local stack's"
    address = Address(settings.host, settings.port, settings.called_ae, settings.calling_ae)
    return Dimse(
        address,
        timeout_s=settings.timeout_s,
        tls=settings.tls,
        on_commitment=on_commitment,
        repeat_error_text=settings.repeat_error_text,
    )


def worklist_of(name: str, settings: WorklistSettings) -> Worklist:
    """A worklist by its name, reached as the settings say."""
    return Hl7Worklist(settings, name) if isinstance(settings, Hl7Settings) else UpsWorklist(settings, name)
