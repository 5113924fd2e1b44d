"""The peer, blast-ct itself, in its own Python: its configuration, its network, its patches.

    python peer.py TASK.json

TASK.json names ``volume`` (an .npz with ``voxels`` [z, y, x] in HU and ``spacing`` x, y, z in mm), ``weights`` (a
published model_N.pt), ``folder`` (to work in), ``batch`` and ``times``, and ``whole``. Prints one line of JSON: how
many patches its own pipeline cuts the case into and seconds a patch (median over ``times`` batches from the middle of
the head, after one to warm up); with ``whole`` also ``whole_s``, and the label map in ``folder``/whole.npy.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd  # type: ignore[import-untyped,import-not-found,unused-ignore]
import SimpleITK as sitk  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: N813 - its usual name
import torch  # type: ignore[import-not-found,unused-ignore]
from blast_ct.assets import get_config_path  # type: ignore[import-not-found,unused-ignore]
from blast_ct.nifti.savers import NiftiPatchSaver  # type: ignore[import-not-found,unused-ignore]
from blast_ct.read_config import get_model, get_test_loader  # type: ignore[import-not-found,unused-ignore]
from blast_ct.trainer.inference import ModelInference  # type: ignore[import-not-found,unused-ignore]

ITS_BATCH_ON_A_CPU = 32
"""Set by its command line tool."""


def main(task: Path) -> None:
    asked = json.loads(task.read_text())
    folder = Path(asked["folder"])
    with np.load(asked["volume"]) as stored:
        image = sitk.GetImageFromArray(stored["voxels"])
        image.SetSpacing([float(step) for step in stored["spacing"]])
    sitk.WriteImage(image, str(folder / "case.nii.gz"))
    index = folder / "test.csv"
    pd.DataFrame([["case", str(folder / "case.nii.gz")]], columns=["id", "image"]).to_csv(index, index=False)
    config = json.loads(Path(get_config_path()).read_text())
    config["test"]["batch_size"] = ITS_BATCH_ON_A_CPU

    started = perf_counter()
    model = get_model(config)
    loader = get_test_loader(config, model, str(index), False)
    model.load_state_dict(torch.load(asked["weights"], map_location="cpu"))
    model.eval()
    patches = iter(loader.dataset)
    patches.patch_index = len(loader.dataset) // 2
    answer = {"patches": len(loader.dataset), "torch": torch.__version__, "threads": torch.get_num_threads()}
    batch = torch.stack([next(patches)["image"] for _ in range(asked["batch"])])
    answer["preparation_s"] = perf_counter() - started
    seconds = []
    with torch.no_grad():
        for _ in range(asked["times"] + 1):
            started = perf_counter()
            model(batch)
            seconds.append((perf_counter() - started) / len(batch))
    answer["patch_s"] = float(np.median(seconds[1:]))

    if asked["whole"]:
        started = perf_counter()
        loader = get_test_loader(config, model, str(index), False)
        saver = NiftiPatchSaver(str(folder), loader, write_prob_maps=False)
        cpu = torch.device("cpu")
        ModelInference(str(folder), cpu, model, saver, asked["weights"], "segmentation")(loader)
        answer["whole_s"] = perf_counter() - started
        saved = sitk.ReadImage(str(folder / "predictions" / "case_prediction.nii.gz"))
        np.save(folder / "whole.npy", sitk.GetArrayFromImage(saved).astype(np.uint8))
    print(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
