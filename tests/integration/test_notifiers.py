"""The notifier's channels on a real mail server and on web servers that misbehave; and killed over and over."""

import logging
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateways import kafka as gateway
from gateways.alerts.channel import Message, Shut
from gateways.alerts.far_side import reach as reach_hook
from gateways.alerts.http_template import HttpTemplate
from gateways.alerts.settings import HttpChannel, SmtpSettings, WebhookChannel
from gateways.alerts.smtp import Smtp, reach
from gateways.alerts.webhook import Webhook
from schemas.envelope import decode
from schemas.failures import Refused, Unavailable
from schemas.paging import AlertDelivered
from schemas.topics import alerts
from sinsok.stack.parts import create_topics, topics
from tests.integration.certificates import Authority
from tests.integration.hooks import Hooks
from tests.integration.mail_server import ADDRESS, PASSWORD, USER, MailServer
from tests.stack import Installation, install, wait_until
from tests.unit.gateways.alerts.examples import paged, withdrawn, wording
from tests.unit.gateways.alerts.test_webhook import example  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration
SECRET = "a secret of 16 or more"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates") / "ca")


@pytest.fixture(scope="module")
def mail(authority: Authority) -> Iterator[MailServer]:
    with MailServer(authority) as server:
        yield server


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as server:
        yield server


def page(number: int = 1) -> Message:
    event = paged(number)
    return wording("ko").page(f"{event.alert_id}/1/kim", event)


def smtp(server: MailServer, to: str = ADDRESS, **changes: Any) -> Smtp:
    return Smtp(mail_settings(server, **changes), to, timeout_s=10.0)


def mail_settings(server: MailServer, **changes: Any) -> SmtpSettings:
    given = {"port": server.port, "ca": server.ca, "sender": "sinsok@hospital.test"}
    return SmtpSettings.model_validate(given | changes)


# --- mail ----------------------------------------------------------------------------------------------------------


def test_a_mail_server_takes_a_page_and_what_follows_it(mail: MailServer) -> None:
    first, follows = page(), wording("ko").withdrawal("withdrawn", withdrawn())
    for message in (first, follows):
        assert smtp(mail).send(message).startswith("250 2.0.0 ")

    def arrived() -> None:
        assert len(mail.mails()) == 2

    wait_until(arrived)
    read = {str(one["Subject"]): one for one in mail.mails()}
    told, taken_back = read[first.title], read[follows.title]
    assert told["X-Sinsok-Alert"] == str(first.alert_id)
    assert told["References"] == taken_back["References"]
    for kind, expected in (("plain", f"검사 열기: {first.lines[1].url}"), ("html", f'<a href="{first.lines[1].url}">')):
        body = told.get_body((kind,))
        assert body is not None
        assert expected in body.get_content()


def test_an_address_that_is_not_there_is_refused_without_naming_it(mail: MailServer) -> None:
    with pytest.raises(Refused) as raised:
        smtp(mail, "nobody@hospital.test").send(page())
    assert re.fullmatch(r"5\d\d 5\.\d\.\d", str(raised.value))


def test_a_password_goes_over_tls_and_a_wrong_one_is_not_the_pages_fault(mail: MailServer) -> None:
    login = {"port": mail.login_port, "username": USER, "password": PASSWORD}
    assert smtp(mail, **login).send(page(2)).startswith("250")
    reach(mail_settings(mail, **login), 10.0)
    wrong = login | {"password": "wrong"}
    for ask in (lambda: smtp(mail, **wrong).send(page(3)), lambda: reach(mail_settings(mail, **wrong), 10.0)):
        with pytest.raises(Shut, match="no session: 535, the password is not taken"):
            ask()


