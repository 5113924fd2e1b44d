"""Results into one site's PACS: make the objects, see that the patient is right, store them, have that proven.

A result is *archived* when the PACS has committed itself to all its objects, or, where it does not commit, has each of
them when asked. Until then it stays in the ledger, and its objects on disk.
"""

import sqlite3
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID, uuid4

from gateways.delivery.breaker import Breaker
from gateways.delivery.courier import Courier
from gateways.delivery.ledger import Delivery, Ledger, State
from gateways.objects import FileStore
from gateways.pacs.making import Job, Made, Makers
from gateways.pacs.objects.succession import still_in_use
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
)
from schemas.failures import Refused, Unavailable, Unreadable

_AHEAD: Final = 4
"""So many results are made while others are being sent."""
_MAKING_S: Final = 300.0
"""A process that takes longer for one result hangs."""
_DEATHS: Final = 3
"""So often may a process die, or hang, over one result."""
_FAILURES: Final = 10
"""So often may the PACS fail over one object, with growing pauses, before a person has to look."""
_PROVE_TOGETHER: Final = 32
"""Results whose objects one commitment is asked for; while there is a backlog, proof waits for so many."""


@dataclass(frozen=True)
class _Ahead:
    """A delivery that comes next, and what is being made for it: the state in which it ends where nothing is sent."""

    delivery: Delivery
    made: Future[Made] | State
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
        if self._since_proof >= _PROVE_TOGETHER:
            self._prove(time.time())
        return True

    def rest(self) -> None:
        """Let go of the association. What was made ahead is sent when the PACS is back."""
        self._pacs.close()

    def _fill(self, now: float) -> None:
        # After a death one is made at a time, so that it is known over which the next one comes.
        room = (_AHEAD if self.breaker.closed and not self._deaths else 1) - len(self._ahead)
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
        if self._needless(delivery):
            return _Ahead(delivery, State.SUPERSEDED)
        if result.unconfirmed and (self._settings.unconfirmed == "never" or not result.findings):
            return _Ahead(delivery, State.NOTHING)
        if delivery.state is State.HELD:  # first see whether it may be written now
            return _Ahead(delivery, self._makers.submit(job))
        before = self.ledger.left_by(delivery)
        earlier = tuple(one for one in before.objects if one.kind is not ObjectKind.REJECTION) if before else ()
        made = self._makers.submit(replace(job, choice=choice, earlier=earlier))
        again = before is not None and before.result == result.event_id
        return _Ahead(delivery, made, delivery.replaces if again else before.result if before else None)

    def _needless(self, delivery: Delivery) -> bool:
        """Whether a newer result takes its place before anything of it was sent, or while it must not be sent."""
        wanted = self._settings.superseded == "skip" or delivery.state is State.HELD
        return wanted and not delivery.objects and self.ledger.overtaken(delivery)

    def _deliver(self, ahead: _Ahead) -> None:
        delivery = ahead.delivery
        try:
            if not self.ledger.is_open(delivery):  # a person has put it aside meanwhile
                self._drop(ahead.made)
                self._outgoing.drop(delivery.objects)
            elif isinstance(ahead.made, State):
                self._deaths.pop(delivery.id, None)
                self.end(delivery, ahead.made)
            elif self._needless(delivery):
                self._deaths.pop(delivery.id, None)
                self.end(delivery, State.SUPERSEDED)
                self._drop(ahead.made)
            else:
                made = ahead.made.result(_MAKING_S)
                self._deaths.pop(delivery.id, None)
                if (reason := self._wrong_patient(delivery, made.patient)) is not None:
                    self._hold(delivery, reason)
                elif delivery.state is State.HELD:
                    self.ledger.release(delivery, time.time())
                elif delivery.state is State.WAITING and not made.objects:
                    self.end(delivery, State.NOTHING)
                else:
                    delivery = self._fixed(ahead, made)
                    instances = self._outgoing.instances(delivery.objects)
                    self._settle(delivery, self._pacs.store(delivery.result.study_uid, instances))
        except (Unreadable, Refused) as error:
            self._reject(delivery, None, str(error))
        except Unavailable as error:
            self.ledger.put_off(delivery, time.time(), str(error))
            if isinstance(ahead.made, Future) and ahead.made.done() and ahead.made.exception() is None:
                self._ahead.append(replace(ahead, delivery=delivery))
            raise
        except (BrokenProcessPool, TimeoutError, MemoryError):
            self._died(delivery)
        except (sqlite3.Error, OSError) as error:  # of this machine, not of the result: it stays owed
            self.ledger.put_off(delivery, time.time(), f"a fault of this machine: {type(error).__name__}")
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours over one result must not hold up those behind it
            self.say_fault(delivery, error)
            self._reject(delivery, None, f"it cannot be written, a fault of ours: {type(error).__name__}")
        self.breaker.answered()

    def _drop(self, made: Future[Made] | State) -> None:
        if isinstance(made, Future):
            made.add_done_callback(self._drop_made)

    def _drop_made(self, made: Future[Made]) -> None:
        if not made.cancelled() and made.exception() is None:
            self._outgoing.drop(made.result().objects)

    def _died(self, delivery: Delivery) -> None:
        """A process that makes objects has died or hangs: for lack of memory perhaps, or over this delivery."""
        self._makers.restart()
        self._ahead.clear()
        self._deaths[delivery.id] += 1
        if self._deaths[delivery.id] >= _DEATHS:
            del self._deaths[delivery.id]
            return self._reject(delivery, None, "its objects cannot be made: the process that makes them dies or hangs")
        self.ledger.put_off(delivery, time.time(), "the process that makes objects died or hangs")
        self.log.error("the process that makes objects died or hangs", **self.about(delivery))
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
            return self._failed_over(delivery, passing, by_uid)
        if refused:
            return self._reject(delivery, refused[0].status, refused[0].comment or "no comment", by_uid)
        if self._settings.proof is Proof.ANSWER:
            return self._archived(delivery, Proof.ANSWER)
        return self.ledger.stored(delivery, time.time())

    def _failed_over(self, delivery: Delivery, answer: Answer, answers: Mapping[str, Answer]) -> None:
        """The PACS is out of resources, which it is for all, or it failed over this object."""
        words = f"{answer.status} {answer.comment}".rstrip()
        if answer.status is None or answer.status.startswith("0xA7") or answer.status == "HTTP 503":
            raise Unavailable(f"the PACS cannot take it now: {words}")
        if delivery.tries >= _FAILURES:
            return self._reject(delivery, answer.status, answer.comment or "no comment", answers)
        pause = min(self._settings.retry_longest_s, self._settings.retry_first_s * 2.0**delivery.tries)
        return self.ledger.try_again(delivery, time.time() + pause, words)

    def _reject(
        self, delivery: Delivery, status: str | None, reason: str, answers: Mapping[str, Answer] | None = None
    ) -> None:
        """A person has to look. What may be there of it stays noted, and what of the one before it is still in use."""
        event = ResultRejected(**self.event_fields(delivery), status=status, reason=reason)
        words = f"{status} {reason}" if status else reason
        there = delivery.objects
        if answers is not None:
            there = tuple(one for one in there if answers[one.sop_instance_uid].accepted)
        before = self.ledger.current(delivery)
        standing = still_in_use(before.objects, there) if before and there else None
        self.end(delivery, State.REJECTED, reason=words, event=event, objects=there, standing=standing)
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
        # Never the same twice: a PACS may have kept the question of before.
        transaction_uid = f"2.25.{uuid4().int}"
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
                self._lacking(delivery, reason)

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
            self._lacking(delivery, f"the PACS accepted {len(instances)} objects and lacks {len(lost)} of them")
        return None

    def _lacking(self, delivery: Delivery, reason: str) -> None:
        """Not there, or not yet: many a PACS answers first and files later. It is asked again before sending again."""
        pause = self._settings.retry_first_s * 2.0**delivery.tries
        if pause < self._settings.commitment_within_s:
            self.ledger.try_again(delivery, time.time() + pause, reason)
        else:
            self._send_again(delivery, reason)

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
