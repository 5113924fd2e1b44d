"""The DICOM gateway with real peers: associations over loopback, dcmtk, and a real broker."""

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
from pynetdicom import _config
from structlog.testing import capture_logs

from gateways import kafka as broker
from gateways import kafka_topics
from gateways.dicom.file_meta import FileMeta, file_head
from gateways.dicom.gateway import CannotStart, DicomGateway
from gateways.dicom.journal import Journal
from gateways.dicom.leniency import accept_what_comes
from gateways.dicom.settings import DicomGatewaySettings, SiteAccess
from gateways.objects import FileStore
from schemas.envelope import Message
from schemas.events import InstanceQuarantined
from schemas.manifest import Manifest
from schemas.topics import DICOM_SERIES, MAX_EVENT_BYTES
from tests.integration.dicom_peers import (
    a_site,
    as_file,
    association,
    events_of,
    request,
    store,
    store_command,
    wait_for,
)
from tests.stack import free_port
from tests.unit.gateways.dicom.examples import ct_slice, encoded, part10

pytestmark = pytest.mark.integration

Started = Callable[..., DicomGateway]


@pytest.fixture(scope="module")
def topics(kafka: str) -> str:
    kafka_topics.create(kafka, [DICOM_SERIES])
    return kafka


@pytest.fixture
def site() -> str:
    return a_site()


@pytest.fixture
def start(tmp_path: Path, topics: str, site: str) -> Iterator[Started]:
    """Starts a gateway on a free port; stops it in the end."""
    accept_what_comes()
    running = []

    def started(sites: dict[str, SiteAccess] | None = None, root: Path = tmp_path, **settings: object) -> DicomGateway:
        chosen = DicomGatewaySettings.model_validate(
            {"port": 0, "min_free_mb": 0, "idle_s": 30, "stop_grace_s": 1} | settings
        )
        known = sites or {site: SiteAccess(called_ae="GATEWAY")}
        gateway = DicomGateway(chosen, known, FileStore(root), lambda: broker.producer(topics))
        gateway.start()
        running.append(gateway)
        return gateway

    yield started
    for gateway in running:
        gateway.stop()


def slices(*numbers: int, syntax: str = ExplicitVRLittleEndian, **elements: object) -> list[Dataset]:
    return [as_file(ct_slice(number, **elements), syntax) for number in numbers]


def test_a_released_series_arrives_on_the_topic(start, topics, site, tmp_path):
    gateway = start()
    sent = slices(1, 2, 3)
    with association(gateway.port, sent) as assoc:
        assert assoc.send_c_echo().Status == 0x0000
        assert [store(assoc, ds) for ds in sent] == [0x0000] * 3
    (event,) = wait_for(topics, site, len)
    assert (event.batch_end, event.series.instances, event.sending_ae) == ("released", 3, "CT1")
    objects = FileStore(tmp_path)
    manifest = Manifest.model_validate_json(objects.read(event.series.manifest))
    for instance, ds in zip(manifest.instances, sent, strict=True):
        assert objects.read(instance.stored).endswith(encoded(ds))
    assert gateway.health() == []
    assert gateway.health() == []


