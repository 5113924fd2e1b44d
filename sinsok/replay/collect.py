"""The record of a period into a run's own file, archive and live as one, without being in anybody's way."""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from gateways.archive import history
from gateways.kafka import Record
from gateways.objects import FileStore
from schemas.envelope import NotAnEvent, decode
from schemas.events import InstanceQuarantined
from schemas.identity import study_key
from schemas.steps import PortAnswer, StepTaken
from schemas.topics import DEADLINES, DICOM_SERIES, RESULTS, STEPS, STUDIES, alerts
from sinsok.replay.run import MARGIN, Options, Run
from sinsok.replay.story import Recorded
from sinsok.settings import Settings
from sinsok.stack.lag import consumer_lag, reads

BATCH: Final = 1000
_KEY: Final = re.compile("[0-9a-f]{64}")
LOOK_EVERY_S: Final = 5.0
BEHIND: Final = 200
"""Events: a live stream that is further behind is let pass first."""


def collect(run: Run, options: Options, settings: Settings) -> None:
    """Take in what there is, from where it stood. Raises what :func:`gateways.archive.history.read` raises."""
    topics = [topic.name for topic in (DICOM_SERIES, DEADLINES, STUDIES, RESULTS, STEPS)]
    topics += [alerts(site).name for site in settings.sites if options.site in (None, site)]
    store, bootstrap = FileStore(settings.store), settings.kafka.bootstrap_servers
    until, parent = options.until + MARGIN, os.getppid()
    records = history.read(bootstrap, store, topics, options.begin, until, run.positions())
    yield_to_live = _Politeness(lambda: consumer_lag(bootstrap, reads(settings.sites)))
    while batch := list(islice(records, BATCH)):
        if os.getppid() != parent:
            return  # nobody waits for the rest
        yield_to_live()
        positions = {(one.topic, one.partition): one.offset + 1 for one in batch}
        kept = list(_wanted(batch, options, settings.sites))
        run.keep(kept, positions, _identities(one for _, one in kept))
    run.end_of_record()


def _wanted(records: Iterable[Record], options: Options, sites: Iterable[str]) -> Iterator[tuple[str, Recorded]]:
    """The records about a study that is asked for, with its key."""
    chosen = [options.site] if options.site else sites
    only = {study_key(site, options.study_uid) for site in chosen} if options.study_uid else None
    for one in records:
        headers = {name: value.decode(errors="replace") for name, value in one.headers}
        kind, source, key = (headers.get(name, "") for name in ("ce_type", "ce_source", "ce_subject"))
        if one.value is None or kind == InstanceQuarantined.TYPE or not _KEY.fullmatch(key):
            continue
        if options.site is not None and source != f"/sinsok/{options.site}":
            continue
        if only is not None and key not in only:
            continue
        yield key, Recorded(one.topic, one.partition, one.offset, one.timestamp_ms, kind, one.value)


def _identities(records: Iterable[Recorded]) -> Iterator[PortAnswer]:
    """Which model version was served under which digest, as the steps say."""
    for one in records:
        if one.type != StepTaken.TYPE or b'"identify ' not in one.value:
            continue
        try:
            step = decode([("ce_type", one.type.encode())], one.value)
        except NotAnEvent:
            continue  # the study's own story says so
        assert isinstance(step, StepTaken)
        for answer in step.answers:
            if answer.asked.startswith("identify ") and answer.failure is None:
                yield answer


class _Politeness:
    """Lets the live stream pass first where it is behind, and somebody takes its events."""

    def __init__(self, lag: Callable[[], dict[str, int]]) -> None:
        self._lag = lag
        self._looked_at = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        lag = self._lag()
        while max(lag.values(), default=0) > BEHIND:
            time.sleep(1.0)
            before, lag = lag, self._lag()
            if all(lag.get(group, 0) >= behind for group, behind in before.items()):
                break  # nobody is at work: waiting helps nobody
        self._looked_at = time.monotonic()