def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(mail: MailServer, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger").certificate
    for policy in ("required", "if-offered"):
        with pytest.raises(Unavailable, match=r"^no session: unable to get local issuer certificate$"):
            smtp(mail, ca=stranger, starttls=policy).send(page())


def test_that_a_mail_servers_certificate_has_expired_is_said(authority: Authority) -> None:
    with (
        MailServer(authority, days=-1) as old,
        pytest.raises(Unavailable, match=r"^no session: certificate has expired"),
    ):
        smtp(old).send(page())


def test_without_starttls_nothing_is_sent_where_it_is_required(mail: MailServer) -> None:
    with pytest.raises(Unavailable, match="STARTTLS"):
        smtp(mail, port=mail.plain_port).send(page())
    for policy in ("if-offered", "never"):
        assert smtp(mail, port=mail.plain_port, starttls=policy).send(page(4)).startswith("250")


def test_a_mail_server_that_is_away_or_says_nothing(mail: MailServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unavailable, match=r"no answer within 0\.5 s"):
            Smtp(mail_settings(mail, port=port), ADDRESS, timeout_s=0.5).send(page())
    with pytest.raises(Unavailable, match="no session"):
        Smtp(mail_settings(mail, port=port), ADDRESS, timeout_s=10.0).send(page())


# --- HTTP ----------------------------------------------------------------------------------------------------------


def webhook(url: str, timeout_s: float = 10.0, **changes: Any) -> Webhook:
    settings = WebhookChannel.model_validate({"kind": "webhook", "url": url, "secret": SECRET} | changes)
    return Webhook(settings, timeout_s)


def test_no_address_is_logged(hooks: Hooks, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        webhook(f"{hooks.url}/T0/B0/secret").send(page())
    assert "secret" not in caplog.text


def test_a_webhook_is_signed_so_that_the_documented_example_believes_it(hooks: Hooks, example: Any) -> None:  # noqa: F811
    message = page()
    assert webhook(f"{hooks.url}/pages").send(message) == "HTTP 200"
    (request,) = hooks.requests
    assert request.path == "/pages"
    assert request.headers["Idempotency-Key"] == request.said["key"] == message.key
    assert example.is_genuine(SECRET, request.headers, request.body, time.time())
    assert not example.is_genuine(SECRET, request.headers, request.body + b" ", time.time())


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (301, Refused),
        (400, Refused),
        (401, Shut),
        (403, Shut),
        (404, Shut),
        (407, Shut),
        (408, Unavailable),
        (410, Shut),
        (425, Unavailable),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
def test_what_a_status_means(hooks: Hooks, status: int, failure: type[Exception]) -> None:
    hooks.status = status
    with pytest.raises(failure, match=str(status)) as raised:
        webhook(hooks.url).send(page())
    assert type(raised.value) is failure


@pytest.mark.parametrize("fault", [{"status": 0}, {"late_s": 60.0}, {"trickle_s": 0.2}])
def test_a_server_that_hangs_or_is_too_slow_is_away(hooks: Hooks, fault: dict[str, Any]) -> None:
    for name, value in fault.items():
        setattr(hooks, name, value)
    with pytest.raises(Unavailable, match=r"no answer within 0\.5 s"):
        webhook(hooks.url, 0.5).send(page())


def test_a_server_that_is_not_there_is_away_and_its_address_is_not_repeated() -> None:
    with pytest.raises(Unavailable) as raised:
        webhook("http://127.0.0.1:1/T0/B0/secret").send(page())
    assert str(raised.value) == "no answer: ConnectError"


def test_https_needs_a_certificate_that_the_ca_has_signed(authority: Authority, tmp_path: Path) -> None:
    with Hooks(authority.signs("hooks")) as hooks:
        assert webhook(hooks.url, ca=authority.certificate).send(page()) == "HTTP 200"
        for ca in (None, Authority(tmp_path / "stranger").certificate):
            for ask in (
                lambda ca=ca: webhook(hooks.url, ca=ca).send(page()),
                lambda ca=ca: reach_hook(hooks.url, ca, 10.0),
            ):
                with pytest.raises(Unavailable, match=r"^no answer: unable to get local issuer certificate$"):
                    ask()
        reach_hook(hooks.url, authority.certificate, 10.0)
        assert len(hooks.requests) == 1


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"days": -1}, "certificate has expired"), ({"alternative": "DNS:other.test"}, "IP address mismatch")],
)
def test_what_is_wrong_with_a_certificate_is_said_without_the_address(
    authority: Authority, wrong: dict[str, Any], why: str
) -> None:
    with Hooks(authority.signs("old", **wrong)) as hooks:
        for ask in (
            lambda: webhook(hooks.url, ca=authority.certificate).send(page()),
            lambda: reach_hook(hooks.url, authority.certificate, 10.0),
        ):
            with pytest.raises(Unavailable, match=f"^no answer: {why}$"):
                ask()


def test_a_hook_is_reached_without_a_request(hooks: Hooks) -> None:
    reach_hook(f"{hooks.url}/T0/B0/{{text}}", None, 10.0)
    assert hooks.requests == []
    with pytest.raises(Unavailable, match=r"^no answer: ConnectionRefusedError$"):
        reach_hook("http://127.0.0.1:1/T0", None, 10.0)


