"""From AlertRaised to a person: mail taken on, web hook answered, visible in Chromium, with 50 consoles open.

    python benchmarks/alert_latency.py [--alerts 100] [--consoles 50] [--every 0.5]

Kafka, the hop *escalate*, the notifier, the console and Postfix are processes of their own. Alerts come one by one,
and each is acknowledged once it was seen. One console is Chromium, the others do over HTTP what its script does.
Peer: a script that reads the same topic and sends the same mail at once, with no state and no promise.
"""

import argparse
import asyncio
import random
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import psutil
from confluent_kafka import Consumer
from playwright.sync_api import Page, sync_playwright

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

from gateways import kafka  # noqa: E402
from gateways.alerts.settings import SAYS, SmtpSettings  # noqa: E402
from gateways.alerts.smtp import Smtp  # noqa: E402
from gateways.alerts.wording import Wording  # noqa: E402
from gateways.console.accounts import Accounts  # noqa: E402
from gateways.console.settings import Grant  # noqa: E402
from gateways.objects import FileStore  # noqa: E402
from schemas.audit import Role  # noqa: E402
from schemas.envelope import decode  # noqa: E402
from schemas.events import AlertRaised, StudyTriaged  # noqa: E402
from schemas.identity import derived_id  # noqa: E402
from schemas.paging import AlertAcknowledged, AlertDelivered, AlertPaged  # noqa: E402
from schemas.topics import RESULTS, alerts  # noqa: E402
from sinsok.stack.parts import create_topics, topics  # noqa: E402
from tests.integration.certificates import Authority  # noqa: E402
from tests.integration.hooks import Hooks  # noqa: E402
from tests.integration.mail_server import ADDRESS, MailServer  # noqa: E402
from tests.results import bleeds  # noqa: E402
from tests.stack import Installation, install  # noqa: E402

SITE = "suwon"
PASSWORD = "correct horse battery"
LONGEST_S = 30.0
_CONFIGURATION = """
[notifier.smtp]
port = {port}
ca = "{ca}"
[[sites.suwon.paging.chains]]
name = "night"
steps = [["mail", "hook"]]
[sites.suwon.recipients.mail]
channels = [{{ kind = "smtp", to = "{address}" }}]
[sites.suwon.recipients.hook]
channels = [{{ kind = "webhook", url = "{hooks}/hook", secret = "a secret of 16 or more" }}]
"""
_WATCH = """() => {
  window.shown = {};
  const look = () => {
    for (const link of document.querySelectorAll("tr[data-key] a[href^='/alerts/']"))
      window.shown[link.getAttribute('href').split('/').pop()] ??= Date.now();
  };
  new MutationObserver(() => requestAnimationFrame(look)).observe(document.body, {childList: true, subtree: true});
}"""


