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


def test_a_role_runs_what_is_wired(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []
    monkeypatch.setattr("sinsok.logs.configure", lambda: None)
    monkeypatch.setattr(wiring, "run_dicom_gateway", lambda settings: ran.append("gateway"))
    monkeypatch.setattr(wiring, "run_streams", lambda settings, hop: ran.append(hop))

    for arguments in (["dicom-gateway"], ["streams", "--hop", "alert"]):
        result = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert result.exit_code == 0

    assert ran == ["gateway", "alert"]
