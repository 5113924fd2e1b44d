from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from gateways.dicom.committer import Committer
from gateways.dicom.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


@pytest.fixture
def committer(journal: Journal) -> Iterator[Committer]:
    committer = Committer(journal)
    committer.start()
    yield committer
    committer.stop()


def test_what_is_wrong_with_one_is_not_wrong_with_the_others_of_its_group(journal, committer, tmp_path):
    begun, go_on = Event(), Event()

    def hold() -> None:
        begun.set()
        go_on.wait(20)

    def wrong() -> None:
        raise UnicodeError("wrong")

    with ThreadPoolExecutor(6) as senders:
        held = senders.submit(committer.commit, tmp_path, hold)
        assert begun.wait(20)
        writes = [
            wrong if number == 2 else lambda number=number: journal.touch("a", "study", str(number))
            for number in range(4)
        ]
        pending = [senders.submit(committer.commit, tmp_path, write) for write in writes]
        missing = senders.submit(committer.commit, tmp_path / "gone", lambda: None)
        while committer._queue.qsize() < 5:
            go_on.wait(0.01)
        go_on.set()
        assert held.result(20) is None
        assert [type(one.exception(20)) for one in pending] == [type(None), type(None), UnicodeError, type(None)]
        assert isinstance(missing.exception(20), FileNotFoundError)
    assert {series for _, series in journal.touched("a")} == {"0", "1", "3"}
