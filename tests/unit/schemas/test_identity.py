"""Ids and keys: the same wherever and whenever they are computed."""

import re
import subprocess
import sys
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from schemas.base import Event
from schemas.envelope import decode, encode
from schemas.identity import derived_id, study_key, trace_id, trace_parent
from tests.unit.schemas.examples import EXAMPLES, JOURNEY

sites = st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)
uids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)


@given(sites, uids)
def test_a_study_key_is_64_hex_digits_and_shows_nothing(site: str, uid: str) -> None:
    key = study_key(site, uid)
    assert re.fullmatch("[0-9a-f]{64}", key)
    assert key == study_key(site, uid)


@given(st.lists(st.tuples(sites, uids), min_size=2, max_size=2, unique=True))
def test_two_studies_have_two_keys(studies: list[tuple[str, str]]) -> None:
    """A site's name has no vertical bar, so no other site and UID can be written the same way."""
    first, second = studies
    assert study_key(*first) != study_key(*second)


def test_keys_and_ids_are_those_they_always_were() -> None:
    """What is on topics and in stores for years was named with these: a change here is a new contract."""
    assert study_key("suwon", "1.2.3") == "bbbcb5bee3c56cb723c44e03f1a2c6c050368c3b65b5f2b1fe630c1042cac002"
    assert str(derived_id("sinsok.StudyTriaged.v1", "key", 1)) == "460fa82c-69cc-57e2-9872-0ba76d17bb30"
    assert trace_id("key") == "55da8fcb2e9a522c130ddf1a88105ce0"


def test_another_process_derives_the_same_ids() -> None:
    """Nothing depends on the process: no hash seed, no clock, no random number."""
    told = "from tests.unit.schemas.examples import JOURNEY; print(*(event.event_id for event in JOURNEY))"
    other = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert [UUID(one) for one in other.stdout.split()] == [event.event_id for event in JOURNEY]


@given(st.sampled_from(list(EXAMPLES.values())), st.uuids())
def test_an_id_that_was_given_is_kept_and_otherwise_derived(event: Event, given_id: UUID) -> None:
    without = {name: getattr(event, name) for name in type(event).model_fields if name != "event_id"}
    assert type(event)(**without).event_id == event.event_id
    assert type(event)(**without, event_id=given_id).event_id == given_id


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=2, unique=True))
def test_another_revision_is_another_event(revisions: list[int]) -> None:
    triaged = EXAMPLES["sinsok.StudyTriaged.v1"]
    value = triaged.model_dump(exclude={"event_id"})
    first, second = (type(triaged).model_validate(value | {"revision": revision}) for revision in revisions)
    assert first.event_id != second.event_id


@given(st.sampled_from(list(EXAMPLES.values())))
def test_an_event_is_written_the_same_way_every_time(event: Event) -> None:
    """Byte for byte, also after a way over the wire: a replay can be compared with the first run."""
    message = encode(event)
    assert encode(decode(message.headers, message.value)) == message


@given(st.text(min_size=1, max_size=20), st.uuids())
def test_a_traceparent_is_what_w3c_says(key: str, event_id: UUID) -> None:
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace_parent(study_key("suwon", key), event_id))
