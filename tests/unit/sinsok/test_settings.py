"""The configuration: what is read from where, and what is refused with which words."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sinsok.errors import UsageError
from sinsok.settings import load

Write = Callable[[str], Path]
SITE = '[sites.suwon]\ncalled_ae = "SUWON_AI"\n'
CHAIN = '[[paging.chains]]\nname = "always"\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "sinsok.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as refused:
        load({"SINSOK_CONFIG": str(path)})
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")
    return str(refused.value).removeprefix(f"{path}: ")


def test_the_projects_own_configuration() -> None:
    settings = load({})
    assert {name: site.called_ae for name, site in settings.sites.items()} == {
        "suwon": "SUWON_AI",
        "anseong": "ANSEONG_AI",
        "icheon": "ICHEON_AI",
    }
    assert settings.rules.of("icheon").routes == settings.routes
    assert settings.kafka.bootstrap_servers == "127.0.0.1:9092"


def test_everything_listens_on_this_machine_alone() -> None:
    settings = load({})
    hosts = {settings.dicom.host, settings.health.host, settings.orthanc.host}
    assert hosts == {"127.0.0.1"}


def test_a_site_may_decide_for_itself(write: Write) -> None:
    path = write(
        SITE
        + '[completeness]\nquiet_s = 5\n[[routes]]\nmodel = "ich"\n'
        + '[sites.icheon]\ncalled_ae = "ICHEON_AI"\nroutes = []\ncompleteness = { quiet_s = 60 }\n'
    )
    rules = load({"SINSOK_CONFIG": str(path)}).rules
    assert [route.model for route in rules.of("suwon").routes] == ["ich"]
    assert rules.of("suwon").completeness.quiet_s == 5
    assert rules.of("icheon").routes == ()
    assert rules.of("icheon").completeness.quiet_s == 60


def test_a_site_may_have_its_own_people(write: Write) -> None:
    own = '[sites.icheon]\ncalled_ae = "ICHEON_AI"\n[[sites.icheon.paging.chains]]\nname = "own"\nsteps = [["b"]]\n'
    rules = load({"SINSOK_CONFIG": str(write(SITE + CHAIN + 'steps = [["a"]]\n' + own))}).rules
    assert [chain.name for chain in rules.of("suwon").paging.chains] == ["always"]
    assert [chain.name for chain in rules.of("icheon").paging.chains] == ["own"]


def test_what_a_site_does_not_say_is_common(write: Write) -> None:
    common = (
        '[completeness]\nquiet_s = 5\ncap_s = 500\n[alerts]\npage = ["stat"]\n'
        '[[alerts.rules]]\nfinding = "SCT:1386000"\npriority = "stat"\n'
        + '[paging]\ntimezone = "Asia/Tokyo"\n'
        + CHAIN
        + 'steps = [["a"]]\n'
    )
    own = (
        '[sites.icheon]\ncalled_ae = "ICHEON_AI"\n[sites.icheon.completeness]\nquiet_s = 60\n'
        '[sites.icheon.alerts]\npage = ["stat", "urgent"]\n'
        '[sites.icheon.paging]\nquiet = [{ begin = "22:00", end = "07:00" }]\n'
    )
    rules = load({"SINSOK_CONFIG": str(write(SITE + common + own))}).rules
    suwon, icheon = rules.of("suwon"), rules.of("icheon")
    assert icheon.paging.chains == suwon.paging.chains != ()
    assert (icheon.paging.timezone, len(icheon.paging.quiet), suwon.paging.quiet) == ("Asia/Tokyo", 1, ())
    assert (icheon.completeness.quiet_s, icheon.completeness.cap_s) == (60, 500)
    assert icheon.alerts.rules == suwon.alerts.rules != ()
    assert (set(icheon.alerts.page), set(suwon.alerts.page)) == ({"stat", "urgent"}, {"stat"})


def test_whether_a_sites_keys_are_right_depends_on_the_common_ones(write: Write) -> None:
    common = '[paging]\ncritical = ["stat", "urgent", "routine"]\nquiet = [{}]\n'
    icheon = '[sites.icheon]\ncalled_ae = "ICHEON_AI"\n[sites.icheon.paging]\n'
    assert load({"SINSOK_CONFIG": str(write(SITE + common + icheon + "pages_per_shift = 5\n"))})
    assert refusal(write(SITE + common + icheon + 'critical = ["stat"]\n')) == (
        "sites.icheon.paging: quiet: urgent, routine alerts would never page: these hours never end; shorten them"
    )


def test_what_is_wrong_with_a_common_table_is_said_once(write: Write) -> None:
    icheon = '[sites.icheon]\ncalled_ae = "ICHEON_AI"\n[sites.icheon.paging]\npages_per_shift = 5\n'
    assert refusal(write(SITE + "[paging]\nquite = []\n" + icheon)) == "paging.quite: unknown key"


SECRET = "https://hooks.test/T/token-of-somebody"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            f'recipients.kim.channels = [{{ kind = "webhook", url = "{SECRET} ", style = "slack" }}]',
            "sites.suwon.recipients.kim.channels.0.webhook.url: String should match pattern '^https?://[^\\s/?#]+\\S*$'",
        ),
        (
            f'recipients.kim.channels = [{{ kind = "http", url = "https://sms.test", body = "{SECRET}" }}]',
            "sites.suwon.recipients.kim.channels.0.http: body: is no JSON, as the Content-Type says; put {text} into"
            " quotes",
        ),
        (
            f'recipients.kim.channels = [{{ kind = "http", url = "https://sms.test", headers = "{SECRET}" }}]',
            "sites.suwon.recipients.kim.channels.0.http.headers: Input should be a valid dictionary",
        ),
        (f'recipients.kim.channels = "{SECRET}"', "sites.suwon.recipients.kim.channels: Input should be a valid tuple"),
        (f'recipients.kim = "{SECRET}"', "sites.suwon.recipients.kim: Input should be a valid dictionary or instance"),
        (f'pacs.password = ["{SECRET}"]', "sites.suwon.pacs.password: Input should be a valid string"),
        (f'pacs.dicomweb_url = ["{SECRET}"]', "sites.suwon.pacs.dicomweb_url: Input should be a valid string"),
    ],
)
def test_a_fault_shows_no_secret(write: Write, text: str, says: str) -> None:
    said = refusal(write(SITE + text))
    assert said.startswith(says)
    assert ";" not in said.removeprefix(says), "there is one fault"
    assert "token-of-somebody" not in said


def test_the_example_of_who_is_paged_is_valid(write: Write) -> None:
    lines = (Path(__file__).parents[3] / "sinsok.toml").read_text(encoding="utf-8").splitlines()
    begin = lines.index("# [paging]")
    example = [line.removeprefix("#").strip() for line in lines[begin : lines.index("", begin)]]
    paging = load({"SINSOK_CONFIG": str(write(SITE + "\n".join(example)))}).paging
    assert [chain.name for chain in paging.chains] == ["day", "night"]
    assert paging.quiet


def test_paths_are_relative_to_the_configuration(write: Write) -> None:
    audited = '[audit]\nretired = ["keys/2026.pub", "/keys/2025.pub"]\n'
    path = write(SITE + '[sites.suwon.pacs]\ntls = { ca = "ca.pem" }\n' + audited)
    settings, folder = load({"SINSOK_CONFIG": str(path)}), path.parent
    assert settings.home == folder / ".local"
    assert settings.store == folder / ".local" / "objects"
    assert settings.audit.retired == (folder / "keys" / "2026.pub", Path("/keys/2025.pub"))
    assert settings.audit.key is None
    tls = settings.pacs_of("suwon").tls
    assert tls is not None
    assert tls.ca == folder / "ca.pem"


def test_variables_win_over_the_file(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(SITE + '[kafka]\nbootstrap_servers = "broker:1"\n')
    assert load({"SINSOK_CONFIG": str(path)}).kafka.bootstrap_servers == "broker:1"
    elsewhere = {"SINSOK_CONFIG": str(path), "KAFKA_BOOTSTRAP_SERVERS": "broker:2"}
    assert load(elsewhere).kafka.bootstrap_servers == "broker:2"
    monkeypatch.setenv("SINSOK_KAFKA__BOOTSTRAP_SERVERS", "broker:3")
    monkeypatch.setenv("SINSOK_HOME", str(tmp_path / "elsewhere"))
    assert load(elsewhere).kafka.bootstrap_servers == "broker:3"
    assert load(elsewhere).home == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("quiet = 1\n" + SITE, "quiet: unknown key"),
        (SITE + "[completeness]\nquiet_z = 1\n", "completeness.quiet_z: unknown key"),
        (SITE + "[sites.suwon.alerts]\npages = []\n", "sites.suwon.alerts.pages: unknown key"),
        (SITE + "[completeness]\nquiet_s = -1\n", "completeness.quiet_s: Input should be greater than 0 (is -1)"),
        (SITE + "[dicom]\nport = 70000\n", "dicom.port: Input should be less than or equal to 65535 (is 70000)"),
        (SITE + '[[routes]]\nmodel = "m"\nexclude_kernel = "["\n', "routes.0.exclude_kernel: is no regular expression"),
        (SITE + CHAIN + "steps = []\n", "paging.chains.0.steps: Tuple should have at least 1 item"),
        (
            SITE + CHAIN + 'steps = [["a"]]\ndays = ["someday"]\n',
            "paging.chains.0.days.0: Input should be 'mon', 'tue', 'wed', 'thu', 'fri', 'sat' or 'sun' (is 'someday')",
        ),
        (
            SITE + CHAIN + 'steps = [["a"]]\nbegin = "07:00"\nend = "19:00"\n',
            "paging: nobody is on call on mon at 00:00: add a chain without hours at the end",
        ),
        (
            SITE + '[paging]\nquiet = [{ begin = "00:00", end = "00:00" }]\n',
            "paging: quiet: urgent, routine alerts would never page: these hours never end; shorten them",
        ),
        (SITE + '[sites.suwon.paging]\ntimezone = "Suwon"\n', "sites.suwon.paging.timezone: there is no time zone"),
        ('[sites."Suwon 1"]\ncalled_ae = "SUWON_AI"\n', "sites.Suwon 1.[key]: String should match pattern"),
        ('[sites.suwon]\ncalled_ae = "SEVENTEEN_LETTERS"\n', "sites.suwon.called_ae: String should have at most 16"),
        (
            SITE + '[sites.icheon]\ncalled_ae = "SUWON_AI "\n',
            "sites: called AE title SUWON_AI stands for more than one",
        ),
        ('[sites.sinsok]\ncalled_ae = "SUWON_AI"\n', "sites: sinsok stands for all sites together"),
        ("", "sites: Field required"),
        ("[sites]\n", "sites: Dictionary should have at least 1 item"),
        ("[", "is no TOML: "),
    ],
)
def test_what_is_wrong_is_said_with_its_place(write: Write, text: str, says: str) -> None:
    assert refusal(write(text)).startswith(says)


def test_everything_that_is_wrong_is_said_at_once(write: Write) -> None:
    assert refusal(write("quiet = 1\nloud = 2\n" + SITE)) == "quiet: unknown key; loud: unknown key"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "absent.toml")
    assert "cannot be read" in refusal(tmp_path)
    garbled = tmp_path / "garbled.toml"
    garbled.write_bytes(b"\xff\xfe")
    assert "cannot be read" in refusal(garbled)


def test_a_wrong_variable_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(SITE)
    monkeypatch.setenv("SINSOK_DICOM__PORT", "abc")
    with pytest.raises(UsageError, match=r"^SINSOK_DICOM__PORT: dicom\.port: .* \(is 'abc'\)$"):
        load({"SINSOK_CONFIG": str(path), "SINSOK_DICOM__PORT": "abc"})


def test_a_variable_that_means_nothing_is_refused(write: Write) -> None:
    with pytest.raises(UsageError, match="SINSOK_QUIET: sinsok knows no such variable"):
        load({"SINSOK_CONFIG": str(write(SITE)), "SINSOK_QUIET": "1"})


def test_a_list_that_is_no_json_is_said_so(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(SITE)
    monkeypatch.setenv("SINSOK_STACK__START", "kafka")
    with pytest.raises(UsageError, match="given as JSON"):
        load({"SINSOK_CONFIG": str(path)})
