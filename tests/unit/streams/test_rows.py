"""Rows are typed, written when they change, and found when they are due."""

from datetime import UTC, datetime, timedelta

import pytest

from streams.hop import StudyState
from streams.rows import Rows, UnreadableRowError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Counted(dict[bytes, bytes]):
    """A table that counts its writes."""

    writes = 0

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.writes += 1
        super().__setitem__(key, value)

    def __delitem__(self, key: bytes) -> None:
        self.writes += 1
        super().__delitem__(key)


def state(deadline: datetime | None = None) -> StudyState:
    return StudyState(site="suwon", study_uid="1.2.3", deadline=deadline)


def put(rows: Rows[StudyState], key: bytes, news: StudyState) -> None:
    rows.put(key, rows.dump(news), news)


def test_a_state_comes_back_as_it_was() -> None:
    rows = Rows(Counted(), StudyState)
    put(rows, b"k", state(NOON))
    assert rows.get(b"k") == state(NOON)
    assert rows.get(b"other") is None
    assert len(rows) == 1


def test_what_does_not_change_is_not_written() -> None:
    table = Counted()
    rows = Rows(table, StudyState)
    rows.forget(b"k")
    put(rows, b"k", state())
    put(rows, b"k", state())
    assert table.writes == 1
    rows.forget(b"k")
    assert table.writes == 2
    assert table == {}


def test_due_are_the_rows_whose_deadline_is_over() -> None:
    rows = Rows(Counted(), StudyState)
    for key, deadline in ((b"past", NOON), (b"future", NOON + timedelta(seconds=2)), (b"never", None)):
        put(rows, key, state(deadline))
    assert [key for key, _ in rows.due(NOON)] == [b"past"]
    assert [key for key, _ in rows.due(NOON + timedelta(seconds=2))] == [b"past", b"future"]


def test_due_follows_changes_of_the_table() -> None:
    rows = Rows(Counted(), StudyState)
    put(rows, b"k", state(NOON))
    assert [key for key, _ in rows.due(NOON)] == [b"k"]
    put(rows, b"k", state(NOON + timedelta(hours=1)))
    assert list(rows.due(NOON)) == []
    rows.forget(b"k")
    assert list(rows.due(NOON + timedelta(hours=2))) == []


def test_a_row_of_another_version_is_told_without_quoting_it() -> None:
    rows = Rows({b"k": b'{"site":"suwon","study_uid":"1.2.3","who":"PHANTOM^IPH"}'}, StudyState)
    with pytest.raises(UnreadableRowError, match="no StudyState: who: extra_forbidden") as refused:
        rows.index()
    assert "PHANTOM" not in str(refused.value)


def test_rows_that_came_by_recovery_are_found_too() -> None:
    table = Counted()
    rows = Rows(table, StudyState)
    table[b"k"] = rows.dump(state(NOON))
    assert [key for key, _ in rows.due(NOON)] == [b"k"]
