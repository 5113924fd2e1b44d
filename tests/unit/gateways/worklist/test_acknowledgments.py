"""What the answers of a receiver come to, from whole answers to half ones."""

import contextlib
import socket
import threading

import pytest

from gateways.worklist.hl7_worklist import Hl7Worklist
from schemas.events import Priority
from schemas.failures import Busy, PortFailure, Refused, Unavailable
from tests.unit.gateways.worklist.examples import DESTINATION, finding, head, settings, triaged, update
from tests.unit.gateways.worklist.receiver import (
    END,
    START,
    ScriptedReceiver,
    acknowledge,
    answer,
    closes,
    framed,
    says,
)

STAT = triaged(finding())
NAMED = "ERR||PID^1^5|204^Unknown key^HL70357|E|||no order for KANA^PHANTOM|팬텀^가나"


def worklist(port, **changes):
    site = settings(port=port, **{"messages": ("oru",), "timeout_s": 20.0, **changes})
    return contextlib.closing(Hl7Worklist(site, DESTINATION))


def told(*scripts, of=None, **changes):
    """The control ids that a receiver which plays these scripts accepted of one update, and what it received."""
    with ScriptedReceiver(*scripts) as receiver, worklist(receiver.port, **changes) as one:
        updated = one.update(of or update(STAT))
        if updated.failure:
            raise updated.failure
        return updated.accepted, receiver.received


def failure(*scripts, **changes):
    with pytest.raises(PortFailure) as raised:
        told(*scripts, **changes)
    assert "\n" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize("code", ["AA", "CA"])
def test_an_accepted_message_is_named_by_its_control_id(code):
    (accepted,), (message,) = told([answer(code)])
    assert accepted == message.split(b"|")[9].decode()


@pytest.mark.parametrize("code", ["AR", "CR", "AE", "CE"])
def test_a_refusal_says_its_code_and_condition_and_names_nobody(code):
    error = failure([answer(code, NAMED)])
    assert isinstance(error, Refused)
    assert str(error) == f"the worklist refused ORU^R01: {code} (204 unknown key identifier at PID-5)"


@pytest.mark.parametrize("code", ["AE", "CE"])
def test_an_error_is_tried_again_where_the_site_says_so(code):
    assert isinstance(failure([answer(code)], ae_is="retry"), Busy)
    assert isinstance(failure([answer(code.replace("E", "R"))], ae_is="retry"), Refused)
    assert isinstance(failure([answer(code.replace("E", "R"))], ar_is="retry"), Unavailable)


@pytest.mark.parametrize(("code", "changes"), [("AE", {}), ("AR", {}), ("AR", {"ar_is": "retry"})])
def test_a_locked_record_is_tried_again_everywhere_and_says_nothing_of_others(code, changes):
    assert isinstance(failure([answer(code, "ERR|||206^Locked^HL70357|E")], **changes), Busy)


def test_conditions_are_read_as_versions_before_2_5_write_them():
    error = failure([answer("AE", "ERR|PID^1^5^101&Required field missing&HL70357")])
    assert str(error) == "the worklist refused ORU^R01: AE (101 required field missing at PID-5)"


@pytest.mark.parametrize(
    "err",
    [
        "ERR||KANA^1^PHANTOM|KANA^PHANTOM",
        "ERR",
        "ERR||^^^^|^^|",
        r"ERR|\X\||\.br9999999\|E",
        "ERR||PID^1^KANA|204",
        "ERR||KANA^1^3|204",
        "ERR|KANA^1^3^204",
    ],
)
def test_no_word_of_an_error_gets_out(err):
    text = str(failure([answer("AE", err)]))
    assert "KANA" not in text
    assert "PHANTOM" not in text


def test_a_site_may_want_the_receivers_words_in_one_printable_line():
    error = failure([answer("AE", NAMED + "\x07 " + "x" * 500)], repeat_error_text=True)
    assert "no order for KANA^PHANTOM 팬텀^가나" in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 250


def test_an_answer_to_another_message_is_refused():
    assert isinstance(failure([answer(answers="OTHER")]), Refused)
    assert isinstance(failure([answer(answers="")]), Refused)