def test_a_gateway_that_answers_200_to_what_it_refuses(hooks: Hooks) -> None:
    settings = {"kind": "http", "url": f"{hooks.url}/{{key}}", "method": "POST", "expect": r'"code": *"?0\b'}
    sms = HttpTemplate(HttpChannel.model_validate(settings), 10.0)
    hooks.said = b'{"code": 0}'
    assert sms.send(page()) == "HTTP 200"
    for said in (b'{"code": 17, "to": "01012345678"}', b"", b"\xff" * 1_000_000):
        hooks.said = said
        with pytest.raises(Refused, match=r"^HTTP 200, and what it says is not what is expected$"):
            sms.send(page())
    hooks.said, hooks.status = b'{"code": 0}', 503
    with pytest.raises(Unavailable, match=r"^HTTP 503$"):
        sms.send(page())


def test_a_template_makes_the_request_of_an_sms_gateway(hooks: Hooks) -> None:
    settings = HttpChannel.model_validate(
        {
            "kind": "http",
            "url": f"{hooks.url}/send?ref={{key}}",
            "headers": {"Content-Type": "application/x-www-form-urlencoded", "Authorization": "Bearer abc"},
            "body": "to=01012345678&text={title}",
        }
    )
    message = page()
    assert HttpTemplate(settings, 10.0).send(message) == "HTTP 200"
    (request,) = hooks.requests
    assert request.path == f"/send?ref={message.key.replace('/', '%2F')}"
    assert request.headers["Authorization"] == "Bearer abc"
    assert request.headers["Idempotency-Key"] == message.key
    assert request.body.startswith(b"to=01012345678&text=STAT%28%EC%A6%89%EC%8B%9C%29%3A+Intracranial")


# --- the notifier as a process, killed -----------------------------------------------------------------------------


@pytest.fixture
def hospital(tmp_path: Path, hooks: Hooks) -> Iterator[Installation]:
    """Kafka with the topics, and a notifier (not started) that tells two people."""
    recipients = "".join(
        f'[sites.suwon.recipients.{name}]\nlanguage = "en"\nchannels = [{{ kind = "webhook", url ='
        f' "{hooks.url}/{name}", secret = "{SECRET}" }}]\n'
        for name in ("kim", "lee")
    )
    chain = '[[sites.suwon.paging.chains]]\nname = "always"\nsteps = [["kim", "lee"]]\n'
    installation = install(tmp_path, changes=chain + recipients)
    with installation.part("kafka"):
        create_topics(installation.settings.kafka.bootstrap_servers, topics(installation.settings))
        yield installation


def test_killed_over_and_over_everybody_is_told_and_it_is_said_once(hospital: Installation, hooks: Hooks) -> None:
    bootstrap = hospital.settings.kafka.bootstrap_servers
    now = datetime.now(UTC)
    late = now + timedelta(minutes=10)
    pages = [paged(number, time=now, deliver_by=late, recipients=("kim", "lee")) for number in range(20)]
    hooks.late_s = 0.1
    producer = gateway.producer(bootstrap)
    for event in pages:
        gateway.publish(producer, alerts("suwon").name, event)

    def received(least: int) -> None:
        assert len(hooks.requests) >= least

    notifier = hospital.part("notifier")
    for least in (1, 9, 20, 33):
        notifier.start(wait=False)
        wait_until(lambda least=least: received(least), every_s=0.02)
        notifier.kill()
    notifier.start()

    def delivered() -> list[AlertDelivered]:
        records = gateway.read(bootstrap, [alerts("suwon").name])
        events = {event.event_id: event for record in records if (event := decode(record.headers, record.value))}
        return [event for event in events.values() if isinstance(event, AlertDelivered)]

    def all_delivered() -> None:
        assert len(delivered()) == 40

    wait_until(all_delivered, every_s=0.5)
    owed = {(name, f"{event.alert_id}/1/{name}") for event in pages for name in event.recipients}
    bodies: dict[str, set[bytes]] = {}
    for request in hooks.requests:
        assert request.said["key"] == request.headers["Idempotency-Key"]
        bodies.setdefault(request.said["key"], set()).add(request.body)
    assert {(request.path[1:], request.said["key"]) for request in hooks.requests} == owed
    assert all(len(said) == 1 for said in bodies.values()), "the same key says the same"
    assert Counter((event.recipient, event.alert_id) for event in delivered()) == Counter(
        {(name, event.alert_id): 1 for event in pages for name in event.recipients}
    )

    # The ledger remembers: nothing is said again, and a withdrawal reaches those who were told.
    count = len(hooks.requests)
    gateway.publish(producer, alerts("suwon").name, pages[0])
    gateway.publish(producer, alerts("suwon").name, withdrawn(0))
    wait_until(lambda: received(count + 2))
    assert sorted(request.said["kind"] for request in hooks.requests[count:]) == ["withdrawal", "withdrawal"]
    assert notifier.stop() == 0
    assert len(delivered()) == 40
