"""Hops for the tests of the shell, and the process that runs one: ``python -m tests.integration.hops --help``.

Both read probes: revisions of artificial studies, whose evidence says what is to happen to them. ``echo`` has no
table and answers each probe; ``collect`` keeps what it has seen of a study and answers when its deadline has passed.
"""

import argparse
import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from schemas.base import Event
from schemas.events import AlertWithdrawn, ClosingReason, DeadlinePassed, Evidence, StudyAssembled
from schemas.failures import Unavailable, Unreadable
from schemas.identity import derived_id
from schemas.topics import DEADLINES, STUDIES, alerts
from streams.hop import StatefulHop, StatelessHop, Step, StudyState
from streams.settings import StreamSettings

QUIET = timedelta(seconds=3)


def probe(site: str, study: str, number: int, behaviour: str = "") -> StudyAssembled:
    """Revision ``number`` of an artificial study."""
    return StudyAssembled(
        time=datetime.now(UTC),
        site=site,
        study_uid=study,
        revision=number,
        final=False,
        reason=ClosingReason.QUIET,
        confidence=1.0,
        evidence=(Evidence(observation=behaviour, complete=True),) if behaviour else (),
        series=(),
        supersedes=None,
    )


def answer(event: StudyAssembled | DeadlinePassed, number: int, said: str) -> AlertWithdrawn:
    """What a test hop sends: on ``alerts.<site>``, where only one test's answers are."""
    return AlertWithdrawn(
        time=event.time,
        site=event.site,
        study_uid=event.study_uid,
        alert_id=derived_id("answer", event.study_uid, number, said),
        revision=number,
        reason=said,
    )


def echo(site: str, away: Path) -> StatelessHop:
    """Answers each probe of a site, after doing what it asks for. While the file ``away`` exists its port is away,
    what is broken raises, and what is to be held is not done."""

    async def handle(event: Event) -> Sequence[Event]:
        if not isinstance(event, StudyAssembled) or event.site != site:
            return ()
        for evidence in event.evidence:
            behaviour, _, argument = evidence.observation.partition(" ")
            match behaviour:
                case "sleep":
                    await asyncio.sleep(float(argument))
                case "hold" if away.exists():
                    structlog.get_logger().info("held")
                    await asyncio.sleep(3600)
                case "raise":
                    raise ZeroDivisionError(f"secret {event.study_uid}")
                case "broken" if away.exists():
                    raise ZeroDivisionError("secret")
                case "unreadable":
                    raise Unreadable("pixels cannot be decoded")
                case "port" if away.exists():
                    raise Unavailable("the port is away")
        return (answer(event, event.revision, "echo"),)

    def waiting(event: Event, error: Unavailable) -> Sequence[Event]:
        assert isinstance(event, StudyAssembled)
        return (answer(event, event.revision, f"waiting: {error}"),)

    def failed(event: Event) -> Sequence[Event]:
        assert isinstance(event, StudyAssembled)
        if any(evidence.observation == "unreadable speechless" for evidence in event.evidence):
            raise ZeroDivisionError("secret")
        return (answer(event, event.revision, "failed"),)

    return StatelessHop(f"echo-{site}", (STUDIES,), handle, waiting, failed, (alerts(site),))


class Collected(StudyState):
    """The probes of a study, in the order they came."""

    seen: tuple[int, ...] = ()
    closed: bool = False


def collect(site: str) -> StatefulHop[Collected]:
    """Collects the probes of a site and answers each; a study that has been quiet is answered as a whole."""

    def decide(event: Event, state: Collected | None) -> Step[Collected]:
        match event:
            case StudyAssembled(site=origin, revision=number) if origin == site:
                if any(evidence.observation == "raise" for evidence in event.evidence):
                    raise ZeroDivisionError("secret")
                state = state or Collected(site=site, study_uid=event.study_uid)
                if number in state.seen:
                    return Step(state)
                deadline = max(event.time + QUIET, state.deadline or event.time)
                news = Collected(site=site, study_uid=event.study_uid, seen=(*state.seen, number), deadline=deadline)
                return Step(news, (answer(event, number, "seen"),))
            case DeadlinePassed() if state is not None and state.deadline == event.deadline:
                whole = ",".join(str(number) for number in sorted(state.seen))
                closed = state.model_copy(update={"deadline": None, "closed": True})
                return Step(closed, (answer(event, len(state.seen), f"whole: {whole}"),))
            case _:
                return Step(state)

    return StatefulHop(f"collect-{site}", (STUDIES, DEADLINES), "studies", Collected, decide, (alerts(site), DEADLINES))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("hop", choices=["echo", "collect"])
    parser.add_argument("site")
    parser.add_argument("--settings", required=True, help="StreamSettings as JSON")
    parser.add_argument("--stock", action="store_true", help="Faust as it comes, without the repairs")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(relativeCreated)d %(name)s %(message)s")
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
    )
    settings = StreamSettings.model_validate_json(options.settings)
    if options.stock:
        import faust.tables
        import faust.transport.drivers.aiokafka

        from streams import mending

        mending.Tables = faust.tables.TableManager  # type: ignore[misc]
        mending.Transport = faust.transport.drivers.aiokafka.Transport  # type: ignore[misc]
    from streams.worker import run

    def publish(health: Callable[[], list[str]]) -> None:
        def write() -> None:
            while True:
                (settings.datadir / "health").write_text("\n".join(health()))
                time.sleep(0.2)

        threading.Thread(target=write, daemon=True).start()

    away = settings.datadir / "away"
    hop = echo(options.site, away) if options.hop == "echo" else collect(options.site)
    return run(hop, settings, publish)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)
