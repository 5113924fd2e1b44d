"""A process of a replay, behind the fence: ``python -m sinsok.replay.work FOLDER collect | PART PARTS``.

It ends when its work is done, or when who started it is gone.
"""

import logging
import os
import sys
import time
from pathlib import Path
from typing import Final

import structlog

from gateways.objects import FileStore
from schemas.base import ObjectRef
from schemas.failures import PortFailure
from sinsok.errors import UserError, in_a_line
from sinsok.replay import fence
from sinsok.replay.answers import Answers
from sinsok.replay.collect import collect
from sinsok.replay.compare import compare
from sinsok.replay.rerun import HopsFor, rerun
from sinsok.replay.rules import Rules
from sinsok.replay.run import Decision, Options, Run
from sinsok.replay.story import Story, tell
from sinsok.settings import Settings, load

GROUP: Final = 20
"""Studies that are written down together."""


def main(arguments: list[str]) -> int:
    """Do a part of the work; errors are one line on stderr."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    folder, part = Path(arguments[0]), arguments[1:]
    settings = load()
    run = Run(folder)
    try:
        options = run.options
        rules = Rules(FileStore(settings.store), options.rules, options.model)
        answers = _answers(run, options, settings)
        os.nice(10)  # the live stream goes first
        fence.close(folder)
        if part == ["collect"]:
            collect(run, options, settings)
        else:
            _decide(run, options, rules, answers, int(part[0]), int(part[1]))
    except (PortFailure, UserError) as error:
        sys.stderr.write(f"{in_a_line(error)}\n")
        return 1
    except KeyboardInterrupt:
        return 1
    finally:
        run.close()
    return 0


def _decide(run: Run, options: Options, rules: Rules, answers: Answers, part: int, parts: int) -> None:
    began, first_ms, parent = time.monotonic(), run.first_ms(), os.getppid()
    results = []
    for key, at_ms in run.open_studies(part, parts):
        if options.speed is not None:
            _wait_until(began + (at_ms - first_ms) / 1000 / options.speed, parent)
        story = tell(key, run.records_of(key), options.until_ms, begins=options.begin is not None)
        again = rerun(story, _hops_for(story, rules, answers), answers, options.until_ms)
        said = [one for words in again.said.values() for one in words]
        results.append(Decision(key, compare(story, again, options.topics), again.steps, said))
        if len(results) >= GROUP or options.speed is not None:
            run.decided(results)
            results = []
        if os.getppid() != parent:
            return  # nobody waits for the rest
    run.decided(results)


def _hops_for(story: Story, rules: Rules, answers: Answers) -> HopsFor:
    """The hops for a step of one study."""
    newest = next((taken.step.rules for taken in reversed(story.steps) if taken.step.rules is not None), None)
    return lambda step: rules.hops(story.site, step, newest, answers)


def _answers(run: Run, options: Options, settings: Settings) -> Answers:
    live = None
    if options.infer:
        # Here and not above: what loads volumes takes a second to import.
        from gateways.inference.recorded import Recorded as RecordedReadings
        from gateways.inference.triton import TritonInference

        store = _Aside(FileStore(settings.store), FileStore(run.folder))
        # Shared memory is a file outside the run's folder.
        triton = settings.triton.model_copy(update={"shared_memory": "never"})
        live = RecordedReadings(TritonInference(triton, store), run.folder)
    return Answers(settings.store, run.identities(), live, options.model)


class _Aside:
    """Reads objects where they are, and puts new ones into the run's folder, under the names they would have had."""

    def __init__(self, live: FileStore, aside: FileStore) -> None:
        self._live = live
        self._aside = aside

    def read(self, ref: ObjectRef) -> bytes:
        """As the store does."""
        return self._live.read(ref)

    def put(self, data: bytes, folder: str, suffix: str) -> ObjectRef:
        """The claim check that the store would have given."""
        kept = self._aside.put(data, folder, suffix)
        return self._live.ref(folder, kept.digest.removeprefix("sha256:"), suffix, kept.size_bytes)


def _wait_until(moment: float, parent: int) -> None:
    while (left := moment - time.monotonic()) > 0 and os.getppid() == parent:
        time.sleep(min(left, 1.0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
