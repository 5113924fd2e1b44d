"""Topics: what belongs where, and how the broker keeps it."""

from datetime import UTC, datetime
from typing import ClassVar

import pytest

from schemas.base import Event
from schemas.envelope import EVENT_TYPES
from schemas.topics import ALERT_EVENTS, DEAD_LETTERS, MAX_EVENT_BYTES, PARTITIONS, all_topics, changelog, topic_of
from tests.unit.schemas.examples import EXAMPLES

TOPICS = {topic.name: topic for topic in all_topics(["suwon", "icheon"])}


def test_the_topics_of_two_sites() -> None:
    assert list(TOPICS) == [
        "dicom.series",
        "triage.deadlines",
        "triage.studies",
        "triage.results",
        "triage.steps",
        "pacs.deliveries",
        "operations.alarms",
        "audit.acts",
        "dead.letters",
        "audit.trail",
        "alerts.icheon",
        "alerts.suwon",
    ]


@pytest.mark.parametrize("event", EXAMPLES.values(), ids=lambda event: type(event).__name__)
def test_an_event_goes_to_the_topic_that_carries_it(event: Event) -> None:
    assert type(event) in TOPICS[topic_of(event)].carries


def test_every_event_has_one_topic_and_every_alert_the_topic_of_its_site() -> None:
    carried = [event for name, topic in TOPICS.items() if name != "alerts.icheon" for event in topic.carries]
    assert sorted(event.TYPE for event in carried) == sorted(EVENT_TYPES)
    assert TOPICS["alerts.icheon"].carries == TOPICS["alerts.suwon"].carries == ALERT_EVENTS
    raised = EXAMPLES["sinsok.AlertRaised.v1"].model_copy(update={"site": "icheon"})
    assert topic_of(raised) == "alerts.icheon"


def test_an_event_that_no_topic_carries_is_refused() -> None:
    class Unheard(Event):
        TYPE: ClassVar[str] = "sinsok.Unheard.v1"

        def identity(self) -> tuple[object, ...]:
            return ()

    with pytest.raises(TypeError, match="Unheard belongs on no topic"):
        topic_of(Unheard(time=datetime(2026, 3, 1, tzinfo=UTC), site="suwon"))


def test_topics_with_one_key_have_one_number_of_partitions() -> None:
    """A stateful hop reads several topics and its own changelog: a study must be on the same partition of each."""
    tables = {"sinsok-assemble": "studies", "sinsok-alert": "alerts", "sinsok-escalate": "pages"}
    changelogs = [changelog(app, table) for app, table in tables.items()]
    assert {topic.partitions for topic in (*TOPICS.values(), *changelogs)} == {PARTITIONS}


def test_what_the_broker_is_told() -> None:
    """It drops nothing by itself: the archiver does, once it has the records."""
    assert TOPICS["triage.results"].settings == {"retention.ms": "-1", "max.message.bytes": str(MAX_EVENT_BYTES)}
    assert {topic.settings["retention.ms"] for topic in TOPICS.values()} == {"-1"}
    assert DEAD_LETTERS.retention_days > TOPICS["triage.results"].retention_days, "people come later"


def test_a_changelog_keeps_the_newest_row_of_every_key_for_ever() -> None:
    topic = changelog("sinsok-assemble", "studies")
    assert topic.name == "sinsok-assemble-studies-changelog"
    assert topic.settings["cleanup.policy"] == "compact"
    assert topic.settings["retention.ms"] == "-1"
