"""From tissues to what a scanner shows of them: partial volume, blur and noise."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sinsok.phantom.shapes import Labels
from sinsok.phantom.space import Float


def image(labels: Labels, brightness: Float, parts: int, *, blur_px: float = 1.0) -> Float:
    """Slices [z, y, x] as the mean of ``parts`` thin slices each, blurred as a soft kernel blurs."""
    depth, height, width = labels.shape
    slices = np.empty((depth // parts, height, width), dtype=np.float32)
    for index in range(slices.shape[0]):
        thin = labels[index * parts : (index + 1) * parts]
        mean = sum((brightness[layer] for layer in thin[1:]), start=brightness[thin[0]]) / parts
        slices[index] = ndimage.gaussian_filter(mean, blur_px)
    return slices


def add_noise(slices: Float, rng: np.random.Generator, deviation: float, *, grain_px: float = 0.7) -> None:
    """Add Gaussian noise of a standard deviation to every slice, correlated over ``grain_px`` as a kernel leaves it."""
    for layer in slices:
        grain = ndimage.gaussian_filter(rng.standard_normal(layer.shape, dtype=np.float32), grain_px, mode="wrap")
        layer += grain * np.float32(deviation / grain.std())


def majority(labels: Labels, tissue: int, parts: int) -> NDArray[np.uint8]:
    """1 where at least half of a slice's thin slices are of the tissue, [z, y, x]."""
    depth, height, width = labels.shape
    share = (labels == tissue).reshape(depth // parts, parts, height, width).sum(axis=1, dtype=np.uint8)
    mostly: NDArray[np.uint8] = (2 * share >= parts).astype(np.uint8)
    return mostly


def lateral_view(hounsfield: Float, spacing_mm: tuple[float, float, float], size: int) -> Float:
    """A scout from the side, [row, column] = [from the top down, from the front to the back], square pixels.

    Attenuation of water along x, in HU-like numbers, on ``size`` pixels of the slices' own pixel spacing.
    """
    path = np.clip(hounsfield + 1000, 0, None).sum(axis=2, dtype=np.float32) * np.float32(spacing_mm[2] / 200)
    tall = ndimage.zoom(path[::-1], (spacing_mm[0] / spacing_mm[1], 1), order=1, grid_mode=True, mode="nearest")
    view = np.zeros((size, size), dtype=np.float32)
    top = max((size - tall.shape[0]) // 2, 0)
    rows = min(size, tall.shape[0])
    view[top : top + rows] = tall[:rows, :size]
    return view - 1000
