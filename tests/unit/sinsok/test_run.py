from pathlib import Path

import pytest
from click.testing import CliRunner

from sinsok import wiring
from sinsok.commands.run import command
from sinsok.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["radiologist"], "there is no role 'radiologist'; roles are dicom-gateway, streams"),
        (["streams"], "streams needs --hop, one of assemble, infer, confirm, alert, escalate"),
        (["streams", "--hop", "guess"], "one of assemble, infer, confirm, alert, escalate, not 'guess'"),
        (["dicom-gateway", "--hop", "infer"], "--hop belongs to streams"),
    ],
)
def test_a_wrong_role_or_hop_is_wrong_usage(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(command, arguments)

    assert isinstance(result.exception, UsageError)
    assert said in str(result.exception)


def test_who_tells_people_does_not_start_where_a_chain_names_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nor is it stopped by what only the models have to do with."""
    ran: list[object] = []
    monkeypatch.setattr("sinsok.logs.configure", lambda: None)
    monkeypatch.setattr(wiring, "run_notifier", lambda settings: ran.append("notifier"))
    monkeypatch.setattr(wiring, "run_streams", lambda settings, hop: ran.append(hop))
    path = tmp_path / "sinsok.toml"
    monkeypatch.setenv("SINSOK_CONFIG", str(path))
    site = '[sites.suwon]\ncalled_ae = "SUWON_AI"\n'
    path.write_text(site + '[[paging.chains]]\nname = "always"\nsteps = [["kim"]]\n')
    for arguments in (["notifier"], ["streams", "--hop", "escalate"]):
        result = CliRunner().invoke(command, arguments)
        assert isinstance(result.exception, UsageError)
        assert str(result.exception) == (
            f"{path}: paging.chains: always pages kim: add [sites.suwon.recipients.kim], with channels"
        )
    CliRunner().invoke(command, ["streams", "--hop", "alert"], catch_exceptions=False)
    (tmp_path / "triton_models").mkdir()
    path.write_text(site + '[[routes]]\nmodel = "absent"\n')
    CliRunner().invoke(command, ["notifier"], catch_exceptions=False)
    assert ran == ["alert", "notifier"]


def test_a_role_runs_what_is_wired(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []
    monkeypatch.setattr("sinsok.logs.configure", lambda: None)
    monkeypatch.setattr(wiring, "run_dicom_gateway", lambda settings: ran.append("gateway"))
    monkeypatch.setattr(wiring, "run_streams", lambda settings, hop: ran.append(hop))

    for arguments in (["dicom-gateway"], ["streams", "--hop", "alert"]):
        result = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert result.exit_code == 0

    assert ran == ["gateway", "alert"]
