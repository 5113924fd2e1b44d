"""BLAST-CT as it is served here, against the reference labels of a real case and against blast-ct itself in one run.

    python benchmarks/head_ct.py [PART ...]

``accuracy``    overlap with the reference, volumes, seconds and memory: bf16, f32, and without the brain mask
``peer``        blast-ct (PyPI) with torch on the CPU, in an environment of its own in .local/peers: seconds for some of
                its patches times their number, or with ``--whole-peer`` for the whole case
``triton``      the same volume through a real Triton: seconds in the model and end to end, one member and the ensemble
``graph``       the ONNX graph of the GPU configuration, through onnxruntime on the CPU: its overlap; minutes
``members``     volumes and seconds of the mean of 1 to 5 members
``robustness``  the real case changed in many ways, and heads without a bleed: what one member makes of them
``phantoms``    synthetic bleeds of known truth: found, overlap, false volumes
``negatives``   synthetic heads without a bleed: what one member and five mark, and how many would page

Without a part: accuracy, peer and triton. Seconds are medians after one reading to warm up.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median
from time import perf_counter

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

import numpy as np  # noqa: E402
import pydicom  # noqa: E402
from heads.changes import CHANGES, MISSING  # noqa: E402
from heads.figures import BLOOD, NAMES, Labels, dice, ml, overlaps, print_table, volumes_ml  # noqa: E402
from heads.model import Model  # noqa: E402
from heads.peer_environment import NotMade, peer_python  # noqa: E402
from ich_hyperdensity import REAL, SHARED  # noqa: E402
from scipy import ndimage  # noqa: E402

from gateways.imaging.head import find_head  # noqa: E402
from gateways.imaging.lesions import lesions  # noqa: E402
from gateways.imaging.quality import head_ct_quality  # noqa: E402
from gateways.imaging.volume import Volume  # noqa: E402
from gateways.inference.contract import identity  # noqa: E402
from gateways.inference.repository import configuration, missing_files  # noqa: E402
from gateways.inference.server import TritonServer  # noqa: E402
from gateways.inference.settings import TritonSettings  # noqa: E402
from sinsok.phantom import Case, NoRoom, build  # noqa: E402
from sinsok.phantom.volume import stacked, volume_of  # noqa: E402
from sinsok.settings import load  # noqa: E402
from streams.policy import judge  # noqa: E402
from streams.route import Route  # noqa: E402
from tests.stack import Triton  # noqa: E402

DEFAULT_PARTS = ("accuracy", "peer", "triton")
ONE, ENSEMBLE = "blast_ct", "blast_ct_ensemble"
VERSION = "1"
VARIANTS = {
    "bf16": ("bf16", False, False),
    "f32": ("f32", False, False),
    "bf16, no brain mask": ("bf16", True, False),
    "f32, placed as in the reference": ("f32", False, True),
}
"""Precision, whether the network is asked about everything around the brain too, and whether the slices are placed as
in the reference, which takes the distance of the first two for all."""
PHANTOMS = (
    *((case, volume_ml) for case in (Case.IPH, Case.EAH) for volume_ml in (2.0, 5.0, 20.0)),
    (Case.IVH, None),
    (Case.NEGATIVE, None),
)
REACHABLE = np.ones((3, 9, 9), np.bool_)
"""2 mm and a slice: blood marked farther than this from any is false."""


def real_files() -> list[Path]:
    """The images of the case, from the feet up."""
    return sorted(REAL.glob("*.dcm"), key=lambda path: _position(path)[2])


def real_case() -> tuple[Volume, Labels]:
    """The case and its reference labels, both [z, y, x] with slices ascending."""
    volume = stacked(path.read_bytes() for path in real_files())
    with np.load(REAL.with_name(f"{REAL.name}_blast_ct_model1_f32.npz")) as stored:
        reference: Labels = stored["labels"]
    return volume, reference


def placed_as_in_the_reference(volume: Volume) -> Volume:
    first, second = (_position(path) for path in real_files()[:2])
    affine = volume.affine.copy()
    affine[:3, 2], affine[:3, 3] = np.subtract(second, first), first
    return replace(volume, affine=affine)


def _position(path: Path) -> tuple[float, ...]:
    ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["ImagePositionPatient"])
    return tuple(float(number) for number in ds.ImagePositionPatient)


def accuracy(options: argparse.Namespace) -> float:
    """Print the table; return the seconds of the first variant."""
    volume, reference = real_case()
    timed = []

    def rows() -> Iterator[list[str]]:
        yield ["reference", "", "", "", "", "", *ml(volumes_ml(reference, volume)), "", ""]
        version = options.repository / ONE / VERSION
        for name, (precision, everywhere, rounded) in VARIANTS.items():
            with Model(options.python, version, precision=precision, everywhere=everywhere) as model:
                read = model.read(placed_as_in_the_reference(volume) if rounded else volume, options.times + 1)
            timed.append(median(read.seconds[1:]))
            close, sizes = overlaps(read.labels, reference, volume), ml(volumes_ml(read.labels, volume))
            yield [name, *close, *sizes, f"{timed[-1]:.2f}", f"{read.peak_mb:.0f}"]

    columns = ["variant", "Dice all", *(f"Dice {name}" for name in NAMES), *(f"{name} ml" for name in NAMES)]
    print_table(
        "Against the reference labels (one member, in process)", [*columns, "seconds", "peak memory, MB"], rows()
    )
    return timed[0]


def peer(options: argparse.Namespace, ours: float | None) -> None:
    """Print the peer's seconds, and the ratio to ours where ``accuracy`` ran before."""
    volume, reference = real_case()
    weights = options.weights / "model_1.pt"
    if not weights.is_file():
        print(f"\npeer: not measured: {weights} is missing; --weights names the folder of the published files")
        return
    try:
        python = options.peer_python or peer_python(CHECKOUT / ".local" / "peers" / "blast-ct")
    except NotMade as failure:
        print(f"\npeer: not measured: {failure}; --peer-python names an interpreter that has blast-ct")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        steps = [float(np.linalg.norm(volume.affine[:3, axis])) for axis in range(3)]
        np.savez(folder / "volume.npz", voxels=volume.voxels, spacing=steps)
        task = {"volume": str(folder / "volume.npz"), "weights": str(weights), "folder": scratch}
        task |= {"batch": options.peer_batch, "times": options.times, "whole": options.whole_peer}
        (folder / "task.json").write_text(json.dumps(task))
        script = Path(__file__).parent / "heads" / "peer.py"
        done = subprocess.run([python, script, folder / "task.json"], capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"\npeer: not measured: it ended with {done.returncode}: {last}")
            return
        said = json.loads(done.stdout.splitlines()[-1])
        rows = [["patches of the case", said["patches"]], ["seconds a patch", f"{said['patch_s']:.3f}"]]
        expected = said["patches"] * said["patch_s"]
        rows.append(["seconds for the case, by its patches", f"{expected:.1f}"])
        if "whole_s" in said:
            expected = said["whole_s"]
            rows.append(["seconds for the case, measured", f"{expected:.1f}"])
            rows.append(["Dice all to the reference", overlaps(np.load(folder / "whole.npy"), reference, volume)[0]])
    if ours is not None:
        rows.append(["ours in bf16, seconds for the case", f"{ours:.2f}"])
        rows.append(["**times as fast**", f"**{expected / ours:.0f}**"])
    print_table(
        f"blast-ct itself (torch {said['torch']}, {said['threads']} threads, {options.peer_batch} patches at once)",
        ["what", "figure"],
        rows,
    )


