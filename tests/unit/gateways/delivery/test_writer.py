"""The PACS writer's start: where it hears of commitments, and under which names."""

from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from gateways import inbox
from gateways.delivery.intake import consumer
from gateways.delivery.settings import WriterSettings
from gateways.delivery.writer import ResultWriter
from gateways.kafka import producer
from gateways.process import CannotStart
from gateways.tls import TlsSettings

NO_BROKER = "127.0.0.1:1"


def writer(folder: Path, **settings: object) -> ResultWriter:
    configured = WriterSettings(port=0, **settings)  # type: ignore[arg-type]
    source, sink = (lambda: consumer(NO_BROKER)), (lambda: producer(NO_BROKER))
    return ResultWriter(configured, folder, lambda *_: [], source, sink, {"SUWON_SINSOK"})


def test_it_answers_to_every_name_that_a_pacs_was_asked_under(tmp_path: Path) -> None:
    ours = writer(tmp_path, aet="WRITER")
    ours.start()
    try:
        ae = AE("PACS")
        ae.add_requested_context(Verification)
        for title in ("WRITER", "SUWON_SINSOK"):
            assoc = ae.associate("127.0.0.1", ours.port, ae_title=title)
            assert assoc.send_c_echo().Status == 0x0000
            assoc.release()
        assert ae.associate("127.0.0.1", ours.port, ae_title="SINSOK").is_rejected
    finally:
        ours.stop()


def test_a_writer_that_reads_nothing_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "_SILENT_S", 0.0)
    ours = writer(tmp_path)
    ours.start()
    try:
        (line,) = ours.health()
        assert line.startswith("results not read since ")
    finally:
        ours.stop()


def test_tls_that_cannot_be_offered_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"without a certificate of ours; set writer\.tls"):
        writer(tmp_path, tls=TlsSettings(ca=tmp_path / "ca.pem")).start()
