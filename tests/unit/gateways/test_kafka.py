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


def test_headers_that_the_client_cannot_read_cost_nobody_the_record():
    class Poison:
        """What librdkafka gives where the name of a header is not UTF-8. Asked again it gives a null pointer."""

        asked = 0

        def headers(self):
            self.asked += 1
            assert self.asked == 1
            raise SystemError("<method 'headers' of 'confluent_kafka.cimpl.Message' objects> returned a result with an")

        def timestamp(self):
            return 1, 1000

        def __getattr__(self, name):
            return lambda: {"topic": "t", "partition": 3, "offset": 7, "key": b"k", "value": b"v"}[name]

    headers = [("sinsok-unreadable-headers", b"")]
    assert kafka.record_of(Poison()) == kafka.Record("t", 3, 7, 1000, b"k", headers, b"v")
