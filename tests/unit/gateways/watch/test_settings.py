import pytest
from pydantic import ValidationError

from gateways.watch.settings import WatchSettings


@pytest.mark.parametrize("name", ["CT1", "/CT1", "suwon/", "suwon/ ", "suwon/AN_AE_TITLE_TOO_LONG"])
def test_a_scanner_is_named_by_its_site_and_title(name: str) -> None:
    with pytest.raises(ValidationError, match="is no site and AE title: suwon/CT1"):
        WatchSettings(scanners={name: 60})


def test_a_title_may_hold_a_slash() -> None:
    assert WatchSettings(scanners={"suwon/CT/1": 60}).of_scanner("suwon", "CT/1") == 60


def test_quiet_hours_are_local() -> None:
    with pytest.raises(ValidationError, match="without a zone"):
        WatchSettings.model_validate({"quiet": [{"begin": "22:00Z", "end": "07:00"}]})
