"""From the last image sent to AlertRaised on the topic, hop by hop.

    sinsok up && python benchmarks/latency.py [--runs 20] [--case DIR] [--busy]

Sends a synthetic head CT with a bleed, and with ``--case`` the DICOM files of a folder under new UIDs, one study after
the other, and prints p50 and p99 of every hop in seconds. Times are those at which the broker took the events. A study
is sent when the last word on the one before was spoken, on an idle stack; with ``--busy`` right after its alert, while
it is read again.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import generate_uid

from gateways.dicom import scu
from schemas import topics
from schemas.events import AlertRaised
from sinsok import demo, phantom, settings

SITE = "suwon"
HOPS = [name for name, _ in demo.HOPS]
PATIENCE_S = 120.0


class Journey(demo.Journey):
    """A journey that ends with its alert or with the last word on its first revision.

    The final revision comes after the quiet time, and nobody waits for it.
    """

    until_confirmed = True

    @property
    def ended(self) -> bool:
        alerted = len(self.hops()) == len(demo.HOPS)
        return alerted and (not self.until_confirmed or any(not result.unconfirmed for result in self.results))


def phantom_study(run: int, folder: Path) -> str:
    study = phantom.build(phantom.Case.IPH, seed=run, fresh=True)
    phantom.write(study, folder)
    return study.study_uid


def stored_study(source: Path, folder: Path) -> str:
    """The same images under new, valid UIDs."""
    study_uid, series_uid = generate_uid(), generate_uid()
    folder.mkdir()
    for number, path in enumerate(sorted(source.glob("*.dcm"))):
        ds = pydicom.dcmread(path)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, series_uid
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    return str(study_uid)


def measure(configuration: settings.Settings, study_uid: str, folder: Path) -> dict[str, float]:
    instances = [scu.read_instance(path) for path in sorted(folder.iterdir())]
    summary = scu.send(
        instances,
        host=configuration.dicom.host,
        port=configuration.dicom.port,
        called=configuration.sites[SITE].called_ae,
        calling="BENCH",
        on_result=lambda _: None,
    )
    assert summary.refused == 0
    journey = Journey(demo.CASES[0], study_uid, time.time())
    names = [topic.name for topic in (topics.DICOM_SERIES, topics.STUDIES, topics.RESULTS, topics.alerts(SITE))]
    demo.follow(configuration.kafka.bootstrap_servers, names, [journey], lambda *_: None, PATIENCE_S)
    total = journey.first(AlertRaised)
    assert total is not None
    return dict(journey.hops()) | {"last image to alert": total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--case", type=Path, help="folder of a real series to send as well")
    parser.add_argument("--busy", action="store_true", help="send the next study while this one is read again")
    options = parser.parse_args()
    Journey.until_confirmed = not options.busy
    configuration = settings.load(os.environ)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    makers = {"phantom": phantom_study}
    if options.case:
        makers["real case"] = lambda run, folder: stored_study(options.case, folder)
    for name, make in makers.items():
        rows = []
        for run in range(options.runs):
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "study"
                rows.append(measure(configuration, make(run, folder), folder))
        print(f"\n{name}, {options.runs} runs, seconds\n\n| step | p50 | p99 |\n|---|---|---|")
        for step in [*HOPS, "last image to alert"]:
            print_row(step, [row[step] for row in rows])
        print_row("all but infer", [row["last image to alert"] - row["infer"] for row in rows])


def print_row(name: str, seconds: list[float]) -> None:
    print(f"| {name} | {np.percentile(seconds, 50):.3f} | {np.percentile(seconds, 99):.3f} |")


if __name__ == "__main__":
    main()