@pytest.mark.parametrize(
    "content",
    [
        framed("no HL7 at all"),
        framed(""),
        framed("MSH"),
        framed("MSH|"),
        framed("MSA|AA|1"),
        framed(r"MSH|^~\&|RIS"),
        framed("MSH|^~\\&|RIS\rMSA"),
        framed("MSH|^~\\&|RIS\rMSA|KANA|1"),
        START + b"\xff\xfe\x00" + END + b"\r",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
    ids=repr,
)
def test_garbage_is_tried_again(content):
    assert isinstance(failure([says(content)]), Unavailable)


def test_an_answer_that_never_ends_is_tried_again():
    assert isinstance(failure([says(START + b"x" * (2 << 20))]), Unavailable)


@pytest.mark.parametrize("kept", [1, 30, -4])
def test_half_an_answer_is_no_answer(kept):
    def half(message):
        return framed(acknowledge(message))[:kept]

    assert isinstance(failure([half]), Unavailable)


def test_an_answer_in_pieces_is_read_whole():
    def in_pieces(connection, message):
        for byte in b"\r\n" + framed(acknowledge(message))[:-1]:
            connection.sendall(bytes([byte]))

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                message = b""
                while not message.endswith(END + b"\r"):
                    message += connection.recv(65_536)
                in_pieces(connection, message[1:-2])

        thread = threading.Thread(target=serve)
        thread.start()
        with worklist(listener.getsockname()[1]) as one:
            assert one.update(update(STAT)).accepted
        thread.join(10)


def test_line_feeds_between_segments_are_forgiven():
    assert told([lambda message: framed(acknowledge(message).replace("\r", "\r\n"))])


def test_silence_is_tried_again_on_a_new_connection():
    receiver = ScriptedReceiver([lambda message: receiver.stays_silent(message)], [answer()])
    with receiver, worklist(receiver.port, timeout_s=0.2) as one:
        with pytest.raises(Unavailable, match="did not answer"):
            one.update(update(STAT))
        receiver.end_silence()
        assert one.update(update(STAT)).accepted
    assert receiver.received[0] == receiver.received[1]


def test_nobody_there_is_tried_again():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with worklist(port) as one, pytest.raises(Unavailable, match="cannot be reached"):
        one.update(update(STAT))


def test_a_connection_closed_between_messages_is_opened_anew():
    with ScriptedReceiver([answer()], [answer(), answer()]) as receiver, worklist(receiver.port) as one:
        for _ in range(3):
            one.update(update(STAT))
    assert len(receiver.received) == 3


def test_a_connection_closed_on_the_next_message_is_opened_once():
    with ScriptedReceiver([answer(), closes], [answer()]) as receiver, worklist(receiver.port) as one:
        one.update(update(STAT))
        one.update(update(STAT))
    assert receiver.received[1] == receiver.received[2]


def test_a_receiver_that_only_closes_is_away():
    with ScriptedReceiver([answer(), closes], [closes]) as receiver, worklist(receiver.port) as one:
        one.update(update(STAT))
        with pytest.raises(Unavailable, match="without an answer"):
            one.update(update(STAT))
    assert isinstance(failure([closes]), Unavailable)


def test_a_late_word_is_not_taken_for_the_answer_to_the_next_message():
    late = framed("MSH|^~\\&|RIS\rMSA|AR|LATE")
    with (
        ScriptedReceiver([lambda message: answer()(message) + late], [answer()]) as receiver,
        worklist(receiver.port) as one,
    ):
        one.update(update(STAT))
        assert one.update(update(triaged(finding(), revision=2))).accepted


def test_commit_mode_ends_with_the_commit_accept():
    _, (message,) = told([answer("CA")], acknowledgment="commit")
    assert message.split(b"\r")[0].split(b"|")[14:16] == [b"AL", b"NE"]


def test_enhanced_mode_waits_for_the_application_and_accepts_its_answer():
    def both(message):
        second = acknowledge(message).replace("|P|2.5.1", "|P|2.5.1|||AL")
        return framed(acknowledge(message, "CA")) + framed(second)

    accepted, (message, accept) = told([both, says(b"")], acknowledgment="enhanced")
    assert message.split(b"\r")[0].split(b"|")[14:16] == [b"AL", b"AL"]
    assert accept.split(b"\r")[1] == b"MSA|CA|RIS1"
    assert accepted


@pytest.mark.parametrize(
    ("second", "expected"),
    [(lambda message: framed(acknowledge(message, "AR")), Refused), (lambda _: b"", Unavailable)],
)
def test_enhanced_mode_needs_the_applications_answer_too(second, expected):
    error = failure([lambda message: framed(acknowledge(message, "CA")) + second(message)], acknowledgment="enhanced")
    assert isinstance(error, expected)


def test_an_order_response_that_cannot_change_the_order_is_a_refusal():
    error = failure([answer("AA", "ORC|UX|1")], messages=("orm",))
    assert isinstance(error, Refused)
    assert "ORC-1 UX" in str(error)


def test_a_refused_message_does_not_hold_up_the_other():
    receiver = ScriptedReceiver([answer("AR"), answer()])
    both = worklist(receiver.port, messages=("oru", "orm"))
    with receiver, both as one:
        updated = one.update(update(STAT))
    assert b"ORM^O01" in receiver.received[1]
    assert (len(updated.accepted), updated.priority) == (1, Priority.STAT)
    assert isinstance(updated.failure, Refused)
    assert "ORU^R01" in str(updated.failure)


def test_an_order_that_was_not_changed_stands_as_it_stood():
    orders, results = [answer("AR"), answer()], [answer("AE", "ERR|||206^Locked^HL70357|E"), answer()]
    for script, told, stands in ((orders, None, Priority.ROUTINE), (results, Priority.URGENT, Priority.URGENT)):
        with ScriptedReceiver(script) as receiver, worklist(receiver.port, messages=("orm", "oru")) as one:
            updated = one.update(update(STAT, told))
        assert (len(updated.accepted), updated.priority) == (1, stands)
        assert updated.failure is not None


def test_a_message_that_may_be_taken_later_goes_before_one_that_was_refused():
    error = failure([answer("AR"), answer("AE", "ERR|||206^Locked^HL70357|E")], messages=("orm", "oru"))
    assert isinstance(error, Busy)


@pytest.mark.parametrize(
    ("result", "told", "lower", "ordered", "stands"),
    [
        (STAT, None, True, None, Priority.STAT),
        (triaged(revision=2), Priority.STAT, True, None, Priority.ROUTINE),
        (triaged(revision=2), Priority.STAT, False, None, Priority.STAT),
        (triaged(revision=2), Priority.STAT, True, "HIGH", Priority.URGENT),
        (triaged(revision=2), Priority.STAT, True, "STAT", Priority.STAT),
    ],
)
def test_the_priority_that_stands_is_the_one_that_the_messages_carry(result, told, lower, ordered, stands):
    ordered_so = {"head": head(RequestedProcedurePriority=ordered)} if ordered else {}
    receiver = ScriptedReceiver([answer(), answer()])
    with receiver, worklist(receiver.port, messages=("orm", "oru"), lower=lower) as one:
        updated = one.update(update(result, told, **ordered_so))
    assert updated.priority is stands
    code = {Priority.STAT: b"S", Priority.URGENT: b"A", Priority.ROUTINE: b"R"}[stands]
    assert all(
        b"|^^^^^" + code + b"\r" in message or b"|^^^^^" + code + b"|" in message for message in receiver.received
    )
    assert len(receiver.received) == (1 if stands is told else 2)


def test_an_order_changes_only_when_its_priority_does():
    again = update(triaged(finding(), revision=2), Priority.STAT)
    accepted, received = told([answer(), answer()], of=again, messages=("orm", "oru"))
    assert len(received) == len(accepted) == 1
    assert b"ORU^R01" in received[0]
    accepted, received = told([answer(), answer()], messages=("orm", "oru"))
    assert len(received) == len(accepted) == 2


def test_a_worklist_that_takes_orders_only_hears_only_of_changes():
    with worklist(1, messages=("orm",)) as one:
        assert one.wants(STAT, None)
        assert not one.wants(STAT, Priority.STAT)
        assert one.wants(triaged(revision=2), Priority.STAT)
    with worklist(1, messages=("orm",), lower=False) as one:
        assert not one.wants(triaged(revision=2), Priority.STAT)
    with worklist(1, unconfirmed="wait") as one:
        assert not one.wants(triaged(finding(), unconfirmed=True, final=False), None)


def test_nothing_that_can_be_printed_of_an_update_names_a_patient():
    assert "PHANTOM" not in repr(update(STAT))