@pytest.mark.skipif(not shutil.which("storescu"), reason="needs dcmtk's storescu")
def test_dcmtk_delivers_a_series(start, topics, site, tmp_path):
    gateway = start(root=tmp_path / "store")
    folder = tmp_path / "sent"
    folder.mkdir()
    for number in range(1, 21):
        (folder / f"{number}.dcm").write_bytes(part10(ct_slice(number)))
    subprocess.run(
        ["storescu", "-aec", "GATEWAY", "-aet", "DCMTK", "+sd", "127.0.0.1", str(gateway.port), folder],
        env=os.environ | {"TCP_NODELAY": "1"},
        check=True,
    )
    (event,) = wait_for(topics, site, len)
    assert (event.series.instances, event.sending_ae, event.batch_end) == (20, "DCMTK", "released")


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        JPEG2000Lossless,
        RLELossless,
        "1.2.840.10008.1.2.4.203",
        "1.2.840.10008.1.2.4.107",
    ],
)
def test_every_transfer_syntax_is_stored_as_it_comes(start, topics, site, syntax):
    gateway = start()
    ds = ct_slice()
    if syntax not in (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        ds.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x04\x00\x00\x00abcd\xfe\xff\xdd\xe0\0\0\0\0"
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    as_file(ds, syntax)
    with association(gateway.port, [ds]) as assoc:
        assert store(assoc, ds) == 0x0000
    (event,) = wait_for(topics, site, len)
    assert event.series.transfer_syntaxes == (syntax,)


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.6", "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.7"])
def test_retired_and_private_storage_classes_are_stored(start, topics, site, sop_class):
    gateway = start()
    (ds,) = slices(1, SOPClassUID=sop_class)
    with association(gateway.port, [ds]) as assoc:
        assert store(assoc, ds) == 0x0000
    (event,) = wait_for(topics, site, len)
    assert event.series.sop_classes == (sop_class,)


def test_uids_that_break_the_rules_are_opaque_text(start, topics, site):
    gateway = start()
    sent = [
        as_file(
            ct_slice(n, study="ID_f10de2d018", series="ID_e17326e0bd", SOPInstanceUID=f"ID_{n:09x}"),
        )
        for n in (1, 2)
    ]
    with association(gateway.port, sent) as assoc:
        assert [store(assoc, ds) for ds in sent] == [0x0000] * 2
    (event,) = wait_for(topics, site, len)
    assert (event.study_uid, event.series.series_uid) == ("ID_f10de2d018", "ID_e17326e0bd")


def test_a_sop_class_that_is_unknown_to_the_standard_is_not_supported(start):
    gateway = start()
    (ds,) = slices(1, SOPClassUID="1.2.840.10008.9.9")
    with association(gateway.port, [ds]) as assoc:
        assert store(assoc, ds) == 0x0122


def test_what_cannot_be_understood_is_answered_kept_and_announced(start, topics, site, tmp_path):
    gateway = start()
    (bad,) = slices(1)
    del bad.StudyInstanceUID
    (good,) = slices(2)
    with association(gateway.port, [bad]) as assoc:
        assert store(assoc, bad) == 0xC000
        assert store(assoc, good) == 0x0000
    wait_for(topics, site, len)
    (event,) = [event for event in events_of(topics, site) if isinstance(event, InstanceQuarantined)]
    assert FileStore(tmp_path).read(event.stored).endswith(encoded(bad))


def test_a_command_that_names_another_object_is_refused(start, tmp_path, monkeypatch):
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    gateway = start(root=tmp_path / "store")
    (ds,) = slices(1)
    path = tmp_path / "x.dcm"
    path.write_bytes(file_head(FileMeta(ds.SOPClassUID, "1.2.3.999", ExplicitVRLittleEndian)) + encoded(ds))
    with association(gateway.port, [ds]) as assoc:
        assert assoc.send_c_store(path).Status == 0xA900


def test_an_object_over_the_limit_is_refused_and_the_association_goes_on(start, topics, site, tmp_path):
    gateway = start(max_object_mb=1)
    large, small = slices(1, PixelData=bytes(5 * 1024 * 1024)) + slices(2)
    with association(gateway.port, [large]) as assoc:
        assert store(assoc, large) == 0xA700
        assert store(assoc, small) == 0x0000
    (event,) = wait_for(topics, site, len)
    assert event.series.instances == 1
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.parametrize(("called", "calling", "diagnostic"), [("NOBODY", "CT1", 7), ("GATEWAY", "STRANGER", 3)])
def test_unknown_ae_titles_are_rejected_with_the_reason(start, site, called, calling, diagnostic):
    gateway = start({site: SiteAccess(called_ae="GATEWAY", calling_ae=("CT*",))})
    assoc = request(gateway.port, [], called=called, calling=calling)
    answer = assoc.acceptor.primitive
    assert assoc.is_rejected
    assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, diagnostic)


def test_associations_over_the_limit_are_rejected_for_now(start):
    gateway = start(max_associations=1)
    with association(gateway.port, []):
        second = request(gateway.port, [])
        answer = second.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)


def test_a_silent_peer_that_stops_in_the_middle_of_a_pdu_frees_its_place(start):
    gateway = start(max_associations=1, dimse_timeout_s=0.5, network_timeout_s=0.5, acse_timeout_s=0.5)
    with socket.create_connection(("127.0.0.1", gateway.port)) as peer:
        peer.sendall(b"\x01\x00\x00\x00\x01\x00half")
        until = time.monotonic() + 120
        while not (assoc := request(gateway.port, [])).is_established:
            assert time.monotonic() < until
            time.sleep(0.2)
        assoc.release()


def test_an_aborted_association_publishes_what_it_had_stored(start, topics, site):
    gateway = start()
    sent = slices(1, 2, 3)
    with association(gateway.port, sent) as assoc:
        for ds in sent[:2]:
            assert store(assoc, ds) == 0x0000
        assoc.abort()
    (event,) = wait_for(topics, site, len)
    assert (event.batch_end, event.series.instances) == ("aborted", 2)
    assert REGISTRY.get_sample_value("sinsok_aborted_associations_total", {"site": site}) == 1


@pytest.mark.parametrize("sop_uid", ["1." * 40 + "1", ""])
def test_a_command_that_no_answer_can_be_given_to_is_logged_with_its_peer(start, topics, site, sop_uid):
    gateway = start()
    sent = slices(1)
    with capture_logs() as logs, association(gateway.port, sent) as assoc:
        assert store(assoc, sent[0]) == 0x0000
        (context,) = [cx for cx in assoc.accepted_contexts if cx.abstract_syntax == CTImageStorage]
        assoc.dul.socket.socket.sendall(store_command(context.context_id, sop_uid))
        assoc.release()
        wait_for(topics, site, len)
    (line,) = [line for line in logs if line["event"].startswith("c-store not answered")]
    assert (line["peer"], line["calling_ae"], line["length"]) == ("127.0.0.1", "CT1", len(sop_uid))
    assert REGISTRY.get_sample_value("sinsok_unanswered_instances_total", {"site": site}) == 1


