"""The time for an answer holds for all of it, the name server's answer as well."""

import socket
from collections.abc import Callable, Iterator
from threading import Event

import pytest

from gateways.alerts.far_side import reach
from gateways.alerts.settings import SmtpSettings, WebhookChannel
from gateways.alerts.smtp import Smtp
from gateways.alerts.webhook import Webhook
from schemas.failures import Unavailable
from tests.unit.gateways.alerts.examples import paged, wording

SLACK = WebhookChannel(kind="webhook", url="https://hooks.test/T/B/X", style="slack")
MESSAGE = wording().page("key", paged())


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a name server answers, a minute late or when the test is over."""
    over, answers = Event(), list[str]()

    def ask(host: str, *_: object, **__: object) -> None:
        over.wait(60)
        answers.append(host)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    yield answers
    over.set()


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Webhook(SLACK, 0.2).send(MESSAGE),
        lambda: Smtp(SmtpSettings(host="mail.test"), "kim@hospital.test", 0.2).send(MESSAGE),
        lambda: reach("https://hooks.test", None, 0.2),
    ],
    ids=["webhook", "mail", "check"],
)
def test_a_name_server_that_hangs_is_not_waited_for(answers: list[str], ask: Callable[[], object]) -> None:
    with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
        ask()
    assert answers == []