def graph(options: argparse.Namespace) -> None:
    """Print what the ONNX graph of the GPU configuration answers, in the peer's environment."""
    try:
        python = options.peer_python or peer_python(CHECKOUT / ".local" / "peers" / "blast-ct")
    except NotMade as failure:
        print(f"\ngraph: not measured: {failure}; --peer-python names an interpreter that has onnxruntime")
        return
    volume, reference = real_case()

    def rows() -> Iterator[list[str]]:
        with Model(python, options.repository / ONE / VERSION, precision="graph") as model:
            for name, head in (("as placed", volume), ("as in the reference", placed_as_in_the_reference(volume))):
                read = model.read(head)
                yield [name, *overlaps(read.labels, reference, volume), *ml(volumes_ml(read.labels, volume))]

    columns = ["slices", "Dice all", *(f"Dice {name}" for name in NAMES), *(f"{name} ml" for name in NAMES)]
    print_table("The ONNX graph on overlapping patches, through onnxruntime on the CPU", columns, rows())


def through_triton(options: argparse.Namespace) -> None:
    volume, reference = real_case()

    def rows(triton: Triton) -> Iterator[list[str]]:
        import tritonclient.grpc as client

        settings = TritonSettings(grpc_url=triton.grpc, timeout_s=600)
        server, statistics = TritonServer(settings), client.InferenceServerClient(triton.grpc)

        def spent_in(name: str) -> float:
            (one,) = statistics.get_inference_statistics(name, VERSION).model_stats
            return float(one.inference_stats.compute_infer.ns) / 1e9

        for name in (ONE, ENSEMBLE):
            model = identity(server.configuration(name, VERSION), VERSION)
            server.infer(model, volume)
            inside, outside = [], []
            for _ in range(options.times):
                before, started = spent_in(name), perf_counter()
                answer = server.infer(model, volume)
                outside.append(perf_counter() - started)
                inside.append(spent_in(name) - before)
            assert answer.labels is not None
            close, sizes = overlaps(answer.labels, reference, volume), ml(volumes_ml(answer.labels, volume))
            yield [name, close[0], *sizes, f"{median(inside):.2f}", f"{median(outside):.2f}"]

    columns = ["model", "Dice all", *(f"{name} ml" for name in NAMES), "seconds in the model", "seconds end to end"]
    with tempfile.TemporaryDirectory() as scratch, Triton(Path(scratch), options.repository) as triton:
        print_table("Through Triton, on the CPU", columns, rows(triton))


