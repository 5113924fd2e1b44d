"""Who is told of alerts, from the settings: a courier for each recipient of a site, with the channels it has."""

from collections import Counter
from collections.abc import Iterator, Mapping

from gateways.alerts.budget import Budget
from gateways.alerts.channel import Channel
from gateways.alerts.courier import Courier, Way
from gateways.alerts.http_template import HttpTemplate
from gateways.alerts.key_image import KeyImages
from gateways.alerts.ledger import Ledger
from gateways.alerts.settings import ChannelSettings, HttpChannel, NotifierSettings, Recipient, SmtpChannel
from gateways.alerts.smtp import Smtp
from gateways.alerts.webhook import Webhook
from gateways.alerts.wording import Wording
from gateways.delivery.breaker import Breaker
from gateways.objects import FileStore
from sinsok.settings import Settings


def couriers(settings: Settings, ledger: Ledger) -> list[Courier]:
    """One courier for each recipient."""
    notifier, pictures = settings.notifier, KeyImages(FileStore(settings.store))
    return [
        Courier(
            site,
            name,
            ledger,
            Wording(site, name, recipient.language, configured.page_says, notifier.link, pictures.png),
            _ways(notifier, recipient),
        )
        for site, configured in settings.sites.items()
        for name, recipient in configured.recipients.items()
    ]


def budgets(settings: Settings) -> Mapping[str, Budget]:
    """What may disturb the shifts of each site that has a limit."""
    return {
        site: Budget(paging.pages_per_shift, paging.critical, paging.timezone, settings.notifier.digest_at)
        for site in settings.sites
        for paging in (settings.rules.of(site).paging,)
        if paging.pages_per_shift is not None
    }


def channels_of(recipient: Recipient) -> Iterator[tuple[str, ChannelSettings]]:
    """The channels of a recipient by names that differ: smtp, webhook, webhook-2."""
    numbers: Counter[str] = Counter()
    for channel in recipient.channels:
        numbers[channel.kind] += 1
        number = f"-{numbers[channel.kind]}" if numbers[channel.kind] > 1 else ""
        yield f"{channel.kind}{number}", channel


def _ways(notifier: NotifierSettings, recipient: Recipient) -> list[Way]:
    return [
        Way(name, _channel(notifier, configured), Breaker(notifier.retry_first_s, notifier.retry_longest_s))
        for name, configured in channels_of(recipient)
    ]


def _channel(notifier: NotifierSettings, settings: ChannelSettings) -> Channel:
    match settings:
        case SmtpChannel():
            return Smtp(notifier.smtp, settings.to, notifier.timeout_s)
        case HttpChannel():
            return HttpTemplate(settings, notifier.timeout_s)
        case _:
            return Webhook(settings, notifier.timeout_s)
