"""Results into one site's PACS: make the objects, see that the patient is right, store them, have that proven.

A result is *archived* when the PACS has committed itself to all its objects, or, where it does not commit, has each of
them when asked. Until then it stays in the ledger, and its objects on disk.
"""

import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from gateways.delivery.breaker import Breaker
from gateways.delivery.courier import Courier
from gateways.delivery.ledger import Delivery, Ledger, State
from gateways.objects import FileStore
from gateways.pacs.making import Job, Made, Makers
from gateways.pacs.outgoing import Outgoing
from gateways.pacs.peer import Answer, Commitment, Instance, Pacs
from gateways.pacs.right_patient import Identity, differences
from gateways.pacs.settings import PacsSettings
from schemas.deliveries import (
    ObjectKind,
    Proof,
    ResultArchived,
    ResultHeld,
    ResultRejected,
    WrittenObject,
)
from schemas.failures import Refused, Unavailable, Unreadable
from schemas.identity import derived_id

_AHEAD: Final = 4
"""So many results are made while others are being sent."""
_DEATHS: Final = 3
"""So often may a process die over one result."""
_PROVE_TOGETHER: Final = 32
"""Results whose objects one commitment is asked for."""
_PROVE_AFTER: Final = 8
"""While there is a backlog, proof is asked for after so many results."""


@dataclass(frozen=True)
class _Ahead:
    """A delivery that comes next, and what is being made for it; None where nothing is to be written."""

    delivery: Delivery
    made: Future[Made] | None
    replaces: UUID | None = None


