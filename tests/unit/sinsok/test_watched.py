"""What is watched, from the configuration: groups, clocks, certificates."""

from pathlib import Path

import pytest

from gateways.alerts.intake import GROUP as NOTIFIER
from gateways.archive.collector import GROUP as ARCHIVER
from gateways.audit.transaction import GROUP as AUDITOR
from gateways.delivery.intake import GROUP as PACS_WRITER
from gateways.traces.intake import GROUP as TRACER
from schemas.alarms import AlarmKind
from sinsok.certificates import certificates
from sinsok.consistency import contradictions
from sinsok.settings import Settings, load
from sinsok.stack.lag import GROUPS
from sinsok.stack.parts import health_ports, parts
from sinsok.stack.processes import PROCESSES
from sinsok.watched import surroundings

SITES = '[sites.suwon]\ncalled_ae = "SUWON_AI"\n[sites.icheon]\ncalled_ae = "ICHEON_AI"\n'


def configured(folder: Path, text: str) -> Settings:
    path = folder / "sinsok.toml"
    path.write_text(SITES + text)
    return load({"SINSOK_CONFIG": str(path)})


def test_every_process_with_a_group_is_watched_and_every_clock_but_its_own(tmp_path: Path) -> None:
    settings = configured(tmp_path, "[watch]\nlag_after_s = 7\n[completeness]\ncap_s = 333\n")
    around = surroundings(settings)
    assert {*GROUPS.values(), NOTIFIER, PACS_WRITER} <= set(around.groups)
    assert {one.late_after_s for one in around.groups.values() if one.kind is AlarmKind.LAG} == {7.0}
    assert around.groups[ARCHIVER].kind is AlarmKind.ARCHIVE_BEHIND
    assert around.groups[AUDITOR].kind is AlarmKind.AUDIT_BEHIND
    assert set(around.clocks) == set(PROCESSES) - {"watcher", "tracer"}
    assert around.clocks["console"] == "127.0.0.1:9108"
    assert around.cap_s == {"suwon": 333.0, "icheon": 333.0}
    apart = configured(tmp_path, '[watch]\nhealth_host = "{part}.internal"\n')
    assert surroundings(apart).clocks["console"] == "console.internal:9108"


def test_the_tracer_runs_where_somebody_collects(tmp_path: Path) -> None:
    without = configured(tmp_path, "")
    assert "tracer" not in health_ports(without)
    assert "tracer" not in {part.name for part in parts(without)}
    collected = configured(tmp_path, '[traces]\nendpoint = "http://127.0.0.1:4318/v1/traces"\n')
    assert "tracer" in {part.name for part in parts(collected)}
    assert TRACER not in surroundings(collected).groups, "nobody waits for traces at night"
    ports = health_ports(without)
    assert {name: port for name, port in health_ports(collected).items() if name != "tracer"} == ports


def test_every_certificate_that_the_configuration_names(tmp_path: Path) -> None:
    settings = configured(
        tmp_path,
        '[writer.tls]\nca = "/c/ca.pem"\ncertificate = "/c/ours.pem"\nkey = "/c/ours.key"\n'
        '[notifier.smtp]\nca = "/c/mail.pem"\n[traces]\nca = "/c/collector.pem"\n'
        '[sites.suwon.pacs.tls]\nca = "/c/ca.pem"\n'
        '[[sites.icheon.worklists]]\nprotocol = "hl7"\nhost = "ris"\ntls = { ca = "/c/ris.pem" }\n'
        "[sites.suwon.recipients.kim]\n"
        'channels = [{ kind = "http", url = "https://sms/?{text}", method = "GET", ca = "/c/sms.pem" }]\n',
    )
    assert {(one.site, one.setting, str(one.path)) for one in certificates(settings)} == {
        ("sinsok", "writer.tls.ca", "/c/ca.pem"),
        ("sinsok", "writer.tls.certificate", "/c/ours.pem"),
        ("sinsok", "notifier.smtp.ca", "/c/mail.pem"),
        ("sinsok", "traces.ca", "/c/collector.pem"),
        ("suwon", "sites.suwon.pacs.tls.ca", "/c/ca.pem"),
        ("icheon", "sites.icheon.worklists.0.tls.ca", "/c/ris.pem"),
        ("suwon", "sites.suwon.recipients.kim.channels.0.ca", "/c/sms.pem"),
    }


@pytest.mark.parametrize("key", ['scanners = { "suwn/CT1" = 60 }', "sites = { suwn = 60 }"])
def test_a_site_that_there_is_not_is_a_contradiction(tmp_path: Path, key: str) -> None:
    (said,) = contradictions(configured(tmp_path, f"[watch]\n{key}\n"))
    assert said.startswith("watch: there is no site suwn")
