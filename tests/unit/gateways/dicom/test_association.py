"""Associations with peers that keep to the letter of PS3.8 in unusual ways, or do not keep to it, byte by byte."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import create_server, socket
from threading import Thread

import pytest
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.sop_class import Verification

from gateways.dicom.association import (
    Address,
    Association,
    AssociationAborted,
    AssociationRejected,
    PeerSilent,
    PeerUnreachable,
    associate,
)
from gateways.dicom.command import Command, Field, Kind

ECHO_RQ = 0x0030
ECHO = Command.of(ECHO_RQ, {Field.MESSAGE_ID: 1, Field.AFFECTED_SOP_CLASS_UID: Verification}, data_set=False)
RELEASE, ABORT = struct.pack(">BBII", 5, 0, 4, 0), struct.pack(">BBII", 7, 0, 4, 0)


class Peer:
    """The far end of one connection."""

    def __init__(self, connection: socket) -> None:
        self._connection = connection

    def write(self, content: bytes) -> None:
        self._connection.sendall(content)

    def read(self) -> tuple[int, bytes]:
        header = self._exactly(6)
        return header[0], self._exactly(struct.unpack(">I", header[2:])[0])

    def accept(self, longest: int = 16384) -> None:
        pdu_type, body = self.read()
        request = A_ASSOCIATE_RQ()
        request.decode(struct.pack(">BBI", pdu_type, 0, len(body)) + body)
        asked = request.to_primitive()
        answer = A_ASSOCIATE()
        answer.application_context_name = asked.application_context_name
        answer.called_ae_title, answer.calling_ae_title = asked.called_ae_title, asked.calling_ae_title
        answer.result, answer.result_source = 0, 1
        for context in asked.presentation_context_definition_list:
            context.result = 0
            context.transfer_syntax = context.transfer_syntax[:1]
        answer.presentation_context_definition_results_list = asked.presentation_context_definition_list
        length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
        length.maximum_length_received, implementation.implementation_class_uid = longest, "1.2.3"
        answer.user_information = [length, implementation]
        self.write(A_ASSOCIATE_AC(answer).encode())

    def _exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            part = self._connection.recv(count - len(content))
            assert part, "the connection was closed"
            content += part
        return content


@contextmanager
def peer(behave: Callable[[Peer], None]) -> Iterator[Address]:
    """Accepts one connection and does this with it."""
    failures: list[BaseException] = []

    def run() -> None:
        connection, _ = server.accept()
        connection.settimeout(10)
        with connection:
            try:
                behave(Peer(connection))
            except (AssertionError, OSError, struct.error) as error:
                failures.append(error)

    with create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=run)
        thread.start()
        yield Address("127.0.0.1", server.getsockname()[1], "PEER", "TEST")
        thread.join(10)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def opened(address: Address, timeout_s: float = 5) -> Association:
    return associate(address, [build_context(Verification)], timeout_s)


def pdu(*values: tuple[int, bytes]) -> bytes:
    """A P-DATA PDU with these presentation data values: message control header, fragment."""
    body = b"".join(struct.pack(">IBB", len(part) + 2, 1, control) + part for control, part in values)
    return struct.pack(">BBI", 4, 0, len(body)) + body


def test_messages_are_read_in_fragments_and_several_from_one_pdu() -> None:
    first = Command.of(ECHO_RQ, {Field.MESSAGE_ID: 1}, data_set=True).encode()
    second = Command.of(ECHO_RQ, {Field.MESSAGE_ID: 2}, data_set=False).encode()

    def behave(far: Peer) -> None:
        far.accept()
        far.write(pdu((1, first[:5])) + pdu((1, first[5:20]), (3, first[20:]), (0, b"abc")))
        far.write(pdu((2, b"def"), (3, second)))
        assert far.read()[0] == 5
        far.write(struct.pack(">BBII", 6, 0, 4, 0))

    with peer(behave) as address:
        association = opened(address)
        message = association.receive()
        assert message is not None
        assert (message.command.number(Field.MESSAGE_ID), message.data_set) == (1, b"abcdef")
        message = association.receive(within_s=0)
        assert message is not None
        assert (message.command.number(Field.MESSAGE_ID), message.data_set) == (2, b"")
        assert association.receive(within_s=0.01) is None
        association.release()
    assert not association.alive


@pytest.mark.parametrize("longest", [4096, 0])
def test_no_pdu_is_longer_than_the_peer_takes(longest: int) -> None:
    content = bytes(range(256)) * 20_000
    sizes, received = [], bytearray()

    def behave(far: Peer) -> None:
        far.accept(longest)
        while True:
            pdu_type, body = far.read()
            assert pdu_type == 4
            sizes.append(len(body))
            if not body[5] & 1:
                received.extend(body[6:])
            if body[5] == 2:
                break
        far.write(pdu((3, ECHO.response(0).encode())))

    with peer(behave) as address:
        association = opened(address)
        command = Command.of(Kind.C_STORE_RQ, {Field.MESSAGE_ID: 1}, data_set=True)
        association.send(1, command, memoryview(content))
        assert association.response().command.number(Field.STATUS) == 0
        association.abort()
    assert bytes(received) == content
    assert max(sizes) <= (longest or 1024 * 1024)


def test_what_the_peer_asks_meanwhile_is_answered() -> None:
    question = Command.of(ECHO_RQ, {Field.MESSAGE_ID: 33}, data_set=False)
    answers = []

    def behave(far: Peer) -> None:
        far.accept()
        far.read()
        far.write(pdu((3, question.encode())))
        answers.append(Command.decode(far.read()[1][6:]))
        far.write(pdu((3, ECHO.response(0).encode())))

    with peer(behave) as address:
        association = opened(address)
        association.send(1, ECHO)
        assert association.response().command.number(Field.STATUS) == 0
        association.abort()
    assert answers[0].number(Field.MESSAGE_ID_RESPONDED_TO) == 33
    assert answers[0].number(Field.STATUS) == 0x0211


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (ABORT, "was aborted"),
        (RELEASE, "was released"),
        (b"", "was broken off"),
        (b"\x04\x00", "was broken off"),
        (b"HTTP/1.1 400 Bad Request\r\n", "is not DICOM"),
        (b"\x04\0\xff\xff\xff\xff", "is not DICOM"),
        (pdu((3, b"nonsense!")), "is no DIMSE message"),
        (struct.pack(">BBIIBB", 4, 0, 6, 99, 1, 3), "is no DIMSE message"),
        (struct.pack(">BBIH", 4, 0, 2, 1), "is no DIMSE message"),
    ],
)
def test_an_end_of_any_kind_is_an_abort_and_said(sent: bytes, words: str) -> None:
    def behave(far: Peer) -> None:
        far.accept()
        far.read()
        far.write(sent)

    with peer(behave) as address:
        association = opened(address)
        association.send(1, ECHO)
        with pytest.raises(AssociationAborted, match=words):
            association.response()
        assert not association.alive
        with pytest.raises(AssociationAborted, match="has ended"):
            association.send(1, ECHO)
        association.release()
        association.abort()


@pytest.mark.parametrize("begun", [b"", b"\x04\0\0\0"], ids=["nothing", "a part of a header"])
def test_a_peer_that_stops_answering_is_silent(begun: bytes) -> None:
    def behave(far: Peer) -> None:
        far.accept()
        far.read()
        far.write(begun)
        assert far.read()[0] == 7, "it is told that the association is over"

    with peer(behave) as address:
        association = opened(address, timeout_s=0.3)
        association.send(1, ECHO)
        with pytest.raises(PeerSilent, match=r"no answer within 0\.3 s"):
            association.response()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (struct.pack(">BBIBBBB", 3, 0, 4, 0, 1, 1, 3), AssociationRejected),
        (struct.pack(">BBIB", 3, 0, 1, 0), AssociationRejected),
        (struct.pack(">BBIBBBB", 3, 0, 4, 0, 9, 9, 9), AssociationRejected),
        (ABORT, AssociationAborted),
        (struct.pack(">BBI", 2, 0, 3) + b"abc", AssociationAborted),
        (struct.pack(">BBI", 2, 0, 80) + b"\xff" * 80, AssociationAborted),
        (b"SSH-2.0-OpenSSH_9.2\r\n", AssociationAborted),
    ],
    ids=[
        "rejected",
        "cut rejection",
        "unknown rejection",
        "abort",
        "cut acceptance",
        "senseless acceptance",
        "no DICOM",
    ],
)
def test_no_association_comes_of_any_other_answer(answer: bytes, kind: type[Exception]) -> None:
    def behave(far: Peer) -> None:
        far.read()
        far.write(answer)

    with peer(behave) as address, pytest.raises(kind):
        opened(address)


def test_an_unknown_host_is_said() -> None:
    with pytest.raises(PeerUnreachable, match=r"pacs\.invalid is no known host"):
        opened(Address("pacs.invalid", 104, "PACS", "TEST"))