class PacsCourier(Courier):
    """See the module."""

    def __init__(
        self,
        destination: str,
        ledger: Ledger,
        settings: PacsSettings,
        pacs: Pacs,
        store: FileStore,
        outgoing: Outgoing,
        makers: Makers,
    ) -> None:
        super().__init__(destination, ledger, Breaker(settings.retry_first_s, settings.retry_longest_s))
        self._settings = settings
        self._pacs = pacs
        self._store = store
        self._outgoing = outgoing
        self._makers = makers
        self._deaths: Counter[int] = Counter()
        self._ahead: deque[_Ahead] = deque()
        self._since_proof = 0

    # --- the loop --------------------------------------------------------------------------------------------------

    def work(self, now: float) -> bool:
        """Deliver the next result, or ask for proof of those that are stored."""
        self._fill(now)
        if not self._ahead:
            return self._prove(now)
        self._deliver(self._ahead.popleft())
        self._since_proof += 1
        if self._since_proof >= _PROVE_AFTER:
            self._prove(time.time())
        return True

    def rest(self) -> None:
        """Let go of the association and of what was made ahead."""
        self._ahead.clear()
        self._pacs.close()

    def _fill(self, now: float) -> None:
        room = (_AHEAD if self.breaker.closed else 1) - len(self._ahead)
        if room <= 0 or self.stopping:
            return
        busy = {one.delivery.study_key for one in self._ahead}
        for delivery in self.ledger.due(self.destination, now, room, busy):
            self._ahead.append(self._begun(delivery))

    # --- one result ------------------------------------------------------------------------------------------------

    def _begun(self, delivery: Delivery) -> _Ahead:
        """Have made what is needed for a delivery."""
        result, choice = delivery.result, self._settings.objects
        job = Job(result, self._store.root, self._outgoing.root)
        if delivery.state is State.SENDING and self._outgoing.has(delivery.objects):
            return _Ahead(delivery, self._makers.submit(job))
        if result.unconfirmed and (self._settings.unconfirmed == "never" or not result.findings):
            return _Ahead(delivery, None)
        if delivery.state is State.HELD:  # first see whether it may be written now
            return _Ahead(delivery, self._makers.submit(job))
        before = self.ledger.current(delivery)
        earlier = tuple(one for one in before.objects if one.kind is not ObjectKind.REJECTION) if before else ()
        made = self._makers.submit(replace(job, choice=choice, earlier=earlier))
        return _Ahead(delivery, made, before.result if before else None)

    def _deliver(self, ahead: _Ahead) -> None:
        delivery = ahead.delivery
        try:
            begun = delivery.state is State.SENDING
            if not begun and self._settings.superseded == "skip" and self.ledger.overtaken(delivery):
                self._nothing_sent(ahead, State.SUPERSEDED)
            elif ahead.made is None:
                self._nothing_sent(ahead, State.NOTHING)
            else:
                made = ahead.made.result()
                if (reason := self._wrong_patient(delivery, made.patient)) is not None:
                    self._hold(delivery, reason)
                elif delivery.state is State.HELD:
                    self.ledger.release(delivery, time.time())
                elif not begun and not made.objects:
                    self._nothing_sent(ahead, State.NOTHING)
                else:
                    delivery = self._fixed(ahead, made)
                    instances = self._outgoing.instances(delivery.objects)
                    self._settle(delivery, self._pacs.store(delivery.result.study_uid, instances))
        except (Unreadable, Refused) as error:
            self._reject(delivery, None, str(error))
        except Unavailable as error:
            self.ledger.put_off(delivery, time.time(), str(error))
            raise
        except BrokenProcessPool:
            self._died(delivery)
        except Exception as error:  # noqa: BLE001 - a fault of ours over one result must not hold up those behind it
            self.say_fault(delivery, error)
            self._reject(delivery, None, f"it cannot be written, a fault of ours: {type(error).__name__}")
        self.breaker.answered()

    def _nothing_sent(self, ahead: _Ahead, state: State) -> None:
        self.end(ahead.delivery, state)
        if ahead.made is not None:
            ahead.made.add_done_callback(self._drop_made)

    def _drop_made(self, made: Future[Made]) -> None:
        if not made.cancelled() and made.exception() is None:
            self._outgoing.drop(made.result().objects)

    def _died(self, delivery: Delivery) -> None:
        """A process that made objects has died: for lack of memory perhaps, and perhaps over another delivery."""
        self._deaths[delivery.id] += 1
        if self._deaths[delivery.id] >= _DEATHS:
            return self._reject(delivery, None, "its objects cannot be made: the process that makes them dies")
        self._ahead.clear()
        self.ledger.put_off(delivery, time.time() + self._settings.retry_first_s, "the process that makes objects died")
        self.log.error("the process that makes objects died", **self.about(delivery))
        return None

    def _fixed(self, ahead: _Ahead, made: Made) -> Delivery:
        """The delivery with the objects that are sent for it: from here on no others are."""
        delivery = ahead.delivery
        if delivery.state is State.SENDING and not made.objects:
            return delivery
        self.ledger.fix(delivery, made.objects, ahead.replaces, made.standing)
        return replace(delivery, state=State.SENDING, objects=made.objects, replaces=ahead.replaces)

    def _wrong_patient(self, delivery: Delivery, received: Identity) -> str | None:
        """Why it must not be written now; None where it may."""
        if not self._settings.check_patient:
            return None
        present = self._pacs.patient_of(delivery.result.study_uid)
        if present is None:
            return None if self._settings.absent_study == "write" else "the PACS has no such study"
        differing = differences(received, present)
        return f"the patient differs in {', '.join(differing)}" if differing else None

    def _hold(self, delivery: Delivery, reason: str) -> None:
        event = ResultHeld(**self.event_fields(delivery), reason=reason)
        self.log.warning("result held", reason=reason, **self.about(delivery))
        self.ledger.hold(delivery, time.time() + self._settings.held_again_s, reason, event)

    def _settle(self, delivery: Delivery, answers: Iterable[Answer]) -> None:
        by_uid = {answer.sop_instance_uid: answer for answer in answers}
        refused = [answer for answer in by_uid.values() if not answer.accepted]
        if passing := next((answer for answer in refused if answer.passing), None):
            raise Unavailable(f"the PACS cannot take it now: {passing.status} {passing.comment}".rstrip())
        if refused:
            accepted = tuple(one for one in delivery.objects if by_uid[one.sop_instance_uid].accepted)
            self._reject(delivery, refused[0].status, refused[0].comment or "no comment", accepted)
        elif self._settings.proof is Proof.ANSWER:
            self._archived(delivery, Proof.ANSWER)
        else:
            self.ledger.stored(delivery, time.time())

    def _reject(
        self, delivery: Delivery, status: str | None, reason: str, accepted: tuple[WrittenObject, ...] = ()
    ) -> None:
        event = ResultRejected(**self.event_fields(delivery), status=status, reason=reason)
        words = f"{status} {reason}" if status else reason
        self.end(delivery, State.REJECTED, reason=words, event=event, objects=accepted)
        self._outgoing.drop(delivery.objects)

    # --- proof -----------------------------------------------------------------------------------------------------

    def _prove(self, now: float) -> bool:
        self._since_proof = 0
        stored = self.ledger.unproven(self.destination, now, _PROVE_TOGETHER)
        ask = [one for one in stored if self._commits and one.proofs < self._settings.commitment_attempts]
        if ask:
            self._ask(ask)
        for delivery in stored:
            if delivery not in ask:
                self._query(delivery)
        return bool(stored)

    @property
    def _commits(self) -> bool:
        return self._settings.proof is Proof.COMMITMENT

    def _ask(self, deliveries: Sequence[Delivery]) -> None:
        """Ask for one commitment to the objects of all of them (PS3.4, J.3.2)."""
        asked = [f"{one.result.event_id}:{one.proofs}" for one in deliveries]
        transaction_uid = f"2.25.{derived_id('commitment', self.destination, *asked).int}"
        self.ledger.asked(transaction_uid, deliveries, time.time() + self._settings.commitment_within_s)
        try:
            answer = self._pacs.request_commitment(transaction_uid, self._instances(deliveries))
        except Unavailable:
            self.ledger.ask_again(deliveries, time.time())
            raise
        except Refused as error:
            self.log.warning("no storage commitment, the PACS is asked for the objects", error=str(error))
            for delivery in deliveries:
                self._query(delivery)
            return
        if answer is not None:
            self.committed(answer, self.ledger.about(answer.transaction_uid))

    def committed(self, commitment: Commitment, deliveries: Iterable[Delivery]) -> None:
        """The PACS has answered for the objects of these. Called by the listener's threads too."""
        for delivery in deliveries:
            uids = {one.sop_instance_uid for one in delivery.objects}
            if uids <= commitment.committed:
                self._archived(delivery, Proof.COMMITMENT, commitment.transaction_uid)
            elif lost := sorted(uids & commitment.failed.keys()):
                reason = f"the PACS does not commit to {len(lost)} of {len(uids)} objects: {commitment.failed[lost[0]]}"
                self._send_again(delivery, reason)

    def _query(self, delivery: Delivery) -> None:
        """Ask the PACS for each object, where it does not commit."""
        instances = self._instances([delivery])
        try:
            there = self._pacs.holds(delivery.result.study_uid, instances)
        except Refused as error:
            self.log.warning("no proof to be had, its answer to C-STORE has to do", error=str(error))
            return self._archived(delivery, Proof.ANSWER)
        lost = [one for one in instances if one.sop_instance_uid not in there]
        if not lost:
            self._archived(delivery, Proof.QUERY)
        else:
            self._send_again(delivery, f"the PACS accepted {len(instances)} objects and lacks {len(lost)} of them")
        return None

    def _send_again(self, delivery: Delivery, reason: str) -> None:
        if delivery.resent + 1 >= self._settings.commitment_attempts:
            return self._reject(delivery, None, reason)
        self.log.warning("not proven, sending again", reason=reason, **self.about(delivery))
        self.ledger.send_again(delivery, time.time() + self._settings.retry_first_s, reason)
        return self.wake()

    def _archived(self, delivery: Delivery, proof: Proof, transaction_uid: str | None = None) -> None:
        event = ResultArchived(
            **self.event_fields(delivery),
            objects=delivery.objects,
            proof=proof,
            transaction_uid=transaction_uid,
            replaces=delivery.replaces,
        )
        self.end(delivery, State.DONE, event=event)
        self._outgoing.drop(delivery.objects)

    def _instances(self, deliveries: Iterable[Delivery]) -> list[Instance]:
        return [instance for one in deliveries for instance in self._outgoing.instances(one.objects)]
