"""An archive of arrays: what numpy reads from it, and that its bytes depend on nothing else."""

import hashlib
import io

import numpy as np

from gateways.inference.weights.npz import npz_bytes

ARRAYS = {"path(5, 5, 5)0.weight": np.arange(6, dtype="<f4").reshape(1, 2, 3), "n": np.array(120000, "<i8")}


def test_numpy_reads_what_was_written() -> None:
    with np.load(io.BytesIO(npz_bytes(ARRAYS)), allow_pickle=False) as read:
        assert read.files == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
            assert read[name].tobytes() == array.tobytes()


def test_the_same_arrays_give_the_same_bytes_on_every_machine_and_day() -> None:
    assert (
        hashlib.sha256(npz_bytes(ARRAYS)).hexdigest()
        == "5d1220b7791ec80f0faa7ba254e8ecf057413dc173eeea932d4279ac5d0861a7"
    )