def members(options: argparse.Namespace) -> None:
    volume, _ = real_case()

    def rows() -> Iterator[list[str]]:
        for count in range(1, 6):
            with Model(options.python, options.repository / ENSEMBLE / VERSION, members=count) as model:
                read = model.read(volume, options.times + 1)
            sizes = volumes_ml(read.labels, volume)
            blood = sum(sizes[number - 1] for number in BLOOD)
            yield [str(count), *ml([*sizes, blood]), f"{median(read.seconds[1:]):.2f}", f"{read.peak_mb:.0f}"]

    sizes = [f"{name} ml" for name in (*NAMES, "all blood")]
    print_table("The mean of n members (bf16)", ["n", *sizes, "seconds", "peak memory, MB"], rows())


def robustness(options: argparse.Namespace) -> None:
    volume, _ = real_case()
    heads: dict[str, Callable[[], Volume]] = {name: partial(change, volume) for name, change in CHANGES.items()}
    files = real_files()
    for name, missing in MISSING.items():
        kept = [path for number, path in enumerate(files) if number not in missing]
        heads[name] = partial(lambda kept: stacked(path.read_bytes() for path in kept), kept)
    for case in (Case.NEGATIVE, Case.CHEST):
        heads[f"phantom: {case}"] = partial(lambda case: volume_of(build(case, seed=0)), case)
    model_identity = identity(configuration(options.repository / ONE / "configs" / "cpu.pbtxt"), VERSION)

    def rows() -> Iterator[list[str]]:
        with Model(options.python, options.repository / ONE / VERSION, precision="bf16") as model:
            for name, make in heads.items():
                head = make()
                quality = head_ct_quality(head, find_head(head))
                read = model.read(head)
                labels = read.labels
                scores = np.ones(len(model_identity.classes), np.float32)
                findings = lesions(head, labels, model_identity.classes, scores, "2.25.1").findings
                outcome = f"findings ({len(findings)})" if findings else "no findings"
                if read.refusal:
                    outcome = f"failed: {read.refusal}"
                runs = groupby(head.slices, key=lambda name: name is None)
                gap = max((len(list(run)) for missing, run in runs if missing), default=0)
                if quality.refusal:
                    outcome = f"not applicable: {quality.refusal}"
                elif gap > Route(model=ONE).max_gap_slices:
                    outcome = f"not applicable: {gap} slices missing in one place"
                said = "; ".join([*head.cautions, *quality.cautions])
                yield [name, *ml(volumes_ml(labels, head)), outcome, said]

    columns = ["head", *(f"{name} ml" for name in NAMES), "outcome", "cautions"]
    print_table("Changed heads (one member, bf16)", columns, rows())


def phantoms(options: argparse.Namespace) -> None:
    def rows() -> Iterator[list[str]]:
        with Model(options.python, options.repository / ONE / VERSION, precision="bf16") as model:
            for case, volume_ml in PHANTOMS:
                yield _phantom_row(model, case, volume_ml, options.seeds)

    columns = ["case", "built", "some blood found in", "Dice, median (least)", "at least 0.8 in", "most often called"]
    title = f"Phantoms, seeds 0 to {options.seeds - 1} (one member, bf16)"
    print_table(title, [*columns, "false volumes in", "false ml in all"], rows())


