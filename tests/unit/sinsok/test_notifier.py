"""Recipients, channels and budgets, as the configuration has them."""

from collections.abc import Iterator
from datetime import time
from pathlib import Path
from socket import create_server

import pytest

from gateways.alerts import far_side
from gateways.alerts.budget import Budget
from gateways.alerts.ledger import Ledger
from schemas.events import Priority
from schemas.failures import Unavailable
from sinsok.commands.check import checks
from sinsok.consistency import contradictions
from sinsok.errors import UsageError
from sinsok.notifier import budgets, couriers
from sinsok.settings import Settings, load

SITES = """
[notifier]
timeout_s = 0.2
[notifier.smtp]
host = "127.0.0.1"
port = {port}
[paging]
pages_per_shift = 20
[sites.suwon]
called_ae = "SUWON_AI"
[sites.suwon.recipients.kim]
language = "ko"
channels = [
    {{ kind = "webhook", url = "https://hooks.test/T/B/X", style = "slack" }},
    {{ kind = "webhook", url = "https://pager.test", secret = "a secret of 16 or more" }},
    {{ kind = "http", url = "https://sms.test", body = '{{"text": "{body}"}}' }},
    {{ kind = "smtp", to = "kim@hospital.test" }},
]
[sites.icheon]
called_ae = "ICHEON_AI"
[sites.icheon.paging]
timezone = "Asia/Tokyo"
[[sites.icheon.paging.chains]]
name = "night"
steps = [["lee"], ["kim"]]
"""


def settings(folder: Path, *, port: int = 1, body: str = "{text}") -> Settings:
    (folder / "sinsok.toml").write_text(SITES.format(port=port, body=body), encoding="utf-8")
    return load({"SINSOK_CONFIG": str(folder / "sinsok.toml")})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


def test_every_recipient_has_a_courier_with_channels_told_apart(tmp_path: Path, ledger: Ledger) -> None:
    (courier,) = couriers(settings(tmp_path), ledger)
    assert (courier.site, courier.recipient) == ("suwon", "kim")
    assert [way.name for way in courier.ways] == ["webhook", "webhook-2", "http", "smtp"]
    assert [way.channel.kind for way in courier.ways] == ["webhook", "webhook", "http", "smtp"]


def test_budgets_are_those_of_each_sites_paging(tmp_path: Path) -> None:
    common = Budget(20, frozenset({Priority.STAT}), "Asia/Seoul", (time(7), time(18)))
    own = Budget(20, frozenset({Priority.STAT}), "Asia/Tokyo", (time(7), time(18)))
    assert budgets(settings(tmp_path)) == {"suwon": common, "icheon": own}


def test_a_site_without_a_limit_has_no_budget(tmp_path: Path) -> None:
    file = tmp_path / "sinsok.toml"
    file.write_text(SITES.format(port=1, body="{text}").replace("pages_per_shift = 20\n", ""), encoding="utf-8")
    assert budgets(load({"SINSOK_CONFIG": str(file)})) == {}


def test_an_unknown_placeholder_is_refused_where_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        settings(tmp_path, body="{patient_name}")
    assert "sites.suwon.recipients.kim.channels.2.http.body: there is no placeholder {patient_name}" in str(
        raised.value
    )


def test_a_chain_that_pages_nobody_is_a_contradiction(tmp_path: Path) -> None:
    said = [line for line in contradictions(settings(tmp_path)) if line.startswith("paging")]
    assert said == ["paging.chains: night pages kim, lee: add [sites.icheon.recipients.kim], with channels"]


def test_the_mail_server_is_reached_where_somebody_is_told_by_mail(tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (mail,) = (one for one in checks(settings(tmp_path, port=port)) if one.name == "mail")
        assert mail.endpoint == f"127.0.0.1:{port}"
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
            mail.ask()


def test_hooks_are_connected_to_without_naming_their_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(far_side, "reach", lambda *arguments: asked.append(arguments))
    hooks = [one for one in checks(settings(tmp_path)) if one.name == "hook"]
    assert [one.endpoint for one in hooks] == ["suwon/kim/webhook", "suwon/kim/webhook-2", "suwon/kim/http"]
    for one in hooks:
        one.ask()
    assert asked[0] == ("https://hooks.test/T/B/X", None, 0.2)
    assert len(asked) == 3
