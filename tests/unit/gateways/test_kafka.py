import pytest

from gateways import kafka, kafka_topics
from schemas.failures import Unavailable
from schemas.topics import DICOM_SERIES

NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize(
    "ask",
    [
        lambda: list(kafka.read(NOBODY, ["dicom.series"])),
        lambda: kafka_topics.differences(NOBODY, [DICOM_SERIES]),
        lambda: kafka_topics.create(NOBODY, [DICOM_SERIES]),
    ],
)
def test_a_broker_that_is_away_is_named_in_one_line_and_nothing_else_is_said(ask, monkeypatch, capfd):
    monkeypatch.setattr(kafka, "ANSWER_SECONDS", 0.5)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer") as error:
        ask()
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""
