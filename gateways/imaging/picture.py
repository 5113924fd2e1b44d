"""The key image: one slice with the lesion outlined, for people to look at; never to diagnose from."""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from gateways.imaging.volume import Volume
from schemas.events import Provenance

CENTRE_HU: Final = 40.0
WIDTH_HU: Final = 80.0
"""The brain window."""
WARNING: Final = "AI output - not for diagnosis without a physician"
SIDE: Final = 1024
"""Length of the picture's longer edge, pixels."""
MARGIN: Final = 28
OUTLINE: Final = (255, 64, 64)
TEXT: Final = (255, 214, 102)
_TOWARDS: Final = ("L", "R"), ("P", "A"), ("H", "F")
"""Letters for the positive and the negative direction of x, y and z in patient coordinates (LPS)."""


def key_image(volume: Volume, labels: NDArray[np.uint8], z: int, source: Provenance) -> bytes:
    """PNG of plane ``z`` in the brain window, the label map [z, y, x] outlined, in radiological orientation.

    The patient's right is on the picture's left and anterior is at the top. Voxels are drawn in their true proportions.
    """
    plane, marked = volume.voxels[z], labels[z] > 0
    across, down = volume.affine[:3, 0], volume.affine[:3, 1]
    # A slice may be stored along any axis: turn it until columns run to the patient's left and rows to the back.
    if abs(across[0]) < abs(down[0]):
        plane, marked, across, down = plane.T, marked.T, down, across
    if across[np.abs(across).argmax()] < 0:
        plane, marked, across = plane[:, ::-1], marked[:, ::-1], -across
    # The head's axis (z) points up in coronal and sagittal planes, to the back (y) downwards in axial ones.
    main = int(np.abs(down).argmax())
    if (down[main] < 0) != (main == 2):
        plane, marked, down = plane[::-1], marked[::-1], -down

    height, width = plane.shape[0] * float(np.linalg.norm(down)), plane.shape[1] * float(np.linalg.norm(across))
    size = round(SIDE * width / max(width, height)), round(SIDE * height / max(width, height))
    grey = np.clip((plane.astype(np.float32) - CENTRE_HU) / WIDTH_HU + 0.5, 0, 1) * 255
    drawn = Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    outlined = np.stack([np.asarray(drawn)] * 3, axis=-1)
    mask = np.asarray(Image.fromarray(marked.astype(np.uint8) * 255).resize(size, Image.Resampling.BICUBIC)) > 127
    outlined[ndimage.binary_dilation(mask, iterations=3) & ~mask] = OUTLINE

    picture = Image.new("RGB", (size[0], size[1] + 2 * MARGIN))
    picture.paste(Image.fromarray(outlined), (0, MARGIN))
    _write(picture, f"{source.model} {source.version}", across, down)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def _write(picture: Image.Image, model: str, across: NDArray[np.float64], down: NDArray[np.float64]) -> None:
    """Burn in the warning, the model and the directions."""
    draw = ImageDraw.Draw(picture)
    small, large = ImageFont.load_default(18), ImageFont.load_default(30)
    middle_x, middle_y = picture.width / 2, picture.height / 2
    draw.text((middle_x, MARGIN / 2), WARNING, TEXT, small, anchor="mm")
    draw.text((middle_x, picture.height - MARGIN / 2), model, TEXT, small, anchor="mm")
    draw.text((10, middle_y), _letter(-across), TEXT, large, anchor="lm")
    draw.text((picture.width - 10, middle_y), _letter(across), TEXT, large, anchor="rm")
    draw.text((middle_x, MARGIN + 8), _letter(-down), TEXT, large, anchor="mt")
    draw.text((middle_x, picture.height - MARGIN - 8), _letter(down), TEXT, large, anchor="mb")


def _letter(direction: NDArray[np.float64]) -> str:
    axis = int(np.abs(direction).argmax())
    return _TOWARDS[axis][0 if direction[axis] > 0 else 1]
