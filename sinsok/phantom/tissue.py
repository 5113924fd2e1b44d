"""What a voxel can be, and how bright it is in CT (Hounsfield units) and in a T2-like MR image (arbitrary units)."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sinsok.phantom.space import Float


class Tissue(IntEnum):
    """Materials of the phantoms."""

    AIR = 0
    PLASTIC = 1
    SKIN = 2
    FAT = 3
    MUSCLE = 4
    CORTICAL_BONE = 5
    DIPLOE = 6
    GAS = 7
    EYE = 8
    CSF = 9
    GREY = 10
    WHITE = 11
    BRAINSTEM = 12
    FALX = 13
    CALCIFICATION = 14
    BLOOD = 15
    OEDEMA = 16
    LUNG = 17
    HEART = 18
    VESSEL = 19


FRESH_BLOOD_HU: Final = (60.0, 75.0)
"""Range of acute clotted blood in CT."""

_HU: Final = {
    Tissue.AIR: -1000,
    Tissue.PLASTIC: -120,
    Tissue.SKIN: 25,
    Tissue.FAT: -95,
    Tissue.MUSCLE: 50,
    Tissue.CORTICAL_BONE: 1350,
    Tissue.DIPLOE: 750,
    Tissue.GAS: -960,
    Tissue.EYE: 14,
    Tissue.CSF: 8,
    Tissue.GREY: 37,
    Tissue.WHITE: 29,
    Tissue.BRAINSTEM: 32,
    Tissue.FALX: 46,
    Tissue.CALCIFICATION: 170,
    Tissue.BLOOD: 66,
    Tissue.OEDEMA: 21,
    Tissue.LUNG: -850,
    Tissue.HEART: 42,
    Tissue.VESSEL: 44,
}

_T2: Final = {
    Tissue.SKIN: 180,
    Tissue.FAT: 520,
    Tissue.MUSCLE: 160,
    Tissue.CORTICAL_BONE: 15,
    Tissue.DIPLOE: 210,
    Tissue.EYE: 850,
    Tissue.CSF: 900,
    Tissue.GREY: 430,
    Tissue.WHITE: 320,
    Tissue.BRAINSTEM: 340,
    Tissue.FALX: 60,
    Tissue.CALCIFICATION: 40,
    Tissue.BLOOD: 250,
    Tissue.OEDEMA: 650,
}


def hounsfield(blood_hu: float) -> Float:
    """Hounsfield units by tissue; indexed with :class:`Tissue`."""
    return np.array([blood_hu if t is Tissue.BLOOD else _HU[t] for t in Tissue], dtype=np.float32)


def t2_weighted() -> Float:
    """Signal by tissue in a T2-weighted image; what gives none is 5."""
    return np.array([_T2.get(t, 5) for t in Tissue], dtype=np.float32)


def among(tissues: Iterable[Tissue]) -> NDArray[np.bool_]:
    """Which tissues are meant; indexed with labels it gives their mask."""
    table = np.zeros(256, dtype=bool)
    table[list(tissues)] = True
    return table
