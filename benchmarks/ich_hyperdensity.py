"""What ``ich_hyperdensity`` finds and what it makes up, on phantoms of known truth and on a real case.

The rules run in this process, without Triton; volumes are decoded as in production. For each case and seed one line:
volume of blood, volume found, share of the blood found, volume found more than 2 mm and a slice away from it,
certainty, seconds.

    python benchmarks/ich_hyperdensity.py [SEEDS]
"""

import os
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gateways.imaging.volume import Volume
from sinsok.phantom import Case, build
from sinsok.phantom.volume import stacked, volume_of

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT / "triton_models" / "ich_hyperdensity" / "1"))

from hyperdensity import find  # noqa: E402 - found in the model's own folder, named above

CASES = (Case.NEGATIVE, Case.IPH, Case.EAH, Case.IVH, Case.CHEST)
SHARED = Path(os.environ.get("SINSOK_SHARED", CHECKOUT.parent / "shared"))
REAL = SHARED / "cases" / "rsna2019_ich_ID_fff502d5"


def measure(name: str, volume: Volume, blood: NDArray[np.bool_]) -> tuple[float, float]:
    """Print one line; return the share of the blood that was found and the millilitres found elsewhere."""
    started = perf_counter()
    try:
        labels, score = find(volume.voxels, volume.spacing_mm)
    except ValueError as refusal:
        print(f"{name:28} refused: {refusal}")
        return float("nan"), 0.0
    seconds = perf_counter() - started
    found = labels > 0
    near = ndimage.binary_dilation(blood, np.ones((3, 9, 9))) if blood.any() else blood
    true_ml, hit_ml, false_ml = (float(mask.sum()) * volume.voxel_ml for mask in (blood, found & blood, found & ~near))
    share = hit_ml / true_ml if true_ml else 0.0
    print(
        f"{name:<28} blood {true_ml:5.1f} ml  found {found.sum() * volume.voxel_ml:5.1f} ml  share {share:4.2f}"
        f"  beside it {false_ml:5.2f} ml  certainty {score:4.2f}  {seconds:4.1f} s",
        flush=True,
    )
    return share, false_ml


def main(seeds: int) -> None:
    for case in CASES:
        results = []
        for seed in range(seeds):
            study = build(case, seed)
            volume = volume_of(study)
            blood = np.zeros(volume.voxels.shape, np.bool_) if study.truth is None else study.truth.labels > 0
            place = f" {study.truth.place}" if study.truth else ""
            results.append(measure(f"{case} {seed}{place}", volume, blood))
        shares, false_ml = np.array(results).T
        print(
            f"== {case}: some blood found in {(shares > 0).sum()} of {seeds}, median share {np.median(shares):.2f},"
            f" false volumes in {(false_ml > 0.1).sum()} of {seeds}, {false_ml.sum():.1f} ml in all\n"
        )
    if not REAL.exists():
        print(f"== real case: not here ({REAL})")
        return
    volume = stacked(path.read_bytes() for path in sorted(REAL.glob("*.dcm")))
    reference = np.load(REAL.with_name(f"{REAL.name}_blast_ct_model1_f32.npz"))["labels"]
    measure("real case", volume, np.isin(reference, (1, 2, 4)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
