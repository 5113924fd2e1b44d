"""Results into the PACS, beside dcmtk's storescu sending the same objects to the same Orthanc.

    python benchmarks/pacs.py [--results 60] [--rounds 3]

Starts a broker, an Orthanc and the PACS writer of its own. Each result is a head CT of 36 slices with a bleed: a
report, a segmentation and a key image. In each round the writer archives all results, proof included (storage
commitment); then what it wrote is taken out of the PACS again, and storescu sends the very same objects over one
association, without proof. At last results come one by one, and each is timed from StudyTriaged to ResultArchived.
"""

import argparse
import copy
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateways import kafka
from schemas.deliveries import ResultArchived
from schemas.envelope import decode
from schemas.events import StudyTriaged
from schemas.topics import DELIVERIES
from sinsok import phantom
from tests.e2e.archive import Archive
from tests.results import ReadStudy

_PATIENCE_S = 600.0
_WARM = 24
"""Results before the first round: what starts, is imported or compiled with the first ones is then there."""


def head(images: tuple[Dataset, ...]) -> list[Dataset]:
    """The same head as another study."""
    study, series, copied = generate_uid(), generate_uid(), []
    for ds in images:
        one = copy.deepcopy(ds)
        one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID = study, series, generate_uid()
        copied.append(one)
    return copied


class Watch:
    """Follows what is said of results, and takes next to nothing from those who work: it may hear of it late."""

    def __init__(self, bootstrap: str) -> None:
        self._archived: dict[object, ResultArchived] = {}
        self._consumer = Consumer(
            kafka.quiet(bootstrap)
            | {"group.id": "bench", "enable.auto.commit": False, "fetch.min.bytes": 2**20, "fetch.wait.max.ms": 500}
        )
        partitions = kafka.metadata(self._consumer, bootstrap)[DELIVERIES.name].partitions
        self._consumer.assign([TopicPartition(DELIVERIES.name, number, OFFSET_BEGINNING) for number in partitions])

    def archived(self, results: list[StudyTriaged]) -> list[ResultArchived]:
        """What is said of these, once all of them are archived."""
        until = time.monotonic() + _PATIENCE_S
        while missing := sum(result.event_id not in self._archived for result in results):
            assert time.monotonic() < until, f"{missing} of {len(results)} are not archived"
            for message in self._consumer.consume(1000, timeout=0.5):
                event = None if message.error() else decode(message.headers() or [], message.value())
                if isinstance(event, ResultArchived):
                    self._archived[event.result] = event
        return [self._archived[result.event_id] for result in results]


def ours(archive: Archive, watch: Watch, results: list[StudyTriaged]) -> float:
    """Seconds from the moment the writer goes on until the last is archived: a backlog, worked off."""
    archive.writer.pause()
    archive.publish(results)
    archive.writer.resume()
    began = time.time()
    return max(event.time.timestamp() for event in watch.archived(results)) - began


def storescu(archive: Archive, folder: Path) -> float:
    """Seconds that storescu takes for the objects in a folder."""
    pacs = archive.settings.orthanc
    command = ["storescu", "-aet", "BENCH", "-aec", pacs.aet, "--required", "+sd", pacs.host, str(pacs.dicom_port)]
    began = time.monotonic()
    subprocess.run([*command, str(folder)], check=True, env={**os.environ, "TCP_NODELAY": "1"})
    return time.monotonic() - began


def take_out(archive: Archive, studies: list[ReadStudy], folder: Path) -> int:
    """Move what was written for the studies out of the PACS, into files; how many objects."""
    folder.mkdir()
    count = 0
    for study in studies:
        for number in archive.pacs.ask("/tools/find", {"Level": "Instance", "Query": {"StudyInstanceUID": study.uid}}):
            uid = archive.pacs.ask(f"/instances/{number}/simplified-tags")["SOPInstanceUID"]
            if uid in {str(ds.SOPInstanceUID) for ds in study.datasets}:
                continue
            (folder / f"{uid}.dcm").write_bytes(archive.pacs.file(number))
            archive.pacs.ask(f"/instances/{number}", method="DELETE")
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="sinsok-pacs-"))
    archive = Archive(scratch / "archive")
    images = phantom.build(phantom.Case.IPH).datasets
    try:
        archive.start()
        watch = Watch(archive.bootstrap)
        warm = [ReadStudy(archive.store, "suwon", head(images)) for _ in range(_WARM)]
        archive.images(warm)
        ours(archive, watch, [study.result() for study in warm])
        print(
            "| round | results | objects | writer, results/s | storescu, results/s | ratio |\n|---|---|---|---|---|---|"
        )
        ratios = []
        for number in range(options.rounds):
            studies = [ReadStudy(archive.store, "suwon", head(images)) for _ in range(options.results)]
            results = [study.result() for study in studies]
            archive.images(studies)
            seconds = ours(archive, watch, results)
            count = take_out(archive, studies, scratch / f"objects-{number}")
            peer = storescu(archive, scratch / f"objects-{number}")
            rate, peers = len(results) / seconds, len(results) / peer
            ratios.append(rate / peers)
            print(
                f"| {number + 1} | {len(results)} | {count} | {rate:.1f} | {peers:.1f} | {ratios[-1]:.2f} |", flush=True
            )
        print(f"\nmedian ratio {median(ratios):.2f}\n")
        one_by_one(archive, watch, [ReadStudy(archive.store, "suwon", head(images)) for _ in range(20)])
    finally:
        archive.kill()
        shutil.rmtree(scratch, ignore_errors=True)


def one_by_one(archive: Archive, watch: Watch, studies: list[ReadStudy]) -> None:
    """Seconds from a result on its topic to its event, with nothing else to do."""
    archive.images(studies)
    seconds = []
    for study in studies:
        result = study.result()
        archive.publish([result])
        published = time.time()
        seconds.append(watch.archived([result])[0].time.timestamp() - published)
    low, high = np.percentile(seconds, 50), np.percentile(seconds, 99)
    print(f"one by one, StudyTriaged to ResultArchived: p50 {low:.3f} s, p99 {high:.3f} s")


if __name__ == "__main__":
    main()
