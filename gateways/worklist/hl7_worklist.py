"""A worklist that takes HL7 v2: its messages, sent one by one, and what their answers mean."""

import contextlib
from collections.abc import Iterator
from typing import Literal

from gateways.worklist import bearing
from gateways.worklist.acknowledgment import Acknowledgment, parse
from gateways.worklist.charset import encode
from gateways.worklist.fields import message, segment
from gateways.worklist.header import TYPES, control_id, msh
from gateways.worklist.mllp import Mllp
from gateways.worklist.order_change import order_change
from gateways.worklist.oru import oru
from gateways.worklist.port import Update
from gateways.worklist.settings import Hl7Settings, MessageKind
from schemas.events import Priority, StudyTriaged
from schemas.failures import Refused, Unavailable
from schemas.identity import derived_id

_UNABLE = {"UX", "UA"}


class Hl7Worklist:
    """Tells a receiver of HL7 v2 messages over MLLP. ``destination`` is its name in the configuration: suwon/hl7."""

    protocol: Literal["hl7"] = "hl7"

    def __init__(self, settings: Hl7Settings, destination: str) -> None:
        self._settings = settings
        self._destination = destination
        self._connection = Mllp(
            settings.host,
            settings.port,
            connect_timeout_s=settings.connect_timeout_s,
            timeout_s=settings.timeout_s,
            tls=settings.tls,
        )

    def wants(self, result: StudyTriaged, told: Priority | None, before: StudyTriaged | None = None) -> bool:
        """Whether a message would be sent. Pure."""
        return any(True for _ in self._kinds(result, told, before))

    def update(self, update: Update) -> str:
        """Send the messages of the site; their control ids, with a space between.

        A message that was refused does not hold up the next one: the priority may rise though the result found no
        place. Raises :class:`schemas.failures.Unavailable` at the first that may succeed later, else
        :class:`schemas.failures.Refused` for the first that was refused.
        """
        accepted, refused = [], None
        for kind in self._kinds(update.result, update.told, update.before):
            try:
                accepted.append(self._send(update, kind))
            except Refused as error:
                refused = refused or error
        if refused:
            raise refused
        return " ".join(accepted)

    def close(self) -> None:
        """Close the connection; the next update opens another."""
        self._connection.close()

    def _kinds(self, result: StudyTriaged, told: Priority | None, before: StudyTriaged | None) -> Iterator[MessageKind]:
        if not bearing.is_told(result, told, before, unconfirmed=self._settings.unconfirmed == "send"):
            return
        moves = bearing.moves(result, told, lower=self._settings.lower)
        yield from (kind for kind in self._settings.messages if kind == "oru" or moves)

    def _send(self, update: Update, kind: MessageKind) -> str:
        identifier = control_id(update.result, kind, self._destination)
        written = (
            oru(update, self._settings, identifier)
            if kind == "oru"
            else order_change(update, self._settings, identifier, kind)
        )
        answer = self._ask(written, identifier, update.result)
        name = "^".join(TYPES[kind][:2])
        said = f"{name}: {answer.describe(repeat_text=self._settings.repeat_error_text)}"
        if answer.code[1] != "A":
            meant = self._settings.ae_is if answer.code[1] == "E" else self._settings.ar_is
            if meant == "retry" or answer.is_locked:
                raise Unavailable(f"the worklist says try again to {said}")
            raise Refused(f"the worklist refused {said}")
        if answer.order_control in _UNABLE:
            raise Refused(f"the worklist cannot change the order: {name}: ORC-1 {answer.order_control}")
        return identifier

    def _ask(self, written: str, identifier: str, result: StudyTriaged) -> Acknowledgment:
        """Send, and wait for the answer that counts in the acknowledgment mode of the site (section 2.9.2, 2.9.3)."""
        answer = self._read(self._connection.exchange(encode(written, self._settings.charset)), identifier)
        if self._settings.acknowledgment == "enhanced" and answer.code == "CA":
            answer = self._read(self._connection.receive(), identifier)
            if answer.wants_accept:
                # What was accepted stays accepted; where this gets lost, the receiver says it again.
                with contextlib.suppress(Unavailable):
                    self._connection.send(encode(self._accept(answer, result), self._settings.charset))
        return answer

    def _read(self, content: bytes, identifier: str) -> Acknowledgment:
        answer = parse(content, self._settings.charset)
        if answer.answers != identifier:
            self.close()
            raise Refused("the worklist's answer is to another message (MSA-2)")
        return answer

    def _accept(self, answer: Acknowledgment, result: StudyTriaged) -> str:
        """The commit accept of an application's answer."""
        identifier = derived_id(result.event_id, answer.control_id, self._destination).hex[:20].upper()
        header = msh(self._settings, ("ACK",), identifier, result.time, answered=False)
        return message([header, segment("MSA", {1: "CA", 2: answer.control_id})])
