"""The settings of a worklist."""

import re
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from gateways.worklist.settings import Hl7Settings, UpsSettings, WorklistSettings
from schemas.events import Priority

PARSE = TypeAdapter(WorklistSettings)


def test_the_protocol_says_which_settings_there_are():
    assert isinstance(PARSE.validate_python({"protocol": "hl7", "host": "ris"}), Hl7Settings)
    ups = PARSE.validate_python({"protocol": "ups", "url": "http://pacs:8042/dicom-web"})
    assert isinstance(ups, UpsSettings)
    assert ups.priorities[Priority.STAT] == "HIGH"


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": []},
        {"messages": ["oru", "oru"]},
        {"messages": ["omi"], "version": "2.4"},
        {"utc_offset": "Seoul"},
        {"charset": "latin-1"},
        {"sending_application": "A|B\r"},
        {"colour": "red"},
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(wrong):
    with pytest.raises(ValidationError):
        Hl7Settings(**{"host": "ris", **wrong})


@pytest.mark.parametrize(("offset", "minutes"), [("+09:00", 540), ("-03:30", -210), ("+00:00", 0)])
def test_times_are_written_in_the_zone_of_the_site(offset, minutes):
    assert Hl7Settings(host="ris", utc_offset=offset).zone.utcoffset(None) == timedelta(minutes=minutes)


def test_the_example_in_the_documentation_is_one():
    text = (Path(__file__).parents[4] / "docs" / "worklist.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    hl7, ups = (PARSE.validate_python(worklist) for worklist in tomllib.loads(example)["sites"]["suwon"]["worklists"])
    assert (hl7.messages, ups.protocol) == (("omi", "oru"), "ups")
    for key in {*Hl7Settings.model_fields, *UpsSettings.model_fields}:
        assert f"`{key}`" in text or f"`{key}." in text or f"{key} = " in text, key
