"""A segment: what goes in comes out, and nothing else."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.archive import segment
from gateways.archive.segment import Segment, write
from gateways.kafka import Record
from schemas.failures import Unavailable, Unreadable
from tests.unit.gateways.archive.examples import TOPIC, record, run

FIELDS = st.tuples(
    st.integers(1, 5),
    st.integers(-1, 2**53),
    st.none() | st.binary(max_size=20),
    st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=10)), max_size=4),
    st.none() | st.binary(max_size=40),
)


def kept(folder: Path, records: list[Record], first: int | None = None) -> Segment:
    name, data = write(records, records[0].offset if first is None else first)
    return put(folder, name, data)


def put(folder: Path, name: str, data: bytes, topic: str = TOPIC) -> Segment:
    path = folder / topic / "0" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    found = Segment.at(path)
    assert found is not None
    return found


@settings(max_examples=50)
@given(st.lists(FIELDS, min_size=1, max_size=30), st.integers(0, 2**40))
def test_what_is_kept_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, fields: list[tuple[int, int, Any, Any, Any]], first: int
) -> None:
    """Null and empty keys and values, headers that repeat, offsets with gaps, times that go back."""
    records, offset = [], first - 1
    for step, at_ms, key, headers, value in fields:
        offset += step
        records.append(Record(TOPIC, 0, offset, at_ms, key, headers, value))
    found = kept(tmp_path_factory.mktemp("archive"), records, first)

    assert list(found.records()) == records
    found.verify()
    assert (found.first, found.last, found.next, found.count) == (first, offset, offset + 1, len(records))
    times = [one.timestamp_ms for one in records]
    assert (found.earliest_ms, found.latest_ms) == (min(times), max(times))


def test_a_reader_holds_one_row_group_at_a_time(tmp_path: Path) -> None:
    megabyte = [record(offset, value=bytes(1024 * 1024)) for offset in range(9)]
    found = kept(tmp_path, megabyte)
    assert pq.ParquetFile(found.path).num_row_groups == 3
    assert [one.offset for one in found.records()] == list(range(9))


def test_others_read_it_without_us(tmp_path: Path) -> None:
    found = kept(tmp_path, run(5, 8))
    table = pq.read_table(found.path)
    assert table.column("offset").to_pylist() == [5, 6, 7]
    assert table.column("headers").to_pylist()[0] == [{"name": "ce_type", "value": b"t"}] * 2
    about = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    digest = about.pop("sinsok.archive.records.sha256")
    assert len(digest) == 64
    assert about == {
        "sinsok.archive.version": "1",
        "sinsok.archive.topic": TOPIC,
        "sinsok.archive.partition": "0",
        "sinsok.archive.first": "5",
        "sinsok.archive.last": "7",
        "sinsok.archive.records": "3",
    }


def test_one_byte_that_changed_anywhere_is_noticed(tmp_path: Path) -> None:
    found = kept(tmp_path, run(0, 3))
    whole = found.path.read_bytes()
    for place in range(0, len(whole), 13):
        found.path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(Unreadable, match="damaged") as error:
            next(found.records())
        assert str(found.path) in str(error.value)


def test_a_file_that_is_too_short_is_noticed(tmp_path: Path) -> None:
    found = kept(tmp_path, run(0, 3))
    found.path.write_bytes(found.path.read_bytes()[:-1])
    with pytest.raises(Unreadable, match="damaged"):
        found.verify()


def test_a_file_that_cannot_be_read_now_is_no_damage(tmp_path: Path) -> None:
    found = kept(tmp_path, run(0, 3))
    found.path.unlink()
    with pytest.raises(Unavailable, match="cannot be read: No such file"):
        found.verify()


def test_a_newer_version_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "VERSION", 2)
    found = kept(tmp_path, run(0, 3))
    monkeypatch.undo()
    with pytest.raises(Unreadable, match="of archive version 2; this sinsok reads 1: update it") as error:
        found.verify()
    assert len(str(error.value).splitlines()) == 1


def test_a_file_in_the_place_of_another_is_noticed(tmp_path: Path) -> None:
    name, data = write(run(0, 3), 0)
    with pytest.raises(Unreadable, match=r"is not where it belongs, it holds triage\.results/0 from 0 to 2"):
        put(tmp_path, name, data, topic="triage.studies").verify()


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([record(0), record(2), record(1)], "record 1 stands behind 2"),
        ([record(0), record(0)], "record 0 stands behind 0"),
    ],
)
def test_records_that_are_not_in_order_are_refused(tmp_path: Path, records: list[Record], says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        kept(tmp_path, records).verify()


def test_a_name_that_promises_another_number_of_records_is_refused(tmp_path: Path) -> None:
    name, data = write(run(0, 3), 0)
    with pytest.raises(Unreadable, match="3 records up to 2, not 4 up to 2"):
        put(tmp_path, name.replace("-3-", "-4-"), data).verify()


def test_records_that_another_program_changed_are_refused(tmp_path: Path) -> None:
    """Someone rewrote the file and gave it the name that its bytes ask for."""
    name, data = write(run(0, 3), 0)
    found = put(tmp_path, name, data)
    table = pq.read_table(found.path)
    changed = table.set_column(4, table.schema.field(4), [[b"{}", b"{}", b"forged"]])
    pq.write_table(changed, found.path)
    forged = found.path.read_bytes()
    found.path.unlink()
    with pytest.raises(Unreadable, match="the records are not those that were archived"):
        put(tmp_path, name.replace(found.digest, hashlib.sha256(forged).hexdigest()), forged).verify()


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    name, _ = write(run(0, 3), 0)
    digest = hashlib.sha256(b"no table").hexdigest()
    with pytest.raises(Unreadable, match="is no segment"):
        put(tmp_path, f"{name.split('.')[0]}.{digest}.parquet", b"no table").verify()
