"""A test volume for a model: does it answer what the contract asks for? It says nothing about being right."""

import numpy as np

from gateways.imaging.volume import SliceName, Volume
from gateways.inference.contract import answer_faults
from gateways.inference.server import TritonServer
from schemas.models import ModelIdentity


def trial_volume() -> Volume:
    """A ball of brain in a shell of bone in air, with a small dense ball in it; 24 slices of 5 mm, 160x128 pixels.

    No two sides are equally long, so that a model which turns the axes round is noticed.
    """
    spacing = (5.0, 1.5, 1.25)
    shape = (24, 128, 160)
    z, y, x = (
        (np.arange(size) - size / 2).reshape([-1 if axis == own else 1 for axis in range(3)]) * step
        for own, (size, step) in enumerate(zip(shape, spacing, strict=True))
    )
    radius = np.sqrt(z**2 + y**2 + x**2)
    voxels = np.full(shape, -1000, np.int16)
    voxels[radius < 75] = 1000
    voxels[radius < 68] = 32
    voxels[np.sqrt(z**2 + (y - 20) ** 2 + (x + 15) ** 2) < 14] = 65
    affine = np.diag([spacing[2], spacing[1], spacing[0], 1.0])
    affine[:3, 3] = [-x.size / 2 * spacing[2], -y.size / 2 * spacing[1], -z.size / 2 * spacing[0]]
    return Volume(voxels, affine, spacing, tuple(SliceName(f"2.25.{number}", None) for number in range(shape[0])))


def answer_to_trial(server: TritonServer, model: ModelIdentity) -> list[str]:
    """Faults in a model's answer to the test volume; none where it keeps the contract. It waits behind patients.

    Raises what :meth:`TritonServer.infer` raises. Blocks.
    """
    volume = trial_volume()
    return answer_faults(model, volume.voxels.shape, server.infer(model, volume, urgent=False))