def test_an_event_that_no_broker_takes_holds_up_no_other(start, topics, site, tmp_path):
    (tmp_path / "journal").mkdir()
    journal = Journal(tmp_path / "journal" / "dicom.sqlite")
    with journal.transaction():
        journal.post(DICOM_SERIES.name, Message(b"k", [], bytes(5 * MAX_EVENT_BYTES)), time.time())
    journal.close()
    gateway = start()
    sent = slices(1)
    with association(gateway.port, sent) as assoc:
        store(assoc, sent[0])
    wait_for(topics, site, len)
    assert gateway.health() == ["1 events that Kafka will never take lie in the journal's table 'rejected'"]


def test_a_series_that_cannot_be_published_stops_neither_the_start_nor_another(start, topics, site, tmp_path):
    sent = slices(1) + slices(1, study="1.2.9", series="1.2.9.1")
    gateway = start(idle_s=3600, stop_grace_s=0)
    assoc = request(gateway.port, sent)
    assert store(assoc, sent[0]) == 0x0000
    with sqlite3.connect(tmp_path / "journal" / "dicom.sqlite") as db:
        db.execute("""UPDATE instance SET facts = '{"of": "tomorrow"}'""")
    db.close()
    gateway.stop()
    gateway = start()
    with association(gateway.port, sent) as assoc:
        assert store(assoc, sent[1]) == 0x0000
    (event,) = wait_for(topics, site, len)
    assert event.study_uid == "1.2.9"
    assert gateway.health() == ["series of 1 associations cannot be published: see the log"]


def test_a_connection_that_breaks_counts_as_aborted(start, topics, site):
    gateway = start()
    sent = slices(1, 2)
    with association(gateway.port, sent) as assoc:
        for ds in sent:
            assert store(assoc, ds) == 0x0000
        assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        (event,) = wait_for(topics, site, len)
    assert (event.batch_end, event.series.instances) == ("aborted", 2)


def test_an_open_association_that_goes_quiet_publishes_and_its_release_confirms(start, topics, site):
    gateway = start(idle_s=0.5)
    sent = slices(1, 2, 3)
    with association(gateway.port, sent) as assoc:
        for ds in sent[:2]:
            store(assoc, ds)
        wait_for(topics, site, len)
        store(assoc, sent[2])
    events = wait_for(topics, site, lambda found: len(found) == 2)
    assert [(event.batch_end, event.series.instances) for event in events] == [("idle", 2), ("released", 3)]


def test_a_series_in_three_associations_at_once(start, topics, site):
    gateway = start()
    sent = slices(*range(1, 10))
    assocs = [request(gateway.port, sent) for _ in range(3)]
    for number, ds in enumerate(sent):
        assert store(assocs[number % 3], ds) == 0x0000
    for number, assoc in enumerate(assocs, 1):
        assoc.release()
        events = wait_for(topics, site, lambda found, number=number: len(found) == number)
    assert [event.open_associations for event in events] == [2, 1, 0]
    assert [event.series.instances for event in events] == [9, 9, 9]


def test_two_sites_with_one_study_uid_do_not_mix(start, topics, site):
    other = a_site()
    gateway = start({site: SiteAccess(called_ae="GATEWAY"), other: SiteAccess(called_ae="OTHER")})
    sent = slices(1, 2)
    for titles, images in (({"called": "GATEWAY"}, sent), ({"called": "OTHER"}, sent[:1])):
        with association(gateway.port, images, **titles) as assoc:
            assert {store(assoc, ds) for ds in images} == {0x0000}
    (here,), (there,) = wait_for(topics, site, len), wait_for(topics, other, len)
    assert (here.series.instances, there.series.instances) == (2, 1)
    assert here.key != there.key


def test_a_stop_publishes_what_an_open_association_had_sent(start, topics, site):
    gateway = start(stop_grace_s=0.2)
    sent = slices(1, 2)
    assoc = request(gateway.port, sent)
    for ds in sent:
        store(assoc, ds)
    gateway.stop()
    (event,) = wait_for(topics, site, len)
    assert (event.batch_end, event.series.instances) == ("aborted", 2)


def test_a_second_gateway_on_one_store_is_refused_with_one_line(start, tmp_path):
    start()
    with pytest.raises(CannotStart, match=f"another DICOM gateway .pid {os.getpid()}. works on the store"):
        start()


def test_a_port_that_is_taken_is_named_in_one_line(start, tmp_path):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"cannot listen on 127.0.0.1:{port}"):
            start(port=port)
    start(port=port)
