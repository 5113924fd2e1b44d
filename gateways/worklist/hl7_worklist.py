"""A worklist that takes HL7 v2: its messages, sent one by one, and what their answers mean."""

import contextlib
from typing import Literal

from gateways.worklist import bearing
from gateways.worklist.acknowledgment import Acknowledgment, parse
from gateways.worklist.charset import encode
from gateways.worklist.fields import message, segment
from gateways.worklist.header import TYPES, control_id, msh
from gateways.worklist.mllp import Mllp
from gateways.worklist.order import read_order
from gateways.worklist.order_change import order_change
from gateways.worklist.order_segments import told_priority
from gateways.worklist.oru import oru
from gateways.worklist.port import Update, Updated
from gateways.worklist.settings import Hl7Settings, MessageKind
from schemas.events import Priority, StudyTriaged
from schemas.failures import Busy, Refused, Unavailable
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
        return bool(self._kinds(result, told, before, Priority.ROUTINE))

    def update(self, update: Update) -> Updated:
        """Send the messages of the site.

        A message that was not taken does not hold up the next one: the priority may rise though the result found no
        place. Where one may be taken later, all are to be sent again then.
        """
        order = read_order(update.head)
        accepted: dict[MessageKind, str] = {}
        failures: dict[MessageKind, Busy | Refused] = {}
        for kind in self._kinds(update.result, update.told, update.before, order.priority):
            try:
                accepted[kind] = self._send(update, kind)
            except (Busy, Refused) as error:
                failures[kind] = error
        if not accepted:
            return Updated(failure=_foremost(failures))
        priority = told_priority(update, order, self._settings)
        if failures.keys() - {"oru"} and not accepted.keys() - {"oru"}:
            # The result is known there, the order stands as it stood.
            priority = update.told or Priority.ROUTINE
        return Updated(tuple(accepted.values()), priority, _foremost(failures))

    def reach(self) -> None:
        """Connect, with TLS where the site has it."""
        self._connection.open()

    def close(self) -> None:
        """Close the connection; the next update opens another."""
        self._connection.close()

    def _kinds(
        self, result: StudyTriaged, told: Priority | None, before: StudyTriaged | None, ordered: Priority
    ) -> list[MessageKind]:
        if not bearing.is_told(result, told, before, unconfirmed=self._settings.unconfirmed == "send"):
            return []
        moves = bearing.moves(result, told, ordered, lower=self._settings.lower)
        return [kind for kind in self._settings.messages if kind == "oru" or moves]

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
            again = f"the worklist says try again to {said}"
            if answer.is_locked or (answer.code[1] == "E" and self._settings.ae_is == "retry"):
                raise Busy(again)
            if answer.code[1] == "R" and self._settings.ar_is == "retry":
                raise Unavailable(again)
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


def _foremost(failures: dict[MessageKind, Busy | Refused]) -> Busy | Refused | None:
    """The first that may succeed later, else the first refusal."""
    return min(failures.values(), key=lambda error: isinstance(error, Refused), default=None)