def negatives(options: argparse.Namespace) -> None:
    policy = load({"SINSOK_CONFIG": str(CHECKOUT / "sinsok.toml")}).alerts

    def rows() -> Iterator[list[str]]:
        for name, members_of in ((ONE, 1), (ENSEMBLE, 5)):
            classes = identity(configuration(options.repository / name / "configs" / "cpu.pbtxt"), VERSION).classes
            certain = np.ones(len(classes), np.float32)
            marked, blood_ml, pages = 0, [], 0
            with Model(options.python, options.repository / name / VERSION, members=members_of) as model:
                for seed in range(options.seeds):
                    head = volume_of(build(Case.NEGATIVE, seed))
                    labels = model.read(head).labels
                    # As if the model were certain of all it marks.
                    findings = lesions(head, labels, classes, certain, "2.25.1").findings
                    marked += bool(findings)
                    blood_ml.append(float(np.isin(labels, BLOOD).sum()) * head.voxel_ml)
                    unconfirmed = name == ONE
                    pages += judge(policy, findings, unconfirmed=unconfirmed).priority in policy.page
            yield [name, str(options.seeds), str(marked), f"{max(blood_ml):.2f}", str(pages)]

    columns = ["model", "heads", "with a finding", "most blood marked, ml", "would page"]
    print_table("Heads without a bleed (phantoms, bf16)", columns, rows())


def _phantom_row(model: Model, case: Case, volume_ml: float | None, seeds: int) -> list[str]:
    close, false_ml, called = [], [], np.zeros(len(NAMES) + 1, np.int64)
    for seed in range(seeds):
        try:
            study = build(case, seed, volume_ml=volume_ml)
        except NoRoom:
            continue
        head = volume_of(study)
        truth = np.zeros(head.voxels.shape, np.bool_) if study.truth is None else study.truth.labels > 0
        labels = model.read(head).labels
        blood = np.isin(labels, BLOOD)
        near = ndimage.binary_dilation(truth, REACHABLE) if truth.any() else truth
        close.append(dice(blood, truth) if truth.any() else float("nan"))
        called += np.bincount(labels[truth & blood], minlength=len(called))
        false_ml.append(float((blood & ~near).sum()) * head.voxel_ml)
    bleeds = bool(case.places)
    name = f"{case} of {volume_ml:g} ml" if volume_ml else str(case)
    least = f"{np.median(close):.2f} ({min(close):.2f})" if bleeds else "-"
    return [
        name,
        str(len(close)),
        str(sum(value > 0 for value in close)) if bleeds else "-",
        least,
        str(sum(value >= 0.8 for value in close)) if bleeds else "-",
        NAMES[int(called[1:].argmax())] if called[1:].any() else "-",
        str(sum(size > 0.1 for size in false_ml)),
        f"{sum(false_ml):.2f}",
    ]


MORE = (graph, members, robustness, phantoms, negatives)
"""Parts that are run when they are named."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = (*DEFAULT_PARTS, *(part.__name__ for part in MORE))
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(known))
    parser.add_argument("--times", type=int, default=5, help="readings that are timed")
    parser.add_argument("--seeds", type=int, default=20, help="phantoms of each kind")
    triton_python = CHECKOUT / ".local" / "triton-venv" / "bin" / "python"
    parser.add_argument("--python", type=Path, default=triton_python, help="interpreter with numpy, scipy and openvino")
    parser.add_argument("--repository", type=Path, default=CHECKOUT / "triton_models")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights" / "blast_ct_v1", help="for the peer")
    parser.add_argument("--peer-python", type=Path, help="interpreter that has blast-ct already")
    parser.add_argument("--peer-batch", type=int, default=8, help="patches the peer computes at once")
    parser.add_argument("--whole-peer", action="store_true", help="let the peer read the whole case: minutes")
    options = parser.parse_args()
    parts = options.parts or list(DEFAULT_PARTS)
    if unknown := sorted(set(parts) - set(known)):
        parser.error(f"unknown part {', '.join(unknown)}: choose from {', '.join(known)}")
    for name in (ONE, ENSEMBLE):
        if missing := missing_files(options.repository / name, VERSION):
            print(f"{name}: {', '.join(missing)} not installed: run `sinsok models install blast-ct`")
            return
    if not REAL.exists() and not set(parts) <= {"phantoms", "negatives"}:
        print(f"the real case is not at {REAL}; SINSOK_SHARED names the folder that has cases/")
        return
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before")
    ours = accuracy(options) if "accuracy" in parts else None
    if "peer" in parts:
        peer(options, ours)
    if "triton" in parts:
        through_triton(options)
    for part in MORE:
        if part.__name__ in parts:
            part(options)


if __name__ == "__main__":
    main()