class Peer:
    """Mail at once for each alert on the topic."""

    def __init__(self, bootstrap: str, mail: MailServer) -> None:
        self.sent: dict[UUID, float] = {}
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "peer", "auto.offset.reset": "latest", "fetch.wait.max.ms": 50}
        )
        self._consumer.subscribe([alerts(SITE).name])
        self._smtp = Smtp(SmtpSettings(port=mail.port, ca=mail.ca), ADDRESS, 10.0)
        self._wording = Wording(
            language="en", site=SITE, recipient="peer", says=SAYS, link="http://127.0.0.1/alerts/{alert_id}"
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Peer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            record = self._consumer.poll(0.1)
            if record is None or record.error():
                continue
            event = decode(record.headers(), record.value())
            if isinstance(event, AlertRaised):
                page = _page(event)
                self._smtp.send(self._wording.page(f"{event.alert_id}/peer", page))
                self.sent[event.alert_id] = time.time()


def _page(raised: AlertRaised) -> AlertPaged:
    about = raised.model_dump(include={"time", "site", "study_uid", "alert_id", "revision", "priority", "reason"})
    return AlertPaged(
        **about,
        findings=raised.findings,
        attempt=1,
        step=0,
        chain="none",
        recipients=("peer",),
        why="raised",
        deliver_by=raised.time,
        answer_by=raised.time,
    )


class Others:
    """Consoles that are no browsers: each listens, and asks for the worklist when an alert came."""

    def __init__(self, url: str, cookies: httpx.Cookies, count: int) -> None:
        self._url, self._cookies, self._count = url, cookies, count
        self.took: list[float] = []
        self._loop = asyncio.new_event_loop()
        self._opened = threading.Event()
        self._open = 0
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Others":
        self._thread.start()
        for _ in range(self._count):
            asyncio.run_coroutine_threadsafe(self._console(), self._loop)
        if self._count and not self._opened.wait(60):
            raise SystemExit("the consoles do not open")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _console(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, cookies=self._cookies, timeout=None) as client:
            soon: asyncio.Task[None] | None = None
            async with client.stream("GET", "/live") as stream:
                async for line in stream.aiter_lines():
                    if line == "event: open":
                        self._open += 1
                        if self._open == self._count:
                            self._opened.set()
                    elif line in ("event: alert", "event: change") and (soon is None or soon.done()):
                        soon = asyncio.ensure_future(self._load(client, 0.02 if line == "event: alert" else 1.0))

    async def _load(self, client: httpx.AsyncClient, within_s: float) -> None:
        await asyncio.sleep(within_s)
        began = time.perf_counter()
        (await client.get("/worklist/rows")).raise_for_status()
        self.took.append(time.perf_counter() - began)


def raise_alert(result: StudyTriaged) -> AlertRaised:
    assert result.provenance is not None
    return AlertRaised(
        time=datetime.now(UTC),
        site=SITE,
        study_uid=result.study_uid,
        alert_id=derived_id("alert", result.key),
        revision=1,
        priority=result.priority,
        findings=result.findings,
        reason="bleed (rule: from 2 ml)",
        provenance=result.provenance,
        final=True,
        result=result.event_id,
        last_image_at=result.last_image_at,
    )


def sign_in(url: str) -> httpx.Cookies:
    with httpx.Client(base_url=url, headers={"origin": url}) as client:
        token = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/login").text)
        assert token is not None
        client.post("/login", data={"csrf": token[1], "name": "rad", "password": PASSWORD})
        return client.cookies


@contextmanager
def worklist(url: str) -> Iterator[Page]:
    """In Chromium, signed in and watched."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(base_url=url)
        page.goto("/worklist")
        page.locator("input[name=name]").fill("rad")
        page.locator("input[name=password]").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.locator("#rows").wait_for()
        page.evaluate(_WATCH)
        yield page
        browser.close()


def measure(installation: Installation, page: Page, count: int, every_s: float) -> dict[UUID, tuple[float, float]]:
    """When each alert was sent to the broker and when Chromium showed it, both in seconds since 1970."""
    bootstrap = installation.settings.kafka.bootstrap_servers
    producer = kafka.producer(bootstrap)
    told = bleeds(FileStore(installation.settings.store), count)
    for result in told:
        kafka.publish(producer, RESULTS.name, result.model_copy(update={"time": datetime.now(UTC)}))
    page.wait_for_timeout(3000)
    found, chance = {}, random.Random(1)
    for result in told:
        raised = raise_alert(result)
        began = time.time()
        kafka.publish(producer, alerts(SITE).name, raised)
        shown = None
        while shown is None and time.time() < began + LONGEST_S:
            page.wait_for_timeout(50)
            shown = page.evaluate("(alert) => window.shown[alert]", str(raised.alert_id))
        if shown is None:
            raise SystemExit(f"not seen in Chromium within {LONGEST_S:g} s: {raised.alert_id}")
        found[raised.alert_id] = began, shown / 1000
        about = raised.model_dump(include={"site", "study_uid", "alert_id", "revision"})
        kafka.publish(producer, alerts(SITE).name, AlertAcknowledged(**about, time=datetime.now(UTC), by="rad"))
        page.wait_for_timeout(1000 * every_s * (0.5 + chance.random()))
    return found


def delivered(bootstrap: str) -> dict[str, dict[UUID, float]]:
    """When each alert had arrived, by channel."""
    found: dict[str, dict[UUID, float]] = {"smtp": {}, "webhook": {}}
    for record in kafka.read(bootstrap, [alerts(SITE).name]):
        event = decode(record.headers, record.value)
        if isinstance(event, AlertDelivered):
            found[event.channel].setdefault(event.alert_id, event.time.timestamp())
    return found


def say(name: str, seconds: list[float]) -> None:
    cuts = statistics.quantiles(seconds, n=100)
    print(f"{name:<22} p50 {cuts[49]:.3f} s   p99 {cuts[98]:.3f} s   n {len(seconds)}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=100)
    parser.add_argument("--consoles", type=int, default=50)
    parser.add_argument("--every", type=float, default=0.5, help="seconds between an alert seen and the next")
    given = parser.parse_args()
    with ExitStack() as running, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mail = running.enter_context(MailServer(Authority(folder / "ca")))
        hooks = running.enter_context(Hooks())
        changes = _CONFIGURATION.format(port=mail.port, ca=mail.ca, address=ADDRESS, hooks=hooks.url)
        installation = install(folder, changes=changes)
        bootstrap, url = installation.settings.kafka.bootstrap_servers, installation.settings.console.url
        running.enter_context(installation.part("kafka"))
        create_topics(bootstrap, topics(installation.settings))
        accounts = Accounts(installation.settings.home / "console" / "accounts.json", installation.settings.sites)
        accounts.add("rad", PASSWORD, Grant(roles=(Role.RADIOLOGIST,), sites=(SITE,)))
        for part in ("streams-escalate", "notifier"):
            running.enter_context(installation.part(part))
        console = running.enter_context(installation.part("console"))
        others = running.enter_context(Others(url, sign_in(url), given.consoles - 1))
        peer = running.enter_context(Peer(bootstrap, mail))
        with worklist(url) as page:
            found = measure(installation, page, given.alerts, given.every)
        time.sleep(2)
        arrived = delivered(bootstrap)
        for channel, times in arrived.items():
            say(f"{channel} accepted", [times[alert] - began for alert, (began, _) in found.items()])
        say("peer: bare mail", [peer.sent[alert] - began for alert, (began, _) in found.items()])
        say("visible in Chromium", [shown - began for began, shown in found.values()])
        if others.took:
            say("worklist, the others", others.took)
        memory = psutil.Process(console.process.pid).memory_info().rss / 2**20
        print(f"{given.consoles} consoles; the console's memory {memory:.0f} MiB")


if __name__ == "__main__":
    main()
