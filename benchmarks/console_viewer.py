"""The console's viewer in Chromium: the first picture, slices per second, and what the server does for it.

    python benchmarks/console_viewer.py [--case DIR] [--rounds 3] [--screenshot FILE]

Shows a phantom head, or the DICOM files of a folder, on this machine and over the network of a phone. Peer: an ``img``
whose source is swapped, one windowed PNG from the server for each slice and window, as viewers without a canvas do it.
"""

import argparse
import json
import sys
import tempfile
import time
import zlib
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import pydicom
from playwright.sync_api import Browser, Page, sync_playwright
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateways.console.pictures import Pictures
from gateways.console.stack import WINDOWS
from gateways.objects import FileStore
from schemas.events import Reading
from sinsok import phantom
from tests.integration.viewer_page import Site, served
from tests.results import ReadStudy

NETWORKS = {"local": None, "phone, 10 Mbit/s, 60 ms": (10e6, 60)}
FIRST = """() => new Promise((done) => {
  const canvas = document.querySelector('canvas');
  const look = () => {
    const there = performance.getEntriesByType('resource').find(({name}) => name.endsWith('/picture'));
    if (canvas?.dataset.slice && there) done([there.responseEnd, performance.now()]);
    else requestAnimationFrame(look);
  };
  look();
})"""
OURS = """async (slices) => {
  const figure = document.querySelector('figure'), canvas = document.querySelector('canvas');
  const press = (key) => figure.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
  const start = performance.now();
  for (let index = 0; index < slices; index++) {
    press(index === 0 ? 'Home' : 'ArrowDown');
    do await new Promise(requestAnimationFrame); while (canvas.dataset.slice !== String(index));
  }
  return slices / (performance.now() - start) * 1000;
}"""
PEER = """async ([slices, window]) => {
  const picture = new Image();
  document.body.append(picture);
  const start = performance.now();
  for (let index = 0; index < slices; index++) {
    picture.src = `/pictures/${index}/${window}`;
    await picture.decode();
    await new Promise(requestAnimationFrame);
  }
  const rate = slices / (performance.now() - start) * 1000;
  picture.remove();
  return rate;
}"""


def images(case: Path | None) -> list[Dataset]:
    if case is None:
        return list(phantom.build(phantom.Case.IPH).datasets)
    study, series, read = generate_uid(), generate_uid(), []
    for path in sorted(case.glob("*.dcm")):
        ds = pydicom.dcmread(path)
        # A case may come with UIDs that are none.
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, series, generate_uid()
        ds.SOPClassUID = CTImageStorage
        read.append(ds)
    return read


def labels(case: Path | None, shape: tuple[int, ...]) -> np.ndarray:
    """The labels beside a case where there are any, else a ball."""
    kept = [] if case is None else sorted(case.parent.glob(f"{case.name}_*.npz"))
    if kept:
        with np.load(kept[0]) as archive:
            return np.asarray(archive["labels"], np.uint8)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    middle = [length / 2 for length in shape]
    ball = ((z - middle[0]) / 3) ** 2 + ((y - middle[1]) / 30) ** 2 + ((x - middle[2] - 60) / 30) ** 2 < 1
    return ball.astype(np.uint8)


def server(study: ReadStudy, reading: Reading) -> None:
    """What the server does, without a browser."""
    assert reading.label_map is not None
    process = psutil.Process()
    before = process.memory_info().rss
    pictures = Pictures(study.store)
    start = time.perf_counter()
    stack = pictures.stack(study.manifest, reading.label_map, reading.findings)
    known = time.perf_counter()
    first = pictures.picture(study.manifest, stack.opening(), WINDOWS["brain"])
    drawn = time.perf_counter()
    tiles = [pictures.tile(study.manifest, index) for index in range(stack.count)]
    done = time.perf_counter()
    outlines = json.dumps(pictures.outlines(study.manifest, reading.label_map), separators=(",", ":")).encode()
    page = json.dumps(stack.for_page())
    print(f"{len(tiles)} slices of {stack.columns}x{stack.rows}, nothing kept before:")
    print(f"  the stack {1e3 * (known - start):.0f} ms, the first picture {1e3 * (drawn - known):.0f} ms")
    print(f"  a tile {1e3 * (done - drawn) / len(tiles):.1f} ms, {sum(map(len, tiles)) / len(tiles) / 1e3:.0f} kB")
    print(f"  the first picture {len(first) / 1e3:.0f} kB, the stack {len(page)} bytes")
    print(f"  outlines {len(outlines) / 1e3:.1f} kB, {len(zlib.compress(outlines)) / 1e3:.1f} kB deflated")
    grown = process.memory_info().rss - before
    print(f"  kept {pictures.held_bytes / 2**20:.1f} MiB, the process has grown by {grown / 2**20:.1f} MiB")


def opened(browser: Browser, site: Site, network: tuple[float, int] | None) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    if network:
        bits, latency = network
        how = {"offline": False, "latency": latency, "downloadThroughput": bits / 8, "uploadThroughput": bits / 8}
        page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", how)
    page.goto(site.url, wait_until="commit")
    page.wait_for_selector("canvas", state="attached")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--screenshot", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        study = ReadStudy(FileStore(Path(folder)), "suwon", images(arguments.case))
        marks = labels(arguments.case, study.volume().voxels.shape)
        reading = study.result(labels=np.minimum(marks, 1)).series[0].reading
        assert reading is not None
        server(study, reading)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, network in NETWORKS.items():
            rows = []
            for _ in range(arguments.rounds):
                pictures = Pictures(study.store)
                with served(pictures, study.manifest, reading.label_map, reading.findings) as site:
                    page = opened(browser, site, network)
                    paint, drawn = page.evaluate(FIRST)
                    slices = pictures.stack(study.manifest).count
                    cold, warm = page.evaluate(OURS, slices), page.evaluate(OURS, slices)
                    peer, peer_other = (page.evaluate(PEER, [slices, window]) for window in ("brain", "bone"))
                    rows.append((paint, drawn, cold, warm, peer, peer_other))
                    if arguments.screenshot and network is None:
                        page.keyboard.press("k")
                        page.wait_for_timeout(500)
                        page.screenshot(path=arguments.screenshot)
                    page.context.close()
            paint, drawn, cold, warm, peer, other = (median(column) for column in zip(*rows, strict=True))
            print(f"{name}:")
            print(f"  first picture there {paint:.0f} ms, first slice from its tile {drawn:.0f} ms")
            print(f"  slices a second: {cold:.0f} at once, {warm:.0f} the second time")
            print(f"  the peer: {peer:.0f}, and {other:.0f} in another window; ratio {cold / peer:.1f}")
        browser.close()


if __name__ == "__main__":
    main()
