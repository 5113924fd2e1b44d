"""`sinsok check`: contradictions within the configuration, and the line for every endpoint."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from socket import create_server
from urllib.parse import urlsplit

import pytest

from gateways.inference.server import TritonServer
from schemas.failures import NotInstalled, Refused, Unavailable, Unreadable
from sinsok.commands import check
from sinsok.commands.check import Check, checks
from sinsok.consistency import contradictions
from sinsok.settings import Settings, load
from sinsok.stack.part import CHECKOUT, NotReady
from tests.unit.gateways.worklist.ups_server import UpsServer
from tests.unit.sinsok.commandline import sinsok

SITES = '[sites.suwon]\ncalled_ae = "SUWON_AI"\n[sites.icheon]\ncalled_ae = "ICHEON_AI"\n'
ROUTE = '[[routes]]\nmodel = "ich_hyperdensity"\n'
RULE = '[[alerts.rules]]\nfinding = "SCT:1386000"\npriority = "stat"\n'


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Path]:
    """A folder with a model repository of one model, for a configuration to be written to."""
    model = tmp_path / "triton_models" / "ich_hyperdensity"
    (model / "1").mkdir(parents=True)
    shutil.copy(CHECKOUT / "triton_models" / "ich_hyperdensity" / "config.pbtxt", model)
    return tmp_path


def settings(folder: Path, text: str) -> Settings:
    (folder / "sinsok.toml").write_text(text, encoding="utf-8")
    return load({"SINSOK_CONFIG": str(folder / "sinsok.toml")})


def test_the_projects_own_configuration_contradicts_nothing() -> None:
    assert contradictions(load({})) == []


def test_a_configuration_that_fits_its_models(configured: Path) -> None:
    assert contradictions(settings(configured, SITES + ROUTE + RULE)) == []


def test_a_route_to_a_model_that_is_not_there(configured: Path) -> None:
    (said,) = contradictions(settings(configured, SITES + ROUTE.replace("ich_", "ish_") + RULE))
    assert said == f"routes: model ish_hyperdensity is not in {configured}/triton_models: it has ich_hyperdensity"


def test_a_route_to_a_version_that_is_not_there(configured: Path) -> None:
    (said,) = contradictions(settings(configured, SITES + ROUTE + 'version = "7"\n' + RULE))
    assert said == "routes: model ich_hyperdensity has no version 7 in the repository, but 1"


def test_a_rule_for_what_no_model_reports(configured: Path) -> None:
    (said,) = contradictions(settings(configured, SITES + ROUTE + RULE.replace("1386000", "1386001")))
    assert said == "alerts.rules: no model of suwon, icheon reports SCT:1386001, they report SCT:1386000"


def test_a_rule_where_nothing_is_routed(configured: Path) -> None:
    (said,) = contradictions(settings(configured, SITES + "routes = []\n" + ROUTE + RULE))
    assert said == "alerts.rules: no model of icheon reports SCT:1386000, they report nothing"


def test_a_rule_for_several_findings_needs_each_from_some_model_and_one_from_the_sites_own(configured: Path) -> None:
    other = configured / "triton_models" / "other"
    (other / "1").mkdir(parents=True)
    stated = (configured / "triton_models" / "ich_hyperdensity" / "config.pbtxt").read_text()
    (other / "config.pbtxt").write_text(stated.replace("ich_hyperdensity", "other").replace("1386000", "99"))
    several = RULE.replace('"SCT:1386000"', '["SCT:1386000", "SCT:99"]')
    assert contradictions(settings(configured, SITES + ROUTE + several)) == []
    (said,) = contradictions(settings(configured, SITES + ROUTE + several.replace("99", "98")))
    assert said == "alerts.rules: no model of suwon, icheon reports SCT:98, they report SCT:1386000"


def test_the_second_model_and_the_gate_of_a_route_must_be_there_too(configured: Path) -> None:
    more = 'confirm = "five@1"\ngate = { model = "ich_hyperdensity@7", concept = "SCT:1" }\n'
    missing, wrong = contradictions(settings(configured, SITES + ROUTE + more))
    assert missing == f"routes: model five is not in {configured}/triton_models: it has ich_hyperdensity"
    assert wrong == "routes: model ich_hyperdensity has no version 7 in the repository, but 1"


def test_whether_a_model_is_installed_is_for_triton_to_say(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TritonServer, "state", lambda *_: "UNAVAILABLE weights.npz is not installed")
    (one,) = (one for one in checks(settings(configured, SITES + ROUTE)) if one.name == "model")
    with pytest.raises(NotInstalled, match=r"weights\.npz is not installed"):
        one.ask()
    monkeypatch.setattr(TritonServer, "state", lambda *_: "READY")
    one.ask()


def test_a_site_for_which_nothing_reads_is_said(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TritonServer, "state", lambda *_: "UNAVAILABLE weights.npz is not installed")
    suwon, icheon = (one for one in checks(settings(configured, SITES + ROUTE)) if one.name == "reading")
    with pytest.raises(NotReady, match=r"no model of its routes is ready: .* weights\.npz is not installed"):
        suwon.ask()
    monkeypatch.setattr(TritonServer, "state", lambda *_: "READY")
    icheon.ask()


def test_a_model_that_says_nothing_of_its_findings_is_believed(configured: Path) -> None:
    (configured / "triton_models" / "ich_hyperdensity" / "config.pbtxt").write_text('name: "ich_hyperdensity"')
    assert contradictions(settings(configured, SITES + ROUTE + RULE)) == []


def test_a_repository_elsewhere_is_not_judged(configured: Path) -> None:
    text = f'model_repository = "{configured}/absent"\n'
    assert contradictions(settings(configured, text + SITES + ROUTE + RULE)) == []


def test_contradictions_end_the_check(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(configured, SITES + ROUTE.replace("ich_", "ish_"))
    monkeypatch.setenv("SINSOK_CONFIG", str(configured / "sinsok.toml"))
    answer = sinsok("check")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {configured}/sinsok.toml: routes: model ish_hyperdensity")
    assert len(answer.err.splitlines()) == 1


RECIPIENT = '[sites.suwon.recipients.kim]\nchannels = [{ kind = "smtp", to = "kim@hospital.test" }]\n'
CHAIN = '[[sites.suwon.paging.chains]]\nname = "always"\nsteps = [["kim"]]\n'


def test_recipients_whom_no_chain_asks_are_a_contradiction(configured: Path) -> None:
    (said,) = contradictions(settings(configured, SITES + ROUTE + RULE + RECIPIENT))
    assert said == ("sites.suwon: no chain asks kim: add [[sites.suwon.paging.chains]], or remove the recipients")
    assert contradictions(settings(configured, SITES + ROUTE + RULE + RECIPIENT + CHAIN)) == []
    assert contradictions(settings(configured, SITES + ROUTE + RECIPIENT)) == [], "nothing pages there"
    routine = RULE.replace("stat", "routine")
    assert contradictions(settings(configured, SITES + ROUTE + routine + RECIPIENT)) == []


def test_that_nobody_is_paged_is_said(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "checks", lambda settings: [])
    monkeypatch.setenv("SINSOK_CONFIG", str(configured / "sinsok.toml"))
    settings(configured, SITES + ROUTE + RULE)
    answer = sinsok("check")
    nobody = "absent  paging suwon, icheon: no chains; nobody is paged about alerts there"
    assert (answer.code, answer.out.splitlines()[1:]) == (0, [nobody])
    settings(configured, SITES + ROUTE + RULE + RECIPIENT + CHAIN)
    assert sinsok("check").out.splitlines()[1:] == [nobody.replace("suwon, ", "")]
    settings(configured, SITES + ROUTE)
    assert sinsok("check").out.splitlines()[1:] == [], "no alert is raised"


def test_every_endpoint_of_the_configuration_is_asked() -> None:
    asked = {f"{one.name} {one.endpoint}" for one in checks(load({}))}
    assert asked == {
        "kafka 127.0.0.1:9092",
        "topics 127.0.0.1:9092",
        "triton http://127.0.0.1:8000",
        "model blast_ct 1",
        "model blast_ct_ensemble 1",
        "model ich_hyperdensity 1",
        "reading suwon",
        "reading anseong",
        "reading icheon",
        "dicom suwon SUWON_AI 127.0.0.1:11112",
        "dicom anseong ANSEONG_AI 127.0.0.1:11112",
        "dicom icheon ICHEON_AI 127.0.0.1:11112",
        "pacs http://127.0.0.1:8042",
        "pacs PACS 127.0.0.1:4242",
        "pacs suwon PACS 127.0.0.1:4242",
        "pacs anseong PACS 127.0.0.1:4242",
        "pacs icheon PACS 127.0.0.1:4242",
        "dicom-gateway http://127.0.0.1:9100/readyz",
        "streams-assemble http://127.0.0.1:9101/readyz",
        "streams-infer http://127.0.0.1:9102/readyz",
        "streams-confirm http://127.0.0.1:9103/readyz",
        "streams-alert http://127.0.0.1:9104/readyz",
        "pacs-writer http://127.0.0.1:9105/readyz",
        "streams-escalate http://127.0.0.1:9106/readyz",
        "notifier http://127.0.0.1:9107/readyz",
        "console http://127.0.0.1:9108/readyz",
        "watcher http://127.0.0.1:9109/readyz",
        "archiver http://127.0.0.1:9111/readyz",
        "auditor http://127.0.0.1:9112/readyz",
    }


DESTINATIONS = """
[sites.suwon]
called_ae = "SUWON_AI"
[sites.suwon.pacs]
host = "127.0.0.1"
port = {pacs}
calling_ae = "SUWON_SINSOK"
timeout_s = 0.2
[[sites.suwon.worklists]]
protocol = "hl7"
host = "127.0.0.1"
port = {hl7}
[[sites.suwon.worklists]]
protocol = "ups"
url = "http://127.0.0.1:{ups}/dicom-web"
[sites.icheon]
called_ae = "ICHEON_AI"
[sites.icheon.pacs]
delivery = "dicomweb"
dicomweb_url = "http://127.0.0.1:{web}/dicom-web"
"""


def test_pacs_and_worklists_are_reached_as_results_reach_them(configured: Path) -> None:
    with create_server(("127.0.0.1", 0)) as pacs, create_server(("127.0.0.1", 0)) as hl7, UpsServer() as ups:
        ports = {"pacs": pacs.getsockname()[1], "hl7": hl7.getsockname()[1], "ups": urlsplit(ups.url).port}
        text = DESTINATIONS.format(**ports, web=ports["ups"])
        asked = {f"{one.name} {one.endpoint}": one for one in checks(settings(configured, text))}
        # It takes connections and says nothing: the site's own time for an answer is over soon.
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s .*calling SUWON_SINSOK"):
            asked[f"pacs suwon PACS 127.0.0.1:{ports['pacs']}"].ask()
        with pytest.raises(Refused, match="HTTP 404"):  # it has no QIDO-RS
            asked[f"pacs icheon http://127.0.0.1:{ports['ups']}/dicom-web"].ask()
        asked[f"worklist suwon/hl7 127.0.0.1:{ports['hl7']}"].ask()
        hl7.accept()[0].close()
        asked[f"worklist suwon/ups {ups.url}"].ask()
    assert [method for method, *_ in ups.requests] == ["GET", "GET"]
    for name in (f"worklist suwon/hl7 127.0.0.1:{ports['hl7']}", f"worklist suwon/ups {ups.url}"):
        with pytest.raises(Unavailable, match="cannot be reached"):
            asked[name].ask()


@pytest.mark.parametrize(
    "failure", [NotReady("nobody is there"), Unavailable("nobody is there"), Unreadable("nobody is there")]
)
def test_one_line_each_and_what_to_do(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail() -> None:
        raise failure

    asked = [Check("kafka", "here:1", lambda: None, "start it"), Check("triton", "there:2", fail, "start it")]
    monkeypatch.setattr(check, "checks", lambda settings: asked)
    monkeypatch.setattr(check, "paging_nobody", lambda settings: [])
    answer = sinsok("check")
    assert answer.code == 1
    assert answer.out.splitlines()[1:] == ["ok      kafka here:1", "failed  triton there:2: nobody is there; start it"]
    monkeypatch.setattr(check, "checks", lambda settings: asked[:1])
    assert sinsok("check").code == 0


def test_what_is_absent_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise NotInstalled("not installed")

    monkeypatch.setattr(check, "checks", lambda settings: [Check("model", "first 1", absent, "install it")])
    monkeypatch.setattr(check, "contradictions", lambda settings: [])
    answer = sinsok("check")
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == "absent  model first 1: not installed; its routes go on without it"
